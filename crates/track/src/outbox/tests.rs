//! Outboxes against small servers on loopback.

use std::time::Duration;

use turnstile_values::{RetryPolicy, Secret};

use super::*;
use crate::test_server::{TestServer, until};

const QUICK: RetryPolicy = RetryPolicy::new(Duration::from_millis(5), Duration::from_millis(20));

fn settings(url: &str) -> OutboxSettings {
    OutboxSettings {
        name: "the test's server",
        url: Secret::new(url),
        headers: vec![("authorization".into(), Secret::new("Bearer hush-hush"))],
        content_type: "application/json",
        capacity: 3,
        capacity_bytes: 1_000,
        retries: QUICK,
    }
}

fn outbox(settings: OutboxSettings) -> HttpOutbox {
    HttpOutbox::start(settings, &tokio::runtime::Handle::current()).unwrap()
}

#[tokio::test]
async fn bodies_arrive_in_order_with_their_headers() {
    let server = TestServer::start(|_| 200).await;
    let outbox = outbox(settings(&server.url("/hook?key=secret")));
    outbox.push(b"1".to_vec());
    outbox.push(b"2".to_vec());
    let counts = outbox.close(Duration::from_secs(10)).await;
    assert_eq!(counts, OutboxCounts { delivered: 2, ..OutboxCounts::default() });
    let requests = server.requests();
    assert_eq!(requests.iter().map(|request| request.body.as_slice()).collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(requests[0].target, "/hook?key=secret");
    assert_eq!(requests[0].header("authorization"), "Bearer hush-hush");
    assert_eq!(requests[0].header("content-type"), "application/json");
}

#[tokio::test]
async fn what_an_overloaded_server_did_not_take_is_sent_again_and_what_it_refuses_is_not() {
    // 503, then 429, then taken; then refused; then taken.
    let server = TestServer::start(|number| [503, 429, 200, 400, 200][number]).await;
    let outbox = outbox(settings(&server.url("/")));
    for body in ["a", "b", "c"] {
        outbox.push(body.as_bytes().to_vec());
    }
    let counts = outbox.close(Duration::from_secs(10)).await;
    assert_eq!(counts, OutboxCounts { delivered: 2, refused: 1, dropped: 0, waiting: 0 });
    let bodies: Vec<_> = server.requests().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, [b"a", b"a", b"a", b"b", b"c"]);
}

#[tokio::test]
async fn a_server_that_is_away_costs_the_oldest_bodies_and_no_waiting() {
    let server = TestServer::start(|_| 503).await;
    let outbox = outbox(settings(&server.url("/")));
    for body in 0..10 {
        outbox.push(vec![body]);
    }
    let counts = outbox.counts();
    assert_eq!((counts.dropped, counts.waiting), (7, 3));
    outbox.push(vec![0; 999]);
    assert_eq!(outbox.counts().waiting, 2, "bytes are limited too");
    let counts = outbox.close(Duration::from_millis(50)).await;
    assert_eq!((counts.delivered, counts.waiting), (0, 2));
}

#[tokio::test]
async fn bodies_pushed_while_a_server_was_away_are_delivered_when_it_is_back() {
    let server = TestServer::start(|number| if number < 4 { 500 } else { 204 }).await;
    let outbox = outbox(settings(&server.url("/")));
    outbox.push(b"kept".to_vec());
    until(|| outbox.counts().delivered == 1).await;
    assert_eq!(server.requests().len(), 5);
}

/// Keeps each log line of one thread.
#[derive(Clone, Default)]
struct LogLines(std::sync::Arc<parking_lot::Mutex<Vec<String>>>);

impl tracing::Subscriber for LogLines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = String::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            line += &format!("{}={value:?} ", field.name());
        });
        self.0.lock().push(line);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn an_outage_is_one_line_when_it_begins_and_one_when_it_ends_and_neither_shows_the_url() {
    let lines = LogLines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let server = TestServer::start(|number| if number < 5 { 503 } else { 200 }).await;
    let outbox = outbox(settings(&server.url("/hook?key=hush-hush")));
    outbox.push(b"1".to_vec());
    outbox.push(b"2".to_vec());
    assert_eq!(outbox.close(Duration::from_secs(10)).await.delivered, 2);
    let lines = lines.0.lock().clone();
    let own: Vec<&String> = lines.iter().filter(|line| line.contains("the test's server")).collect();
    assert_eq!(own.len(), 2, "{lines:#?}");
    assert!(own[0].contains("is away: HTTP status 503") && own[1].contains("again"), "{own:?}");
    assert!(!lines.iter().any(|line| line.contains("hush")), "{lines:#?}");
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_named_by_its_fault_and_not_by_its_url() {
    let lines = LogLines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let outbox = outbox(settings(&format!("http://user:hush-hush@127.0.0.1:{port}/hush")));
    outbox.push(b"1".to_vec());
    until(|| lines.0.lock().iter().any(|line| line.contains("is away"))).await;
    assert!(!lines.0.lock().iter().any(|line| line.contains("hush")), "{:#?}", lines.0.lock());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = TestServer::start(|_| 307).await;
    let outbox = outbox(settings(&server.url("/")));
    outbox.push(b"1".to_vec());
    assert_eq!(outbox.close(Duration::from_secs(10)).await.refused, 1);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_wrong_url_or_header_is_an_error_that_does_not_show_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for url in ["ftp://hush-hush/", "hush-hush", "http://"] {
        let error = HttpOutbox::start(settings(url), runtime.handle()).unwrap_err();
        assert!(
            matches!(error, OutboxError::Url { .. }) && !format!("{error} {error:?}").contains("hush"),
            "{error:?}"
        );
    }
    let headers = vec![("x-key".to_owned(), Secret::new("hush\nhush"))];
    let error = HttpOutbox::start(OutboxSettings { headers, ..settings("http://h/") }, runtime.handle()).unwrap_err();
    assert!(matches!(&error, OutboxError::Header { header, .. } if header == "x-key"));
    assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
}
