//! A client that sends exactly what a test says, and a console to send it to.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use turnstile_console::{ConsoleServer, ConsoleSettings};

use crate::demo_data::{DemoConsole, DemoMood};

/// How long any answer may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// What the answer's cookies are, as the next request sends them.
    pub(crate) fn cookies(&self) -> String {
        let cookies = self.headers.iter().filter(|(key, _)| key == "set-cookie");
        cookies.filter_map(|(_, value)| value.split(';').next()).collect::<Vec<_>>().join("; ")
    }

    /// The value that forms of this page carry.
    pub(crate) fn form_key(&self) -> &str {
        let rest = self.body.split("name=\"key\" value=\"").nth(1).expect("the page has a form");
        rest.split('"').next().unwrap()
    }

    /// The text of the page, without elements and white space.
    pub(crate) fn text(&self) -> String {
        let parts = self.body.split('<').map(|part| part.split_once('>').map_or("", |(_, text)| text));
        parts.collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A console with made-up data.
pub(crate) struct Console {
    pub(crate) server: ConsoleServer,
    pub(crate) data: Arc<DemoConsole>,
    pub(crate) address: SocketAddr,
}

impl Console {
    pub(crate) async fn start(mood: DemoMood) -> Self {
        Self::with(mood, 500, |_| {}).await
    }

    pub(crate) async fn with(mood: DemoMood, windows: u64, change: impl FnOnce(&mut ConsoleSettings)) -> Self {
        let data = Arc::new(DemoConsole::new(mood, windows));
        let mut settings =
            ConsoleSettings { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..ConsoleSettings::default() };
        change(&mut settings);
        let server = ConsoleServer::start(settings, data.clone(), None).await.unwrap();
        let address = server.address();
        let address =
            if address.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], address.port())) } else { address };
        Self { server, data, address }
    }

    /// GET, as a program.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// A request with these headers; `Host` is the right one unless it is among them.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.send(&request(&self.address.to_string(), method, path, headers, body)).await
    }

    /// POSTs a form, as a browser that was given `page` does.
    pub(crate) async fn submit(&self, page: &Answer, path: &str, fields: &str) -> Answer {
        let origin = format!("http://{}", self.address);
        let headers = [
            ("Cookie", page.cookies()),
            ("Origin", origin),
            ("Sec-Fetch-Site", "same-origin".to_owned()),
            ("Content-Type", FORM.to_owned()),
        ];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.ask("POST", path, &headers, &format!("key={}&{fields}", page.form_key())).await
    }

    /// Sends these bytes and reads until the end.
    pub(crate) async fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        read_answer(&mut stream).await.unwrap()
    }
}

/// The content type of forms.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// The text of a request that ends its connection.
pub(crate) fn request(host: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        text.push_str(&format!("Host: {host}\r\n"));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    format!("{text}\r\n{body}")
}

/// Reads an answer up to the end of the connection.
pub(crate) async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    // A server that refuses a body it has not read may reset the connection after its answer.
    match tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) if bytes.is_empty() => return Err(error),
        Ok(Err(_)) => {}
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    }
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    Ok(Answer { status: status.unwrap_or(0), headers: lines.filter_map(pair).collect(), body: body.to_owned() })
}
