//! The script's text as it is sent to BigQuery.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::*;
use crate::change::RowStream;

struct NoRows;

impl crate::RowSource for NoRows {
    fn read(&self) -> RowStream {
        Box::pin(futures::stream::empty())
    }

    fn count(&self) -> Option<u64> {
        None
    }
}

const DAY: i64 = 86_400_000_000;

fn fact(key: &[&str]) -> Arc<TargetTable> {
    let start = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let fields = vec![
        Field::new("station", DataType::Utf8, false),
        Field::new("start_at", start, false),
        Field::new("entries", DataType::Int64, true),
    ];
    Arc::new(TargetTable {
        name: "fact".into(),
        description: String::new(),
        schema: Arc::new(Schema::new(fields)),
        key: key.iter().map(|key| (*key).to_owned()).collect(),
        kind: TableKind::Incremental { window: "start_at".into() },
    })
}

fn change(table: Arc<TargetTable>, scope: Scope) -> TableChange {
    TableChange { table, scope, rows: Arc::new(NoRows) }
}

fn script(change: &TableChange, rows: u64, from: Option<LoadPosition>) -> String {
    let names = Names { project: "p-1".into(), dataset: "d".into() };
    let to = LoadPosition { warehouse: "it's".into(), load: 8, ledger_seq: 90 };
    let delivery = Delivery { from, to, tables: vec![], changes: vec![] };
    let tables = if rows > 0 { vec!["s1".to_owned(), "s2".to_owned()] } else { vec![] };
    let staged = Staged { change, tables, rows, bounds: Some((0, DAY)) };
    compose(&names, &delivery, &[staged]).unwrap()
}

#[test]
fn windows_are_replaced_in_one_transaction_that_asserts_the_position() {
    let from = LoadPosition { warehouse: "it's".into(), load: 7, ledger_seq: 80 };
    let text = script(&change(fact(&["station", "start_at"]), Scope::Windows(vec![0])), 5, Some(from));
    let expected = "\
BEGIN TRANSACTION;
SELECT IF((SELECT COUNT(*) FROM `p-1.d.turnstile_position` WHERE `warehouse` = 'it\\'s' AND `load` = 7 AND \
`ledger_seq` = 80) = 1, TRUE, ERROR('turnstile: the target is at another position'));
SELECT IF((SELECT COUNT(*) FROM (SELECT 1 FROM `p-1.d.s1` UNION ALL SELECT 1 FROM `p-1.d.s2`)) = 5, TRUE, \
ERROR('turnstile: a staging table lacks rows'));
MERGE `p-1.d.fact` T USING (SELECT `station`, `start_at`, `entries` FROM `p-1.d.s1` UNION ALL \
SELECT `station`, `start_at`, `entries` FROM `p-1.d.s2`) S ON FALSE
WHEN NOT MATCHED BY SOURCE AND T.`start_at` BETWEEN TIMESTAMP '1970-01-01 00:00:00.000000+00:00' AND \
TIMESTAMP '1970-01-01 00:00:00.000000+00:00' AND (UNIX_MICROS(T.`start_at`) IN (0)) THEN DELETE
WHEN NOT MATCHED BY TARGET THEN INSERT (`station`, `start_at`, `entries`) VALUES (S.`station`, S.`start_at`, S.`entries`);
UPDATE `p-1.d.turnstile_position` SET `warehouse` = 'it\\'s', `load` = 8, `ledger_seq` = 90, \
`applied_at` = CURRENT_TIMESTAMP() WHERE TRUE;
COMMIT TRANSACTION;
";
    assert_eq!(text, expected);
}

#[test]
fn the_first_delivery_asserts_that_there_is_no_position() {
    let text = script(&change(fact(&["station"]), Scope::Everything), 1, None);
    assert!(text.contains("`turnstile_position` WHERE `load` IS NULL) = 1") || text.contains("WHERE `load` IS NULL"));
    assert!(text.contains("WHEN NOT MATCHED BY SOURCE AND TRUE THEN DELETE"), "{text}");
}

#[test]
fn a_change_without_rows_empties_and_stages_nothing() {
    let text = script(&change(fact(&["station"]), Scope::Windows(vec![DAY])), 0, None);
    assert!(text.contains("DELETE FROM `p-1.d.fact` T WHERE T.`start_at` BETWEEN"), "{text}");
    assert!(!text.contains("MERGE") && !text.contains("lacks rows"), "{text}");
    let text = script(&change(fact(&["station"]), Scope::Keys), 0, None);
    assert!(!text.contains("fact"), "{text}");
}

#[test]
fn keys_are_overwritten_and_days_that_cannot_match_are_pruned() {
    let text = script(&change(fact(&["station", "start_at"]), Scope::Keys), 2, None);
    assert!(
        text.contains(
            "ON T.`station` = S.`station` AND T.`start_at` = S.`start_at` AND T.`start_at` BETWEEN \
             TIMESTAMP '1970-01-01 00:00:00.000000+00:00' AND TIMESTAMP '1970-01-02 00:00:00.000000+00:00'\n"
        ),
        "{text}"
    );
    assert!(text.contains("WHEN MATCHED THEN UPDATE SET `entries` = S.`entries`\n"), "{text}");
    // The window is not part of the key: a row may move to another day.
    assert!(!script(&change(fact(&["station"]), Scope::Keys), 2, None).contains("BETWEEN"));
}
