//! Running statements can be ended, and what they ran is freed.

use std::time::Duration;

use futures::{StreamExt, pin_mut};
use tokio::time::timeout;
use tokio_postgres::NoTls;
use tokio_postgres::types::ToSql;

use crate::scene::{Scene, connect, server_error, text};

/// Would take far longer than any of these tests waits.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000000000) WHERE value % 7 = 3";
const PATIENCE: Duration = Duration::from_secs(60);

async fn begun(scene: &Scene, sessions: i64) {
    while scene.tables.sessions() < sessions {
        tokio::task::yield_now().await;
    }
}

async fn ends<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("it ends")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_request_ends_the_statement_not_the_connection() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    let token = client.cancel_token();
    let cancel = async {
        begun(&scene, 1).await;
        token.cancel_query(NoTls).await.unwrap();
    };
    let (outcome, ()) = ends(async { tokio::join!(client.simple_query(ENDLESS), cancel) }).await;
    assert_eq!(server_error(outcome).code().code(), "57014");
    assert_eq!(text(&client, "SELECT 1").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_request_ends_the_statement_while_rows_are_sent() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    let none: [&dyn ToSql; 0] = [];
    let rows = client.query_raw("SELECT * FROM generate_series(1, 1000000000000)", none).await.unwrap();
    pin_mut!(rows);
    assert!(rows.next().await.unwrap().is_ok());
    client.cancel_token().cancel_query(NoTls).await.unwrap();
    let end = ends(async {
        loop {
            match rows.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("it ended by itself"),
            }
        }
    });
    assert_eq!(end.await.code().unwrap().code(), "57014");
    assert_eq!(text(&client, "SELECT 1").await, "1");
}

#[tokio::test]
async fn a_statement_ends_at_its_timeout_in_both_protocols() {
    let scene = Scene::start().await;
    let client = scene.client().await;
    client.simple_query("SET statement_timeout = 50").await.unwrap();
    for error in
        [server_error(ends(client.simple_query(ENDLESS)).await), server_error(ends(client.query(ENDLESS, &[])).await)]
    {
        assert_eq!(error.code().code(), "57014");
        assert!(error.message().contains("statement timeout"), "{error:?}");
    }
}

#[tokio::test]
async fn a_connection_cannot_outlast_the_server_s_limit() {
    let scene = Scene::with(|settings| settings.statement_timeout = Duration::from_millis(50)).await;
    let client = scene.client().await;
    client.simple_query("SET statement_timeout = '1h'").await.unwrap();
    assert_eq!(server_error(ends(client.simple_query(ENDLESS)).await).code().code(), "57014");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_disconnects_frees_its_statement_and_its_slot() {
    let scene = Scene::with(|settings| settings.max_connections = 1).await;
    let (client, connection) = scene.config().connect(NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let running = tokio::spawn(async move { client.simple_query(ENDLESS).await.map(drop) });
    begun(&scene, 1).await;
    // The task owns the socket: without it the server sees what it sees of a client that was killed.
    driver.abort();
    assert!(running.await.unwrap().is_err());
    let next = ends(async {
        loop {
            match connect(&scene.config()).await {
                Ok(client) => break client,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    assert_eq!(text(&next.await, "SELECT 1").await, "1");
}

#[tokio::test]
async fn a_server_that_stops_disconnects_idle_clients_and_cancels_the_rest() {
    let scene = Scene::with(|settings| settings.stop_grace = Duration::from_millis(50)).await;
    let idle = scene.client().await;
    let busy = scene.client().await;
    let port = scene.port();
    let tables = std::sync::Arc::clone(&scene.tables);
    let stop = async {
        while tables.sessions() < 1 {
            tokio::task::yield_now().await;
        }
        scene.server.stop().await;
    };
    let (outcome, ()) = ends(async { tokio::join!(busy.simple_query(ENDLESS), stop) }).await;
    assert_eq!(server_error(outcome).code().code(), "57P01");
    assert!(idle.simple_query("SELECT 1").await.is_err());
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
}
