//! Live streams: something is sent when something changed, and only then.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::browser::{Console, PATIENCE, request};
use crate::demo_data::DemoMood;

/// An open stream.
pub(crate) struct Stream {
    tcp: TcpStream,
    seen: String,
}

impl Stream {
    pub(crate) async fn open(console: &Console, path: &str) -> Self {
        let mut tcp = TcpStream::connect(console.address).await.unwrap();
        tcp.write_all(request(&console.address.to_string(), "GET", path, &[], "").as_bytes()).await.unwrap();
        Self { tcp, seen: String::new() }
    }

    /// The next event, or `None` when the stream has ended.
    pub(crate) async fn event(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.seen.find("\n\n") {
                let event: String = self.seen.drain(..end + 2).collect();
                if event.contains("event: page") {
                    return Some(event);
                }
                continue;
            }
            let mut bytes = vec![0; 64 << 10];
            let read =
                tokio::time::timeout(PATIENCE, self.tcp.read(&mut bytes)).await.expect("an event in time").ok()?;
            if read == 0 {
                return None;
            }
            self.seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    }

    /// Whether something comes within `wait`.
    async fn is_quiet(&mut self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.event()).await.is_err()
    }
}

#[tokio::test]
async fn a_stream_sends_the_page_then_each_change_and_nothing_between() {
    let console = Console::start(DemoMood::Full).await;
    let mut stream = Stream::open(&console, "/live/p/mta-turnstile").await;
    let first = stream.event().await.unwrap();
    for id in ["pulse", "state", "numbers", "conservation", "files", "notes"] {
        assert!(first.contains(&format!("\"id\":\"{id}\"")), "no {id}");
    }
    assert!(stream.is_quiet(Duration::from_millis(700)).await, "nothing has changed");
    console.data.step();
    let second = stream.event().await.unwrap();
    assert!(second.contains("\"id\":\"conservation\""));
    assert!(stream.is_quiet(Duration::from_millis(700)).await, "nothing has changed since");
}

#[tokio::test]
async fn a_change_that_leaves_a_page_as_it_is_sends_nothing() {
    let console = Console::with(DemoMood::Empty, 10, |_| {}).await;
    let mut stream = Stream::open(&console, "/live/p/mta-turnstile/windows").await;
    stream.event().await.unwrap();
    console.data.step();
    assert!(stream.is_quiet(Duration::from_millis(700)).await);
}

#[tokio::test]
async fn fifty_pages_of_one_kind_share_one_rendering() {
    let console = Console::start(DemoMood::Full).await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        streams.push(Stream::open(&console, "/live/p/mta-turnstile").await);
    }
    for stream in &mut streams {
        stream.event().await.unwrap();
    }
    let before = console.data.asked.load(Ordering::Relaxed);
    assert_eq!(before, 1, "one question for all");
    console.data.step();
    for stream in &mut streams {
        stream.event().await.unwrap();
    }
    assert_eq!(console.data.asked.load(Ordering::Relaxed) - before, 1);
}

#[tokio::test]
async fn a_page_that_is_watched_no_longer_is_rendered_no_longer() {
    let console = Console::start(DemoMood::Full).await;
    let mut stream = Stream::open(&console, "/live/p/mta-turnstile").await;
    stream.event().await.unwrap();
    drop(stream);
    let quiet = async {
        loop {
            let before = console.data.asked.load(Ordering::Relaxed);
            console.data.step();
            tokio::time::sleep(Duration::from_millis(50)).await;
            if console.data.asked.load(Ordering::Relaxed) == before {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, quiet).await.expect("the page is not rendered for ever");
}

#[tokio::test]
async fn a_page_that_cannot_be_read_is_live_too_and_says_so() {
    let console = Console::start(DemoMood::Failing).await;
    let mut stream = Stream::open(&console, "/live/p/mta-turnstile").await;
    let event = stream.event().await.unwrap();
    assert!(event.contains("\"order\":[\"problem\"]") && event.contains("cannot be read"), "{event}");
}

#[tokio::test]
async fn a_stop_ends_streams_and_lets_requests_finish() {
    let console = Console::start(DemoMood::Full).await;
    let mut stream = Stream::open(&console, "/live/p/mta-turnstile").await;
    stream.event().await.unwrap();
    let address = console.address;
    tokio::time::timeout(PATIENCE, console.server.stop()).await.expect("the stop is not for ever");
    assert_eq!(stream.event().await, None);
    assert!(TcpStream::connect(address).await.is_err(), "no one listens");
}
