//! Servers that are not there, do not answer, do not let in, or were restarted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use turnstile_spark::{
    DataSource, Relation, Session, SessionSettings, SparkAddress, SparkError, StreamSink, StreamTrigger,
};
use turnstile_testkit::servers::{SparkServer, free_port};

use crate::server::{home, patient, session, shared};

#[tokio::test]
async fn a_server_that_is_down_is_an_error_at_once() {
    let remote = SparkAddress::parse(&format!("sc://127.0.0.1:{}", free_port().unwrap())).unwrap();
    let began = Instant::now();
    let Err(error) = Session::open(remote, SessionSettings::default()).await else { panic!("there is no server") };
    assert!(matches!(error, SparkError::Unreachable { .. }) && error.hint().is_some(), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_an_error_within_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = SparkAddress::parse(&format!("sc://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            kept.push(connection);
        }
    });
    let settings = SessionSettings { connect: Duration::from_millis(300), ..SessionSettings::default() };
    let Err(error) = Session::open(remote, settings).await else { panic!("it says nothing") };
    assert!(matches!(error, SparkError::Silent { .. }), "{error:?}");
}

#[tokio::test]
async fn something_else_that_listens_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = SparkAddress::parse(&format!("sc://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut asked = [0; 64];
            let _ = connection.read(&mut asked).await;
            let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let Err(error) = Session::open(remote, SessionSettings::default()).await else { panic!("it is a web server") };
    assert!(matches!(error, SparkError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_source_that_the_cluster_lacks_is_recognised() {
    let session = session(shared()).await;
    let options = BTreeMap::from([
        ("kafka.bootstrap.servers".to_owned(), "127.0.0.1:1".to_owned()),
        ("subscribe".to_owned(), "none".to_owned()),
    ]);
    let kafka = Relation::stream(DataSource { format: "kafka".into(), schema: None, options });
    let error = session.schema(&kafka).await.unwrap_err();
    assert!(error.hint().is_some_and(|hint| hint.contains("spark-sql-kafka-0-10")), "{error:?}");
    session.release().await.unwrap();
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_token_lets_in_and_a_wrong_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let home = home().property("spark.connect.authenticate.token", "right-token");
    let server = SparkServer::start(&home, dir.path()).unwrap();
    let remote =
        |token: &str| SparkAddress::parse(&format!("{}/;use_ssl=false;token={token}", server.remote())).unwrap();
    let Err(error) = Session::open(remote("wrong-token"), patient()).await else { panic!("the token is wrong") };
    assert!(matches!(&error, SparkError::Refused { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("wrong-token"));
    session(remote("right-token")).await.release().await.unwrap();
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_server_that_is_killed_loses_the_session_and_a_new_one_continues_the_query() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = SparkServer::start(&home(), dir.path()).unwrap();
    let remote = SparkAddress::parse(&server.remote()).unwrap();
    drop(session(remote.clone()).await);
    let settings = SessionSettings { connect: Duration::from_secs(20), ..SessionSettings::default() };
    let first = Session::open(remote.clone(), settings).await.unwrap();
    let rate = || Relation::stream(DataSource { format: "rate".into(), schema: None, options: BTreeMap::new() });
    let sink = StreamSink {
        format: "csv".into(),
        path: dir.path().join("rows").display().to_string(),
        checkpoint: dir.path().join("checkpoint").display().to_string(),
        options: BTreeMap::new(),
        trigger: StreamTrigger::Every(Duration::from_millis(100)),
        name: "killed".into(),
    };
    let query = first.start(rate(), &sink).await.unwrap();
    server.kill9().unwrap();
    let began = Instant::now();
    let error = first.query_state(&query).await.unwrap_err();
    assert!(error.is_of_the_connection(), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    server.restart().unwrap();
    let error = first.query_state(&query).await.unwrap_err();
    assert!(matches!(error, SparkError::SessionLost { .. }), "{error:?}");
    let second = session(remote).await;
    assert_eq!(second.start(rate(), &sink).await.unwrap().id, query.id);
    second.release().await.unwrap();
}
