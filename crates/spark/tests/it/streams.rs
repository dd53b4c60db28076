//! Streaming queries.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use turnstile_spark::{DataSource, QueryHandle, Relation, Session, StreamSink, StreamTrigger};

use crate::proxy::Proxy;
use crate::server::{session, shared};

const PATIENCE: Duration = Duration::from_secs(120);

fn rows_a_second(rows: u32) -> Relation {
    let options = BTreeMap::from([("rowsPerSecond".to_owned(), rows.to_string())]);
    Relation::stream(DataSource { format: "rate".into(), schema: None, options })
}

fn sink(dir: &Path, trigger: StreamTrigger) -> StreamSink {
    StreamSink {
        format: "csv".into(),
        path: dir.join("rows").display().to_string(),
        checkpoint: dir.join("checkpoint").display().to_string(),
        options: BTreeMap::new(),
        trigger,
        name: format!("story-{}", uuid::Uuid::new_v4()),
    }
}

async fn progressed(session: &Session, query: &QueryHandle, batches: usize) -> Vec<String> {
    let began = Instant::now();
    loop {
        let progress = session.recent_progress(query).await.unwrap();
        if progress.iter().filter(|batch| !batch.contains("\"numInputRows\" : 0,")).count() >= batches {
            return progress;
        }
        assert!(began.elapsed() < PATIENCE, "{progress:?} {:?}", session.query_failure(query).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_query_writes_files_is_stopped_and_continues_from_its_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(shared()).await;
    session.create_view("rate", rows_a_second(50).with_watermark("timestamp", Duration::from_secs(1))).await.unwrap();
    let table = || Relation::sql("SELECT timestamp, value FROM rate").coalesced(1);
    let sink = sink(dir.path(), StreamTrigger::Every(Duration::from_millis(200)));
    let query = session.start(table(), &sink).await.unwrap();
    assert!(session.query_state(&query).await.unwrap().active);
    let active = session.active_queries().await.unwrap();
    assert_eq!((&active[0].handle, active[0].name.as_deref()), (&query, Some(sink.name.as_str())));
    let progress = progressed(&session, &query, 1).await;
    assert!(progress.iter().all(|batch| batch.contains(&query.run_id)), "{progress:?}");
    session.stop(&query).await.unwrap();
    assert!(!session.query_state(&query).await.unwrap().active);
    assert!(session.query_failure(&query).await.unwrap().is_none());
    assert!(dir.path().join("rows/_spark_metadata/0").is_file());

    let again = session.start(table(), &sink).await.unwrap();
    assert_eq!(again.id, query.id, "the checkpoint knows the query");
    assert_ne!(again.run_id, query.run_id);
    progressed(&session, &again, 1).await;
    session.release().await.unwrap();
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_query_that_fails_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(shared()).await;
    session.create_view("rate", rows_a_second(50)).await.unwrap();
    let table = Relation::sql("SELECT raise_error('no such gate') AS x FROM rate");
    let query =
        session.start(table, &sink(dir.path(), StreamTrigger::Every(Duration::from_millis(100)))).await.unwrap();
    let began = Instant::now();
    while session.query_state(&query).await.unwrap().active {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let failure = session.query_failure(&query).await.unwrap().expect("it failed");
    assert!(failure.to_string().contains("no such gate"), "{failure}");
    session.release().await.unwrap();
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_connection_that_ends_during_a_command_does_not_repeat_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut remote = shared();
    let proxy = Proxy::before(remote.authority()).await;
    (remote.host, remote.port) = (proxy.address.ip().to_string(), proxy.address.port());
    let session = session(remote).await;
    session.create_view("rate", rows_a_second(5)).await.unwrap();
    let sink = sink(dir.path(), StreamTrigger::Every(Duration::from_millis(200)));
    // It is cut again and again while the query is started: each time the responses are asked for again.
    let start = session.start(Relation::sql("SELECT value FROM rate"), &sink);
    let cutting = async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            proxy.cut();
        }
    };
    let (query, ()) = tokio::join!(start, cutting);
    let query = query.unwrap();
    assert!(proxy.connections() > 1, "it was never cut");
    let active = session.active_queries().await.unwrap();
    assert_eq!(active.iter().map(|query| &query.handle).collect::<Vec<_>>(), [&query], "it was started once");
    session.release().await.unwrap();
}
