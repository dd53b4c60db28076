//! Uploads in parts. Against `RecordingApi`.

use std::sync::Arc;

use parking_lot::Mutex;
use turnstile_delivery::bigquery::{BigQuerySettings, BigQueryTarget};
use turnstile_delivery::{Delivered, Target, TargetError};

use crate::recording::{RecordedRequest, RecordingApi, Reply, done, job};
use crate::scene::{Fact, delivery, fact_change};

const UNIT: usize = 256 << 10;

/// What came of an upload: its bytes in the order in which they were taken.
#[derive(Default)]
struct Session {
    length: usize,
    bytes: Vec<u8>,
    job: String,
    parts: usize,
}

impl Session {
    /// Takes a part and answers as the service documents: 308 with what it has, the job when it has all.
    fn take(&mut self, asked: &RecordedRequest) -> Reply {
        let range = asked.header("content-range").unwrap().trim_start_matches("bytes ").to_owned();
        if let Some((first, _)) = range.split('/').next().unwrap().split_once('-') {
            assert_eq!(first.parse::<usize>().unwrap(), self.bytes.len(), "a part in its place");
            assert!(asked.body.len() <= UNIT);
            self.bytes.extend(&asked.body);
            self.parts += 1;
        }
        match self.bytes.len() {
            all if all == self.length => job(&self.job, done()),
            0 => Reply::status(308),
            some => Reply::status(308).header("Range", format!("bytes=0-{}", some - 1)),
        }
    }
}

/// Rows whose Parquet file is more than one part long: numbers that do not compress.
fn many() -> Vec<Fact> {
    let mut state = 7_u64;
    (0..120_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ("A", 0, state.cast_signed())
        })
        .collect()
}

async fn upload(
    trouble: impl Fn(&RecordedRequest, usize) -> Option<Reply> + Send + 'static,
) -> (Result<Delivered, TargetError>, Arc<Mutex<Session>>, usize) {
    let session: Arc<Mutex<Session>> = Arc::default();
    let shared = Arc::clone(&session);
    let endpoint: Arc<Mutex<String>> = Arc::default();
    let address = Arc::clone(&endpoint);
    let mut puts = 0;
    let api = RecordingApi::start(1, move |asked, _| {
        let mut session = shared.lock();
        if asked.is("POST", "uploadType=resumable") {
            *session = Session { job: asked.job(), ..Session::default() };
            session.length = asked.header("x-upload-content-length").unwrap().parse().unwrap();
            let location = trouble(asked, 0).and_then(|reply| reply.headers.first().map(|header| header.1.clone()));
            let location = location.unwrap_or_else(|| format!("{}/upload/session-1", address.lock()));
            return Some(Reply::status(200).header("Location", location));
        }
        if asked.method != "PUT" {
            return None;
        }
        puts += 1;
        Some(trouble(asked, puts).unwrap_or_else(|| session.take(asked)))
    })
    .await;
    endpoint.lock().push_str(&api.endpoint);
    let settings = BigQuerySettings { multipart_bytes: 1_000, upload_bytes: UNIT, ..api.settings() };
    let load = delivery(1, 2, vec![fact_change(&[0], &many())]);
    let result = BigQueryTarget::new(settings).unwrap().apply(&load).await;
    (result, session, api.count(|asked| asked.method == "PUT"))
}

fn is_parquet(session: &Session) -> bool {
    session.bytes.starts_with(b"PAR1") && session.bytes.ends_with(b"PAR1") && session.bytes.len() == session.length
}

#[tokio::test]
async fn a_large_file_goes_in_parts_of_bounded_size() {
    let (result, session, _) = upload(|_, _| None).await;
    assert_eq!(result.unwrap().rows, 120_000);
    let session = session.lock();
    assert!(is_parquet(&session) && session.parts >= 3, "{} parts of {} bytes", session.parts, session.length);
}

#[tokio::test]
async fn an_upload_that_is_interrupted_asks_how_far_it_came_and_goes_on_from_there() {
    let (result, session, puts) =
        upload(|_, put| (put == 2).then(|| Reply::error(503, "backendError", "Try again."))).await;
    result.unwrap();
    let session = session.lock();
    assert!(is_parquet(&session));
    assert_eq!(puts, session.parts + 2, "the part that failed, and the question");
}

#[tokio::test]
async fn an_upload_that_is_lost_is_begun_again_by_the_next_try() {
    let (result, ..) = upload(|_, put| (put == 2).then(|| Reply::status(410))).await;
    assert!(matches!(result, Err(TargetError::Unreachable { .. })), "{result:?}");
}

#[tokio::test]
async fn bytes_go_to_the_endpoint_and_nowhere_else() {
    let elsewhere = |asked: &RecordedRequest, _| {
        (asked.method == "POST").then(|| Reply::status(200).header("Location", "http://127.0.0.1:1/x"))
    };
    let (result, _, puts) = upload(elsewhere).await;
    assert!(matches!(result, Err(TargetError::Refused { .. })), "{result:?}");
    assert_eq!(puts, 0);
}
