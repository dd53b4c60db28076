//! `RecordingApi`: a double of BigQuery's API on the level of requests.
//!
//! It exists because the emulator cannot show some of what the service documents: a job's name being taken, quotas,
//! errors of jobs, conflicts of transactions, tokens. It records each request and answers what the story says, else
//! what the service's documentation says of a delivery on which all goes well. It keeps no rows and runs no SQL.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use turnstile_delivery::bigquery::{BigQueryCredentials, BigQuerySettings};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct RecordedRequest {
    pub(crate) method: String,
    /// With the query, without the host.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl RecordedRequest {
    pub(crate) fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The JSON of the body, or of the first part of a multipart body.
    pub(crate) fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        let json = text.split("\r\n").find(|line| line.starts_with('{')).unwrap_or_default();
        serde_json::from_str(json).unwrap_or_default()
    }

    /// The query that a job is to run.
    pub(crate) fn sql(&self) -> String {
        self.json()["configuration"]["query"]["query"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn job(&self) -> String {
        self.json()["jobReference"]["jobId"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn is_load(&self) -> bool {
        self.method == "POST" && !self.json()["configuration"]["load"].is_null()
    }

    pub(crate) fn is_commit(&self) -> bool {
        self.is("POST", "/jobs") && self.sql().contains("COMMIT TRANSACTION")
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn ok(body: Value) -> Self {
        Self { status: 200, headers: vec![], body }
    }

    /// An error in the service's form.
    pub(crate) fn error(status: u16, reason: &str, message: &str) -> Self {
        let errors = json!([{"domain": "global", "reason": reason, "message": message}]);
        Self { body: json!({"error": {"code": status, "message": message, "errors": errors}}), ..Self::status(status) }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self { status, headers: vec![], body: Value::Null }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A job's resource.
pub(crate) fn job(id: &str, status: Value) -> Reply {
    Reply::ok(json!({"jobReference": {"projectId": "p", "jobId": id, "location": "US"}, "status": status}))
}

pub(crate) fn done() -> Value {
    json!({"state": "DONE"})
}

pub(crate) fn failed(reason: &str, message: &str, location: &str) -> Value {
    let error = json!({"reason": reason, "message": message, "location": location});
    json!({"state": "DONE", "errorResult": error, "errors": [error]})
}

/// A position's row as `tabledata.list` tells it.
pub(crate) fn position_rows(load: u64) -> Reply {
    let value = |value: Value| json!({ "v": value });
    let fields = match load {
        0 => json!([value(Value::Null), value(Value::Null), value(Value::Null), value(json!("1"))]),
        load => json!([value(json!("w-1")), value(json!(load.to_string())), value(json!((load * 10).to_string()))]),
    };
    Reply::ok(json!({"totalRows": "1", "rows": [{ "f": fields }]}))
}

type Answers = Box<dyn FnMut(&RecordedRequest, usize) -> Option<Reply> + Send>;

/// The double, on its own port.
pub(crate) struct RecordingApi {
    pub(crate) endpoint: String,
    asked: Arc<Mutex<Vec<RecordedRequest>>>,
    server: tokio::task::JoinHandle<()>,
}

impl RecordingApi {
    /// `answers` is given each request and how many came before it; `None`: the answer of a day without trouble, to a
    /// target that is at load `at`.
    pub(crate) async fn start(
        at: u64,
        answers: impl FnMut(&RecordedRequest, usize) -> Option<Reply> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<RecordedRequest>>> = Arc::default();
        let record = Arc::clone(&asked);
        let answers: Arc<Mutex<Answers>> = Arc::new(Mutex::new(Box::new(answers)));
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (record, answers) = (Arc::clone(&record), Arc::clone(&answers));
                tokio::spawn(async move {
                    let Some((asked, stream)) = read(stream).await else { return };
                    let before = record.lock().len();
                    let reply = (answers.lock())(&asked, before).unwrap_or_else(|| plain(&asked, at));
                    record.lock().push(asked);
                    write(stream, reply).await;
                });
            }
        });
        Self { endpoint, asked, server }
    }

    /// Settings that ask this double, with waits that a test can bear.
    pub(crate) fn settings(&self) -> BigQuerySettings {
        BigQuerySettings {
            endpoint: self.endpoint.clone(),
            credentials: BigQueryCredentials::None,
            retry_secs: 5,
            retry_wait_ms: 1,
            ..BigQuerySettings::new("p", "d")
        }
    }

    pub(crate) fn asked(&self) -> Vec<RecordedRequest> {
        self.asked.lock().clone()
    }

    pub(crate) fn count(&self, which: impl Fn(&RecordedRequest) -> bool) -> usize {
        self.asked().iter().filter(|asked| which(asked)).count()
    }
}

impl Drop for RecordingApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The answer when all goes well and nothing but the dataset and the position is there.
fn plain(asked: &RecordedRequest, at: u64) -> Reply {
    let missing = || Reply::error(404, "notFound", "Not found");
    match asked.method.as_str() {
        "GET" if asked.path.contains("/data?") => position_rows(at),
        "GET" if asked.path.ends_with("/datasets/d") => Reply::ok(json!({"location": "US"})),
        "GET" if asked.path.ends_with("/turnstile_position") => Reply::ok(json!({})),
        "GET" if asked.path.contains("/jobs?parentJobId") => Reply::ok(json!({"jobs": []})),
        "GET" => missing(),
        "POST" if asked.path.ends_with("/tables") => {
            let mut table = asked.json();
            table["creationTime"] = json!("1700000000000");
            table["type"] =
                if table["externalDataConfiguration"].is_null() { json!("TABLE") } else { json!("EXTERNAL") };
            Reply::ok(table)
        }
        "POST" if asked.path.contains("/jobs") => job(&asked.job(), done()),
        "DELETE" => Reply::status(204),
        _ => Reply::ok(json!({})),
    }
}

async fn read(stream: TcpStream) -> Option<(RecordedRequest, TcpStream)> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut asked = RecordedRequest { method, path, headers, body: vec![] };
    let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    asked.body = vec![0; length];
    stream.read_exact(&mut asked.body).await.ok()?;
    Some((asked, stream.into_inner()))
}

async fn write(mut stream: TcpStream, reply: Reply) {
    let body = if reply.body.is_null() { String::new() } else { reply.body.to_string() };
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: {}\r\n", reply.status, body.len());
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // Whoever asked may be gone by now, which is part of some stories.
    let _ = stream.write_all(format!("{head}\r\n{body}").as_bytes()).await;
}
