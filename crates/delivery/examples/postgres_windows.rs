//! Delivers made-up windows to PostgreSQL, load after load, until it is ended: what the flow does, alone.
//!
//! In: the URL of a database; the password from the environment.
//! Out: one line a load, after it is committed. Load `n` brings window `n` and corrects window `n - 1`.
//!
//! ```text
//! PGPASSWORD=… cargo run --example postgres_windows -- postgres://loader@localhost/mta
//! ```

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use turnstile_delivery::postgres::{PostgresOptions, PostgresSettings, PostgresTarget};
use turnstile_delivery::{Delivery, LoadPosition, Scope, TableChange, TableKind, Target, TargetTable};
use turnstile_values::Secret;

const WINDOW_US: i64 = 300_000_000;
/// Rows of a window when it is first delivered.
const ROWS: i64 = 3_000;
/// Rows that its correction takes away.
const FEWER: i64 = 7;

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).context("the argument is the URL of a database")?;
    let options = PostgresOptions { url: Some(Secret::new(url)), ..PostgresOptions::default() };
    let settings = PostgresSettings::new(options, |name| std::env::var(name).ok())?;
    let mut target = PostgresTarget::new(settings);
    let table = Arc::new(table());
    loop {
        let from = target.position().await?;
        let load = from.as_ref().map_or(1, |from| from.load + 1);
        let windows = [load as i64 - 1, load as i64];
        let batches = vec![rows(&table, windows[0], true)?, rows(&table, windows[1], false)?];
        let scope = Scope::Windows(windows.map(|nth| nth * WINDOW_US).to_vec());
        let change = TableChange { table: Arc::clone(&table), scope, rows: Arc::new(batches) };
        let to = LoadPosition { warehouse: "example".into(), load, ledger_seq: load };
        let delivery = Delivery { from, to, tables: vec![Arc::clone(&table)], changes: vec![change] };
        let delivered = target.apply(&delivery).await?;
        writeln!(std::io::stdout(), "load {load}: {} rows, {} replaced", delivered.rows, delivered.replaced)?;
    }
}

fn table() -> TargetTable {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    TargetTable {
        name: "entries".into(),
        description: "made-up entries by window and station".into(),
        schema: Arc::new(Schema::new(vec![
            Field::new("start_at", instant, false),
            Field::new("station", DataType::Utf8, false),
            Field::new("entries", DataType::Int64, false),
        ])),
        key: vec!["start_at".into(), "station".into()],
        kind: TableKind::Incremental { window: "start_at".into() },
    }
}

/// A corrected window has fewer rows, and each is one more than it was. Window 0 has none.
fn rows(table: &TargetTable, window: i64, corrected: bool) -> Result<RecordBatch> {
    let count = match (window, corrected) {
        (0, _) => 0,
        (_, true) => ROWS - FEWER,
        (_, false) => ROWS,
    };
    let starts = TimestampMicrosecondArray::from_iter_values((0..count).map(|_| window * WINDOW_US));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(starts.with_timezone("UTC")),
        Arc::new(StringArray::from_iter_values((0..count).map(|n| format!("station {n}")))),
        Arc::new(Int64Array::from_iter_values((0..count).map(|n| window * n + i64::from(corrected)))),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&table.schema), columns)?)
}
