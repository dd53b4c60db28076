//! The server goes away, the answer gets lost, the caller gives up: nothing is half, and the same is sent again.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use futures::StreamExt;
use parking_lot::Mutex;
use turnstile_delivery::postgres::PostgresTarget;
use turnstile_delivery::{Delivery, RowSource, RowStream, Scope, TableChange, Target, TargetError};
use turnstile_testkit::servers::PostgresServer;

use super::city::{after, fact, facts, load, window, windows};
use super::test_database::TestDatabase;

/// Rows between whose batches something happens, once.
struct Eventful<F>(Mutex<Option<F>>);

impl<F: FnOnce() + Send + 'static> RowSource for Eventful<F> {
    fn read(&self) -> RowStream {
        let event = self.0.lock().take();
        let first = futures::stream::once(async { Ok(facts(&[("A", 0, 1)])) });
        let many = (0..200_000).map(|n| format!("station {n}")).collect::<Vec<_>>();
        let second = futures::stream::once(async move {
            if let Some(event) = event {
                event();
            }
            // More than the sockets' buffers hold: it cannot all be sent without the server.
            Ok(facts(&many.iter().map(|name| (name.as_str(), 1, 1)).collect::<Vec<_>>()))
        });
        Box::pin(first.chain(second))
    }

    fn count(&self) -> Option<u64> {
        None
    }
}

fn eventful(number: u64, event: impl FnOnce() + Send + 'static) -> Delivery {
    let rows = Arc::new(Eventful(Mutex::new(Some(event))));
    let scope = Scope::Windows(vec![window(0), window(1)]);
    load(number, vec![TableChange { table: Arc::new(fact()), scope, rows }])
}

fn is_unreachable<T: std::fmt::Debug>(answer: Result<T, TargetError>) -> bool {
    match answer {
        Err(TargetError::Unreachable { .. }) => true,
        other => panic!("{other:?}"),
    }
}

const COUNT: &str = "SELECT count(*), sum(entries) FROM turnstile.fact";

async fn the_server_goes_in_mid_load(go: fn(&mut PostgresServer)) {
    let server = Arc::new(Mutex::new(PostgresServer::start().unwrap()));
    let address = server.lock().address();
    let database = TestDatabase::on(address).await;
    let mut target = database.target();
    for number in [1, 2] {
        let inside = Arc::clone(&server);
        let delivery = eventful(number, move || go(&mut inside.lock()));
        assert!(is_unreachable(target.apply(&delivery).await));
        assert!(is_unreachable(target.position().await));
        server.lock().restart().unwrap();
        assert_eq!(target.position().await.unwrap(), after(number - 1));
        let delivered = target.apply(&delivery).await.unwrap();
        assert_eq!((delivered.already, delivered.rows), (false, 200_001));
        assert_eq!(target.position().await.unwrap(), after(number));
        assert_eq!(database.sql(COUNT).await, ["200001|200001"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: cargo xtask test"]
async fn a_server_killed_in_mid_load_has_nothing_half_and_takes_the_same_again() {
    the_server_goes_in_mid_load(|server| server.kill9().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: cargo xtask test"]
async fn a_server_stopped_in_mid_load_has_nothing_half_and_takes_the_same_again() {
    the_server_goes_in_mid_load(|server| server.stop().unwrap()).await;
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_restart_between_deliveries_goes_unnoticed() {
    let mut server = PostgresServer::start().unwrap();
    let database = TestDatabase::on(server.address()).await;
    let mut target = database.target();
    target.apply(&load(1, vec![windows(&[0], &[("A", 0, 1)])])).await.unwrap();
    server.stop().unwrap();
    server.restart().unwrap();
    target.apply(&load(2, vec![windows(&[1], &[("A", 1, 1)])])).await.unwrap();
    assert_eq!(database.sql(COUNT).await, ["2|2"]);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_load_that_is_given_up_in_the_middle_is_undone() {
    let database = TestDatabase::new().await;
    let mut target = database.target();
    let mut never = load(1, vec![windows(&[0], &[])]);
    never.changes[0].rows = Arc::new(Endless);
    tokio::select! {
        answer = target.apply(&never) => panic!("{answer:?}"),
        () = working(&database) => {}
    }
    // The server may still be undoing it: this waits for its locks.
    target.apply(&load(1, vec![windows(&[0], &[("A", 0, 1)])])).await.unwrap();
    assert_eq!(database.sql(COUNT).await, ["1|1"]);
}

/// One batch, and then never another.
struct Endless;

impl RowSource for Endless {
    fn read(&self) -> RowStream {
        let first = futures::stream::once(async { Ok(facts(&[("A", 0, 1)])) });
        Box::pin(first.chain(futures::stream::pending()))
    }

    fn count(&self) -> Option<u64> {
        None
    }
}

/// Until a COPY is under way.
async fn working(database: &TestDatabase) {
    let ask = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%'";
    while database.sql(ask).await.is_empty() {}
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_server_that_says_nothing_is_given_up_after_the_connect_timeout() {
    let database = TestDatabase::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let mut target = PostgresTarget::new(database.settings(&[("port", &port), ("connect_timeout", "200 ms")]));
    assert!(is_unreachable(target.position().await));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: cargo xtask test"]
async fn a_commit_whose_answer_is_lost_is_found_to_be_done() {
    let database = TestDatabase::new().await;
    let port = a_line_that_breaks_after_the_commit(database.server.port).to_string();
    let mut target = PostgresTarget::new(database.settings(&[("port", &port), ("sslmode", "disable")]));
    let first = load(1, vec![windows(&[0], &[("A", 0, 1)])]);
    assert!(is_unreachable(target.apply(&first).await));
    assert_eq!(target.position().await.unwrap(), after(1));
    assert!(target.apply(&first).await.unwrap().already);
    assert_eq!(database.sql(COUNT).await, ["1|1"]);
}

/// A line to the server that carries everything but the answer to a COMMIT: then it breaks. It stands in for a network
/// that fails in the worst moment.
fn a_line_that_breaks_after_the_commit(server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
            let committing = Arc::new(Mutex::new(false));
            let (from, to, seen) = (client.try_clone().unwrap(), server.try_clone().unwrap(), Arc::clone(&committing));
            thread::spawn(move || carry(from, to, |bytes| *seen.lock() |= is_commit(bytes)));
            thread::spawn(move || {
                carry_until(server, client, || *committing.lock());
            });
        }
    });
    port
}

fn is_commit(bytes: &[u8]) -> bool {
    bytes.windows(7).any(|word| word == b"COMMIT\0")
}

fn carry(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&[u8])) {
    let mut buffer = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        look(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

fn carry_until(mut from: TcpStream, mut to: TcpStream, is_over: impl Fn() -> bool) {
    let mut buffer = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        // The server has answered, so the commit is done.
        if is_over() {
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
        if to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}
