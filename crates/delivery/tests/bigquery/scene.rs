//! Tables, rows and positions to tell stories with.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use turnstile_delivery::{Delivery, LoadPosition, Scope, TableChange, TableKind, TargetTable};

/// The first window of the stories: a full five minutes.
pub(crate) const START: i64 = 1_785_571_200_000_000;
/// Five minutes.
pub(crate) const STEP: i64 = 300_000_000;

/// A row of the fact table: station, window (counted from the first one), entries.
pub(crate) type Fact = (&'static str, i64, i64);

pub(crate) fn fact() -> Arc<TargetTable> {
    let start = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let fields = vec![
        Field::new("station", DataType::Utf8, false),
        Field::new("start_at", start, false),
        Field::new("entries", DataType::Int64, true),
    ];
    Arc::new(TargetTable {
        name: "fact_turnstile".into(),
        description: "Entries by station and window.".into(),
        schema: Arc::new(Schema::new(fields)),
        key: vec!["station".into(), "start_at".into()],
        kind: TableKind::Incremental { window: "start_at".into() },
    })
}

pub(crate) fn stations(kind: TableKind) -> Arc<TargetTable> {
    let fields = vec![Field::new("station_id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)];
    Arc::new(TargetTable {
        name: if kind == TableKind::Table { "all_stations".into() } else { "dim_station".into() },
        description: String::new(),
        schema: Arc::new(Schema::new(fields)),
        key: vec!["station_id".into()],
        kind,
    })
}

/// The fact rows, in batches of at most `batch` rows.
pub(crate) fn facts(rows: &[Fact], batch: usize) -> Vec<RecordBatch> {
    let one = |rows: &[Fact]| {
        let stations: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0)));
        let starts = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| START + row.1 * STEP));
        let starts: ArrayRef = Arc::new(starts.with_timezone("UTC"));
        let entries: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2)));
        RecordBatch::try_new(Arc::clone(&fact().schema), vec![stations, starts, entries]).unwrap()
    };
    rows.chunks(batch.max(1)).map(one).collect()
}

pub(crate) fn windows(numbers: &[i64]) -> Scope {
    Scope::Windows(numbers.iter().map(|number| START + number * STEP).collect())
}

pub(crate) fn fact_change(numbers: &[i64], rows: &[Fact]) -> TableChange {
    TableChange { table: fact(), scope: windows(numbers), rows: Arc::new(facts(rows, 2)) }
}

pub(crate) fn station_change(kind: TableKind, scope: Scope, rows: &[(i64, &str)]) -> TableChange {
    let table = stations(kind);
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1)));
    let batch = RecordBatch::try_new(Arc::clone(&table.schema), vec![ids, names]).unwrap();
    TableChange { table, scope, rows: Arc::new(vec![batch]) }
}

pub(crate) fn position(load: u64) -> LoadPosition {
    LoadPosition { warehouse: "w-1".into(), load, ledger_seq: load * 10 }
}

/// A delivery from load `from` (0: none) to load `to`.
pub(crate) fn delivery(from: u64, to: u64, changes: Vec<TableChange>) -> Delivery {
    let mut tables: Vec<Arc<TargetTable>> = changes.iter().map(|change| Arc::clone(&change.table)).collect();
    tables.dedup_by(|one, other| one.name == other.name);
    Delivery { from: (from > 0).then(|| position(from)), to: position(to), tables, changes }
}
