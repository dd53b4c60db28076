//! A double of a Prefect server, for what a real one does not do on demand: refuse, answer late, answer nonsense.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

/// What the double does with one request instead of serving it.
#[derive(Debug, Clone)]
pub(crate) enum Mishap {
    /// This status, these headers and this body.
    Answer(u16, &'static str, &'static str),
    /// The connection is closed before the request is served.
    Close,
    /// The request is served, and the answer is lost.
    LoseAnswer,
    /// Nothing for this long; the request is served and its answer comes too late.
    Late(Duration),
}

#[derive(Debug, Default)]
pub(crate) struct Served {
    /// Method and path of every request.
    pub(crate) requests: Vec<String>,
    /// The header of each request that carries a key.
    pub(crate) keys: Vec<String>,
    pub(crate) logs: Vec<Value>,
    pub(crate) events: Vec<Value>,
    pub(crate) artifacts: Vec<Value>,
    pub(crate) states: Vec<String>,
    mishaps: VecDeque<(String, Mishap)>,
    /// Requests whose body holds this text are refused with 422.
    poison: Option<String>,
}

pub(crate) struct PrefectDouble {
    pub(crate) api: String,
    pub(crate) served: Arc<Mutex<Served>>,
    stop: Arc<AtomicBool>,
}

impl PrefectDouble {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = format!("http://{}/api", listener.local_addr().unwrap());
        let (served, stop): (Arc<Mutex<Served>>, Arc<AtomicBool>) = Default::default();
        let (state, stopped) = (Arc::clone(&served), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&state);
                // A client that gave up is no fault of the double.
                std::thread::spawn(move || stream.and_then(|stream| serve(stream, &state)).ok());
            }
        });
        Self { api, served, stop }
    }

    /// The next requests whose paths begin with `path` meet these mishaps.
    pub(crate) fn mishaps(self, path: &str, mishaps: impl IntoIterator<Item = Mishap>) -> Self {
        self.served.lock().mishaps.extend(mishaps.into_iter().map(|mishap| (path.to_owned(), mishap)));
        self
    }

    pub(crate) fn poison(self, text: &str) -> Self {
        self.served.lock().poison = Some(text.to_owned());
        self
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.served.lock().logs.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for PrefectDouble {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let address = self.api.trim_start_matches("http://").trim_end_matches("/api");
        let _ = TcpStream::connect(address);
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<Served>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let (mut length, mut keys) = (0, Vec::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.to_lowercase().starts_with("authorization:") {
            keys.extend(line.split_once(' ').map(|(_, value)| value.trim().to_owned()));
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.trim_start_matches("/api");
    let mishap = {
        let mut served = state.lock();
        served.keys.append(&mut keys);
        served.requests.push(format!("{method} {path}"));
        let at = served.mishaps.iter().position(|(prefix, _)| path.starts_with(prefix.as_str()));
        at.and_then(|at| served.mishaps.remove(at)).map(|(_, mishap)| mishap)
    };
    let (status, headers, text) = match &mishap {
        Some(Mishap::Answer(status, headers, text)) => (*status, *headers, (*text).to_owned()),
        Some(Mishap::Close) => return Ok(()),
        _ => {
            let (status, answer) = state.lock().answer(method, path, &body);
            (status, "", if answer.is_null() { String::new() } else { answer.to_string() })
        }
    };
    match mishap {
        Some(Mishap::LoseAnswer) => return Ok(()),
        Some(Mishap::Late(wait)) => std::thread::sleep(wait),
        _ => {}
    }
    let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", text.len());
    stream.write_all(format!("{head}{text}").as_bytes())
}

impl Served {
    fn answer(&mut self, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
        if let Some(poison) = &self.poison
            && String::from_utf8_lossy(body).contains(poison.as_str())
        {
            return (422, json!({"exception_message": "Invalid request received."}));
        }
        let id = "11111111-1111-4111-8111-111111111111";
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let items = || body.as_array().cloned().unwrap_or_default();
        match (method, path) {
            ("POST", "/flows/" | "/flow_runs/") => (201, json!({"id": id})),
            ("POST", "/flow_runs/filter") => (200, json!([{"id": id}])),
            ("POST", "/events") => {
                // As the server: an event that it has is no other one.
                let new =
                    items().into_iter().filter(|event| !self.events.iter().any(|known| known["id"] == event["id"]));
                let new: Vec<_> = new.collect();
                self.events.extend(new);
                (204, Value::Null)
            }
            ("POST", "/logs/") => {
                self.logs.extend(items());
                (201, Value::Null)
            }
            ("POST", "/logs/filter") => {
                let number = |key: &str| body[key].as_u64().unwrap() as usize;
                (200, self.logs.iter().skip(number("offset")).take(number("limit")).cloned().collect())
            }
            ("POST", "/artifacts/filter") => (200, Value::Array(self.artifacts.clone())),
            ("POST", "/artifacts/") => {
                self.artifacts.push(body);
                (201, json!({"id": id}))
            }
            ("POST", path) if path.ends_with("/set_state") => {
                let state = body["state"]["type"].as_str().unwrap_or_default().to_owned();
                let answer = json!({"status": "ACCEPT", "state": {"type": state}});
                self.states.push(state);
                (201, answer)
            }
            ("GET", _) => (200, json!({"id": id, "state_type": "RUNNING"})),
            _ => (404, json!({"detail": "Not Found"})),
        }
    }
}
