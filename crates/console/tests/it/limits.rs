//! Bounds: connections, headers, bodies, streams.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::browser::{Console, FORM, PATIENCE, read_answer, request};
use crate::demo_data::DemoMood;
use crate::live::Stream;

#[tokio::test]
async fn connections_beyond_the_limit_wait_until_one_ends() {
    let console = Console::with(DemoMood::Full, 10, |settings| settings.limits.connections = 2).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(console.address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        held.push(stream);
    }
    let mut third = TcpStream::connect(console.address).await.unwrap();
    third.write_all(request("localhost", "GET", "/healthz", &[], "").as_bytes()).await.unwrap();
    let mut byte = [0; 1];
    let early = tokio::time::timeout(Duration::from_millis(500), third.peek(&mut byte)).await;
    assert!(early.is_err(), "the third is not served yet");
    held.pop();
    assert_eq!(read_answer(&mut third).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_sends_its_headers_slowly_is_closed_and_so_is_an_idle_one() {
    let console =
        Console::with(DemoMood::Full, 10, |settings| settings.limits.header_timeout = Duration::from_millis(300)).await;
    for beginning in ["", "GET / HTTP/1.1\r\nHost: local", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut stream = TcpStream::connect(console.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "still open after {beginning:?}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_and_one_that_never_ends_too() {
    let console = Console::with(DemoMood::Full, 10, |settings| {
        settings.limits.body_bytes = 1_000;
        settings.limits.request_timeout = Duration::from_millis(200);
        settings.limits.sql_timeout = Duration::from_millis(200);
    })
    .await;
    let page = console.get("/p/mta-turnstile/sql").await;
    let big = console.submit(&page, "/p/mta-turnstile/sql", &format!("query={}", "x".repeat(2_000))).await;
    assert_eq!(big.status, 413);
    let mut stream = TcpStream::connect(console.address).await.unwrap();
    let head = format!(
        "POST /p/mta-turnstile/sql HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {FORM}\r\nContent-Length: 900\r\n\r\nkey="
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut stream).await.unwrap().status, 408);
}

#[tokio::test]
async fn streams_beyond_the_limit_are_answered_503_until_one_ends() {
    let console = Console::with(DemoMood::Full, 10, |settings| settings.limits.live_streams = 2).await;
    let mut first = Stream::open(&console, "/live/p/mta-turnstile").await;
    let mut second = Stream::open(&console, "/live/p/mta-turnstile/windows").await;
    first.event().await.unwrap();
    second.event().await.unwrap();
    assert_eq!(console.get("/live/p/mta-turnstile").await.status, 503);
    drop(first);
    let served = async {
        loop {
            // The server notices that a client has left when it writes to it, which a change makes it do.
            console.data.step();
            let mut third = Stream::open(&console, "/live/p/mta-turnstile").await;
            if third.event().await.is_some() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, served).await.expect("the place is free again");
}

#[tokio::test]
async fn different_live_pages_are_bounded_too() {
    let console = Console::with(DemoMood::Full, 500, |settings| settings.limits.live_pages = 2).await;
    let mut streams = Vec::new();
    for path in ["", "/windows"] {
        let mut stream = Stream::open(&console, &format!("/live/p/mta-turnstile{path}")).await;
        stream.event().await.unwrap();
        streams.push(stream);
    }
    assert_eq!(console.get("/live/p/mta-turnstile/runs").await.status, 503);
    let mut same = Stream::open(&console, "/live/p/mta-turnstile").await;
    assert!(same.event().await.is_some(), "a page that is live already costs nothing more");
}
