//! A small HTTP server on loopback that keeps what it gets, for tests.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct TestRequest {
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl TestRequest {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type Answers = Arc<dyn Fn(usize) -> u16 + Send + Sync>;

/// Answers the request with number n (from 0) with the status `answers(n)`.
pub(crate) struct TestServer {
    port: u16,
    requests: Arc<Mutex<Vec<TestRequest>>>,
    task: tokio::task::JoinHandle<()>,
}

impl TestServer {
    pub(crate) async fn start(answers: impl Fn(usize) -> u16 + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let answers: Answers = Arc::new(answers);
        let app = axum::Router::new().fallback(keep).with_state((Arc::clone(&requests), answers));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { port, requests, task }
    }

    pub(crate) fn url(&self, target: &str) -> String {
        format!("http://127.0.0.1:{}{target}", self.port)
    }

    pub(crate) fn requests(&self) -> Vec<TestRequest> {
        self.requests.lock().clone()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(
    State((requests, answers)): State<(Arc<Mutex<Vec<TestRequest>>>, Answers)>,
    request: Request,
) -> (StatusCode, HeaderMap) {
    let (parts, body) = request.into_parts();
    let body: Bytes = to_bytes(body, 1 << 20).await.unwrap();
    let number = {
        let mut requests = requests.lock();
        let target = parts.uri.to_string();
        requests.push(TestRequest { target, headers: parts.headers, body: body.to_vec() });
        requests.len() - 1
    };
    let status = StatusCode::from_u16(answers(number)).unwrap();
    let mut headers = HeaderMap::new();
    if status.is_redirection() {
        headers.insert("location", "/elsewhere".parse().unwrap());
    }
    (status, headers)
}

/// Waits until `done`, at most half a minute.
pub(crate) async fn until(done: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen within 30 s");
}
