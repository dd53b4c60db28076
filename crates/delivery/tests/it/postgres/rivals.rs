//! Several deliverers at once, and other sessions in the way.

use futures::future::join_all;
use turnstile_delivery::postgres::PostgresTarget;
use turnstile_delivery::{Delivered, Target, TargetError};
use turnstile_values::human;

use super::city::{after, load, windows};
use super::test_database::TestDatabase;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: cargo xtask test"]
async fn of_two_deliverers_one_delivers_and_the_other_finds_it_done() {
    let database = TestDatabase::new().await;
    let mut rivals: Vec<PostgresTarget> = (0..4).map(|_| database.target()).collect();
    for number in 1..=10 {
        let same = load(number, vec![windows(&[number as i64], &[("A", number as i64, 1)])]);
        let answers = join_all(rivals.iter_mut().map(|target| target.apply(&same))).await;
        let answers: Vec<Delivered> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers.iter().filter(|answer| !answer.already).count(), 1, "{answers:?}");
    }
    assert_eq!(database.sql("SELECT count(*), sum(entries) FROM turnstile.fact").await, ["10|10"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: cargo xtask test"]
async fn of_two_deliveries_from_one_position_the_second_is_moved() {
    let database = TestDatabase::new().await;
    let (mut one, mut two) = (database.target(), database.target());
    one.apply(&load(1, vec![])).await.unwrap();
    for round in 0..10 {
        let from = one.position().await.unwrap();
        let load_now = from.as_ref().unwrap().load;
        let to = |load: u64, station: &str| {
            let mut delivery = super::city::load(load, vec![windows(&[round], &[(station, round, 1)])]);
            delivery.from = from.clone();
            delivery
        };
        let (short, long) = (to(load_now + 1, "short"), to(load_now + 2, "long"));
        let (a, b) = tokio::join!(one.apply(&short), two.apply(&long));
        let at = match (a, b) {
            (Ok(_), Err(TargetError::Moved { at, .. })) => (at, short.to),
            (Err(TargetError::Moved { at, .. }), Ok(_)) => (at, long.to),
            other => panic!("{other:?}"),
        };
        assert_eq!(at.0, Some(at.1));
        let rows =
            database.sql(&format!("SELECT count(*) FROM turnstile.fact WHERE start_at = {}", instant(round))).await;
        assert_eq!(rows, ["1"]);
    }
}

fn instant(window: i64) -> String {
    format!("to_timestamp({})", super::city::window(window) / 1_000_000)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: cargo xtask test"]
async fn a_table_that_somebody_holds_is_waited_for_no_longer_than_the_lock_timeout() {
    let database = TestDatabase::new().await;
    let mut target = PostgresTarget::new(database.settings(&[("lock_timeout", "100 ms")]));
    target.apply(&load(1, vec![windows(&[0], &[("A", 0, 1)])])).await.unwrap();
    let holder = tokio::spawn({
        let database = database.clone();
        async move {
            let hold = "BEGIN; LOCK TABLE turnstile.fact; SELECT pg_sleep(1000)";
            // Ends when it is cancelled below.
            let _ = database.try_sql(hold).await;
        }
    });
    let held = "SELECT FROM pg_locks WHERE relation = 'turnstile.fact'::regclass AND mode = 'AccessExclusiveLock'";
    while database.sql(held).await.is_empty() {}
    let second = load(2, vec![windows(&[0], &[("A", 0, 2)])]);
    match target.apply(&second).await.unwrap_err() {
        TargetError::Unreachable { source, .. } => assert!(human::error(&*source).contains("lock timeout")),
        other => panic!("{other:?}"),
    }
    assert_eq!(target.position().await.unwrap(), after(1));
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1000)' \
                  AND pid <> pg_backend_pid() AND datname = current_database()";
    database.sql(cancel).await;
    holder.await.unwrap();
    target.apply(&second).await.unwrap();
    assert_eq!(database.sql("SELECT entries FROM turnstile.fact").await, ["2"]);
}
