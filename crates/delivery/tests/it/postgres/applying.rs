//! Deliveries arrive, are corrected, and are not applied twice.

use std::sync::Arc;

use turnstile_delivery::{Delivered, Scope, Target, TargetError};

use super::city::{after, change, dim, fact, facts, load, names, top, windows};
use super::test_database::TestDatabase;

const FACTS: &str =
    "SELECT station, to_char(start_at AT TIME ZONE 'UTC', 'HH24:MI'), entries, xmin FROM turnstile.fact";

const KEYS: &str = "SELECT relname, pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class c ON c.oid = conrelid \
                    WHERE contype = 'p' AND connamespace = 'turnstile'::regnamespace ORDER BY 1";

/// The rows of `fact` without the transaction that wrote them.
async fn facts_in(database: &TestDatabase) -> Vec<String> {
    let rows = database.sql(&format!("{FACTS} ORDER BY 2, 1")).await;
    rows.into_iter().map(|row| row.rsplit_once('|').unwrap().0.to_owned()).collect()
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn the_first_delivery_makes_schema_tables_keys_comments_and_position() {
    let database = TestDatabase::new().await;
    let mut target = database.target();
    assert_eq!(target.position().await.unwrap(), None);
    assert!(
        database.sql("SELECT FROM pg_namespace WHERE nspname = 'turnstile'").await.is_empty(),
        "position() creates nothing"
    );

    let first = load(
        1,
        vec![
            windows(&[0], &[("A", 0, 1), ("B", 0, 2)]),
            change(dim(), Scope::Keys, names(&[(1, "one")])),
            change(top(), Scope::Everything, names(&[(1, "one"), (1, "one")])),
        ],
    );
    assert_eq!(target.apply(&first).await.unwrap(), Delivered { already: false, rows: 5, replaced: 0 });
    assert_eq!(target.position().await.unwrap(), after(1));
    assert_eq!(facts_in(&database).await, ["A|00:00|1", "B|00:00|2"]);
    assert_eq!(database.sql("SELECT * FROM turnstile.top").await, ["1|one", "1|one"]);
    assert_eq!(
        database.sql(KEYS).await,
        ["dim|PRIMARY KEY (id)", "fact|PRIMARY KEY (start_at, station)", "turnstile_position|PRIMARY KEY (one_row)"]
    );
    let comments = database.sql("SELECT obj_description('turnstile.fact'::regclass, 'pg_class')").await;
    assert_eq!(comments, ["entries by station and window"]);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_delivery_sent_again_changes_nothing() {
    let database = TestDatabase::new().await;
    let mut target = database.target();
    let first = load(1, vec![windows(&[0], &[("A", 0, 1)])]);
    target.apply(&first).await.unwrap();
    let before = database.sql(FACTS).await;
    for target in [&mut target, &mut database.target()] {
        assert_eq!(target.apply(&first).await.unwrap(), Delivered { already: true, rows: 0, replaced: 0 });
    }
    assert_eq!(database.sql(FACTS).await, before);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_correction_touches_the_rows_that_differ_and_no_others() {
    let database = TestDatabase::new().await;
    let mut target = database.target();
    let rows = [("A", 0, 1), ("B", 0, 2), ("C", 0, 3), ("A", 1, 4)];
    target.apply(&load(1, vec![windows(&[0, 1], &rows)])).await.unwrap();
    let writer = |rows: &[String], key: &str| {
        let row = rows.iter().find(|row| row.starts_with(key)).unwrap();
        row.rsplit_once('|').unwrap().1.to_owned()
    };
    let before = database.sql(FACTS).await;

    // B has gone, C is another, D is new; A and the other window are as they were.
    let corrected = [("A", 0, 1), ("C", 0, 30), ("D", 0, 5)];
    let delivered = target.apply(&load(2, vec![windows(&[0], &corrected)])).await.unwrap();
    assert_eq!((delivered.rows, delivered.replaced), (3, 2));
    assert_eq!(facts_in(&database).await, ["A|00:00|1", "C|00:00|30", "D|00:00|5", "A|00:05|4"]);
    let now = database.sql(FACTS).await;
    for untouched in ["A|00:00", "A|00:05"] {
        assert_eq!(writer(&now, untouched), writer(&before, untouched), "{untouched} was written again");
    }
    assert_ne!(writer(&now, "C|00:00"), writer(&before, "C|00:00"));
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_window_delivered_without_rows_is_emptied() {
    let database = TestDatabase::new().await;
    let mut target = database.target();
    target.apply(&load(1, vec![windows(&[0, 1], &[("A", 0, 1), ("A", 1, 2)])])).await.unwrap();
    let delivered = target.apply(&load(2, vec![windows(&[0, 7], &[])])).await.unwrap();
    assert_eq!((delivered.rows, delivered.replaced), (0, 1));
    assert_eq!(facts_in(&database).await, ["A|00:05|2"]);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn the_rows_of_a_window_are_found_by_an_index_also_when_the_key_does_not_hold_it() {
    let database = TestDatabase::new().await;
    let mut apart = windows(&[0], &[("A", 0, 1), ("B", 0, 2)]);
    apart.table = Arc::new(turnstile_delivery::TargetTable { key: vec!["station".into()], ..fact() });
    let mut target = database.target();
    target.apply(&load(1, vec![apart.clone()])).await.unwrap();
    let indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = 'fact' AND indexdef LIKE '%(start_at)'";
    assert_eq!(database.sql(indexes).await, ["1"]);

    // A moves to a window that was empty: it is overwritten, and not there twice.
    let moved = windows(&[1], &[("A", 1, 5)]);
    let moved = turnstile_delivery::TableChange { table: Arc::clone(&apart.table), ..moved };
    assert_eq!(target.apply(&load(2, vec![moved])).await.unwrap().replaced, 1);
    assert_eq!(facts_in(&database).await, ["B|00:00|2", "A|00:05|5"]);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_dimension_keeps_what_is_not_delivered_and_a_table_does_not() {
    let database = TestDatabase::new().await;
    let mut target = database.target();
    let both = |number, rows: &[(i64, &str)]| {
        let dim = change(dim(), Scope::Keys, names(rows));
        load(number, vec![dim, change(top(), Scope::Everything, names(rows))])
    };
    target.apply(&both(1, &[(1, "one"), (2, "two")])).await.unwrap();
    target.apply(&both(2, &[(2, "TWO"), (3, "three")])).await.unwrap();
    assert_eq!(database.sql("SELECT * FROM turnstile.dim ORDER BY 1").await, ["1|one", "2|TWO", "3|three"]);
    assert_eq!(database.sql("SELECT * FROM turnstile.top ORDER BY 1").await, ["2|TWO", "3|three"]);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_full_delivery_of_a_fact_replaces_all_windows() {
    let database = TestDatabase::new().await;
    let mut target = database.target();
    target.apply(&load(1, vec![windows(&[0, 1], &[("A", 0, 1), ("A", 1, 2)])])).await.unwrap();
    let rows = facts(&[("A", 1, 2), ("B", 2, 3)]);
    target.apply(&load(2, vec![change(fact(), Scope::Everything, rows)])).await.unwrap();
    assert_eq!(facts_in(&database).await, ["A|00:05|2", "B|00:10|3"]);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_delivery_from_another_position_learns_where_the_target_is() {
    let database = TestDatabase::new().await;
    let mut target = database.target();
    let moved = |error| match error {
        TargetError::Moved { at, .. } => at,
        other => panic!("{other:?}"),
    };
    let second = load(2, vec![windows(&[0], &[("A", 0, 1)])]);
    assert_eq!(moved(target.apply(&second).await.unwrap_err()), None);
    target.apply(&load(1, vec![])).await.unwrap();
    target.apply(&second).await.unwrap();
    let stale = load(2, vec![windows(&[0], &[("A", 0, 9)])]);
    assert!(target.apply(&stale).await.unwrap().already, "the same position is the same delivery");
    assert_eq!(moved(target.apply(&load(1, vec![])).await.unwrap_err()), after(2));
    assert_eq!(facts_in(&database).await, ["A|00:00|1"]);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn tables_without_changes_are_created_too() {
    let database = TestDatabase::new().await;
    let mut first = load(1, vec![]);
    first.tables = vec![Arc::new(fact()), Arc::new(dim())];
    database.target().apply(&first).await.unwrap();
    assert_eq!(facts_in(&database).await, [""; 0]);
    assert_eq!(database.sql(KEYS).await.len(), 3, "of both tables and the position's");
}
