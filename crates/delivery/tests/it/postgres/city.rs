//! A small made-up warehouse: a fact by windows, a dimension, a table; and deliveries of them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use turnstile_delivery::{Delivery, LoadPosition, Scope, TableChange, TableKind, TargetError, TargetTable};
use turnstile_values::human;

/// Five minutes.
pub(super) const WINDOW_US: i64 = 300_000_000;

/// The instant at which window `nth` begins: windows count from 2026-08-01.
pub(super) fn window(nth: i64) -> i64 {
    1_785_542_400_000_000 + nth * WINDOW_US
}

/// `fact`: station, start_at, entries; by windows.
pub(super) fn fact() -> TargetTable {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    TargetTable {
        name: "fact".into(),
        description: "entries by station and window".into(),
        schema: Arc::new(Schema::new(vec![
            Field::new("station", DataType::Utf8View, false),
            Field::new("start_at", instant, false),
            Field::new("entries", DataType::Int64, true),
        ])),
        key: vec!["station".into(), "start_at".into()],
        kind: TableKind::Incremental { window: "start_at".into() },
    }
}

/// `dim`: id, name; by key.
pub(super) fn dim() -> TargetTable {
    TargetTable {
        name: "dim".into(),
        description: "names by id".into(),
        schema: named_numbers(),
        key: vec!["id".into()],
        kind: TableKind::Dimension,
    }
}

/// `top`: id, name; replaced as a whole, without a key.
pub(super) fn top() -> TargetTable {
    let (description, key) = ("the busiest".into(), Vec::new());
    TargetTable { name: "top".into(), description, schema: named_numbers(), key, kind: TableKind::Table }
}

fn named_numbers() -> Arc<Schema> {
    let columns = vec![Field::new("id", DataType::Int64, true), Field::new("name", DataType::Utf8View, true)];
    Arc::new(Schema::new(columns))
}

/// Rows of `fact`: station, window, entries.
pub(super) fn facts(rows: &[(&str, i64, i64)]) -> RecordBatch {
    let starts = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| window(row.1)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(starts.with_timezone("UTC")),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
    ];
    RecordBatch::try_new(fact().schema, columns).unwrap()
}

/// Rows of `dim` and `top`.
pub(super) fn names(rows: &[(i64, &str)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(StringViewArray::from_iter_values(rows.iter().map(|row| row.1))),
    ];
    RecordBatch::try_new(named_numbers(), columns).unwrap()
}

/// A change of `table` in one batch.
pub(super) fn change(table: TargetTable, scope: Scope, rows: RecordBatch) -> TableChange {
    TableChange { table: Arc::new(table), scope, rows: Arc::new(vec![rows]) }
}

/// A change of `fact`'s windows.
pub(super) fn windows(windows: &[i64], rows: &[(&str, i64, i64)]) -> TableChange {
    let scope = Scope::Windows(windows.iter().map(|nth| window(*nth)).collect());
    change(fact(), scope, facts(rows))
}

/// The warehouse's position after a load; `None` before the first.
pub(super) fn after(load: u64) -> Option<LoadPosition> {
    (load > 0).then(|| LoadPosition { warehouse: "city".into(), load, ledger_seq: load * 10 })
}

/// Load `load`, right after the one before it.
pub(super) fn load(load: u64, changes: Vec<TableChange>) -> Delivery {
    let tables = changes.iter().map(|change| Arc::clone(&change.table)).collect();
    Delivery { from: after(load - 1), to: after(load).unwrap(), tables, changes }
}

/// What a refusal says: the error with its causes, and the hint.
pub(super) fn refusal(error: TargetError) -> (String, String) {
    match &error {
        TargetError::Refused { hint, .. } => (human::error(&error), hint.clone()),
        other => panic!("not refused: {other:?}"),
    }
}
