//! Rows and positions that are refused, with the words that a person needs.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use arrow::record_batch::RecordBatch;
use turnstile_delivery::postgres::PostgresTarget;
use turnstile_delivery::{Delivery, LoadPosition, RowSource, RowStream, Scope, TableChange, Target, TargetError};
use turnstile_values::human;

use super::city::{change, dim, fact, facts, load, names, refusal, window, windows};
use super::test_database::TestDatabase;

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_key_that_occurs_twice_is_named_with_its_values() {
    let database = TestDatabase::new().await;
    let mut target = database.target();
    let twice = || windows(&[0], &[("A", 0, 1), ("B", 0, 2), ("A", 0, 3)]);
    // Into a table that is made with it, into a window that is there, and into one that is not.
    let (reason, hint) = refusal(target.apply(&load(1, vec![twice()])).await.unwrap_err());
    assert!(reason.contains("table fact") && reason.contains("=(2026-08-01 00:00:00+00, A)"), "{reason}");
    assert!(hint.contains("correct the model"), "{hint}");
    target.apply(&load(1, vec![windows(&[0], &[("A", 0, 1)])])).await.unwrap();
    let (reason, _) = refusal(target.apply(&load(2, vec![twice()])).await.unwrap_err());
    assert!(reason.contains("2 rows have the key station = A, start_at = 2026-08-01"), "{reason}");
    let new = windows(&[1], &[("A", 1, 1), ("A", 1, 2)]);
    let (reason, hint) = refusal(target.apply(&load(2, vec![new])).await.unwrap_err());
    assert!(reason.contains("=(2026-08-01 00:05:00+00, A)") && hint.contains("correct the model"), "{reason} {hint}");
    assert_eq!(database.sql("SELECT entries FROM turnstile.fact").await, ["1"]);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_nul_byte_is_named_with_table_column_and_row() {
    let database = TestDatabase::new().await;
    let rows = names(&[(1, "one"), (2, "t\0wo")]);
    let refused = database.target().apply(&load(1, vec![change(dim(), Scope::Keys, rows)])).await.unwrap_err();
    let (reason, _) = refusal(refused);
    assert!(
        reason.contains("table dim, column name") && reason.contains("NUL") && reason.contains("id = 2"),
        "{reason}"
    );
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_null_in_the_key_and_a_row_outside_its_windows_are_named() {
    let database = TestDatabase::new().await;
    let id: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let name: ArrayRef = Arc::new(StringViewArray::from(vec!["one", "none"]));
    let rows = RecordBatch::try_new(dim().schema, vec![id, name]).unwrap();
    let refused = database.target().apply(&load(1, vec![change(dim(), Scope::Keys, rows)])).await.unwrap_err();
    let (reason, _) = refusal(refused);
    assert!(reason.contains("table dim, column id: it is part of the key and null"), "{reason}");

    let outside = change(fact(), Scope::Windows(vec![window(0)]), facts(&[("A", 0, 1), ("B", 1, 1)]));
    let (reason, _) = refusal(database.target().apply(&load(1, vec![outside])).await.unwrap_err());
    assert!(reason.contains("not delivered") && reason.contains("station = B"), "{reason}");
    assert_eq!(database.target().position().await.unwrap(), None);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn another_warehouses_schema_is_left_alone() {
    let database = TestDatabase::new().await;
    let mut target = database.target();
    target.apply(&load(1, vec![windows(&[0], &[("A", 0, 1)])])).await.unwrap();
    let mut other = load(1, vec![windows(&[0], &[("B", 0, 1)])]);
    other.to = LoadPosition { warehouse: "village".into(), ..other.to };
    let (reason, hint) = refusal(target.apply(&other).await.unwrap_err());
    assert!(reason.contains("warehouse city, not of village") && hint.contains("another `schema`"), "{reason} {hint}");

    let mut beside = PostgresTarget::new(database.settings(&[("schema", "village")]));
    beside.apply(&other).await.unwrap();
    assert_eq!(database.sql("SELECT station FROM turnstile.fact").await, ["A"]);
    assert_eq!(database.sql("SELECT station FROM village.fact").await, ["B"]);

    // Its rows are replaced once a person names it, all of them.
    let mut adopting = PostgresTarget::new(database.settings(&[("adopt", "city")]));
    let from = adopting.position().await.unwrap();
    let all = change(fact(), Scope::Everything, facts(&[("C", 0, 1)]));
    let whole = Delivery { from: from.clone(), to: other.to.clone(), ..load(1, vec![all]) };
    adopting.apply(&whole).await.unwrap();
    assert_eq!(adopting.position().await.unwrap(), Some(other.to.clone()));
    assert_eq!(database.sql("SELECT station FROM turnstile.fact").await, ["C"]);
    let (reason, _) = refusal(database.target().apply(&Delivery { from, ..other }).await.unwrap_err());
    assert!(reason.contains("table fact would keep rows of another warehouse"), "{reason}");
}

/// Rows whose second batch cannot be read.
struct Torn(RecordBatch);

impl RowSource for Torn {
    fn read(&self) -> RowStream {
        Box::pin(futures::stream::iter([Ok(self.0.clone()), Err("fact/2026.parquet: unexpected end".into())]))
    }

    fn count(&self) -> Option<u64> {
        None
    }
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn rows_that_cannot_be_read_leave_nothing_behind() {
    let database = TestDatabase::new().await;
    let mut target = database.target();
    let rows = Arc::new(Torn(facts(&[("A", 0, 1)])));
    let torn = TableChange { table: Arc::new(fact()), scope: Scope::Windows(vec![window(0)]), rows };
    match target.apply(&load(1, vec![torn])).await.unwrap_err() {
        TargetError::Rows { table, source } => {
            assert_eq!((table.as_str(), source.to_string().as_str()), ("fact", "fact/2026.parquet: unexpected end"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(target.position().await.unwrap(), None);
    assert!(database.sql("SELECT FROM pg_namespace WHERE nspname = 'turnstile'").await.is_empty());
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_constraint_that_a_person_added_is_named() {
    let database = TestDatabase::new().await;
    let mut target = database.target();
    target.apply(&load(1, vec![windows(&[0], &[("A", 0, 1)])])).await.unwrap();
    database.sql("ALTER TABLE turnstile.fact ADD CONSTRAINT few CHECK (entries < 100)").await;
    let (reason, hint) = refusal(target.apply(&load(2, vec![windows(&[0], &[("A", 0, 100)])])).await.unwrap_err());
    assert!(reason.contains("table fact") && reason.contains("\"few\""), "{reason}");
    assert!(hint.contains("drop the constraint"), "{hint}");
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_statement_that_takes_too_long_says_which_setting_ended_it() {
    let database = TestDatabase::new().await;
    let first = load(1, vec![windows(&[0], &[("A", 0, 1)])]);
    database.target().apply(&first).await.unwrap();
    database
        .sql(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1000); RETURN NEW; END'; \
             CREATE TRIGGER slow BEFORE INSERT ON turnstile.fact FOR EACH ROW EXECUTE FUNCTION slow()",
        )
        .await;
    let mut target = PostgresTarget::new(database.settings(&[("statement_timeout", "100 ms")]));
    match target.apply(&load(2, vec![windows(&[1], &[("A", 1, 1)])])).await.unwrap_err() {
        TargetError::Unreachable { source, .. } => {
            assert!(human::error(&*source).contains("raise statement_timeout"), "{source}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_key_too_long_for_an_index_says_so() {
    let database = TestDatabase::new().await;
    // A pattern would be compressed until it fits.
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut letter = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'!' + ((random >> 40) % 90) as u8)
    };
    let long: String = (0..5_000).map(|_| letter()).collect();
    let rows = windows(&[0], &[(long.as_str(), 0, 1)]);
    let (reason, hint) = refusal(database.target().apply(&load(1, vec![rows])).await.unwrap_err());
    assert!(reason.contains("table fact") && hint.contains("correct the model's key"), "{reason} {hint}");
}
