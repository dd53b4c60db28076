//! How fast rows go into PostgreSQL, by what kind of delivery. Prints; asserts nothing.
//!
//! ```text
//! PGPASSWORD=… cargo run --release --example postgres_rates -- postgres://loader@localhost/mta
//! ```

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use turnstile_delivery::postgres::{PostgresOptions, PostgresSettings, PostgresTarget};
use turnstile_delivery::{
    Delivery, LoadPosition, RowSource, RowStream, Scope, TableChange, TableKind, Target, TargetTable,
};
use turnstile_values::Secret;

const WINDOW_US: i64 = 300_000_000;
/// 400 stations of 13 turnstiles.
const ROWS_A_WINDOW: i64 = 5_200;
/// Windows of the first delivery, and of those that follow.
const FIRST: i64 = 200;
const MANY: i64 = 100;

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).context("the argument is the URL of a database")?;
    let options =
        PostgresOptions { url: Some(Secret::new(url)), schema: Some("rates".into()), ..PostgresOptions::default() };
    let settings = PostgresSettings::new(options, |name| std::env::var(name).ok())?;
    let mut rates = Rates { target: PostgresTarget::new(settings), from: None, table: Arc::new(table()) };
    rates.from = rates.target.position().await?;
    rates.measure("into a new table", 0..FIRST, 0).await?;
    rates.measure("new windows", FIRST..FIRST + MANY, 0).await?;
    rates.measure("the same windows, unchanged", FIRST..FIRST + MANY, 0).await?;
    rates.measure("the same windows, all rows corrected", FIRST..FIRST + MANY, 1).await?;
    for nth in 0..3 {
        rates.measure("one new window", FIRST + MANY + nth..FIRST + MANY + nth + 1, 0).await?;
    }
    rates.measure("one window, all rows corrected", 5..6, 1).await
}

struct Rates {
    target: PostgresTarget,
    from: Option<LoadPosition>,
    table: Arc<TargetTable>,
}

impl Rates {
    async fn measure(&mut self, what: &str, windows: std::ops::Range<i64>, more: i64) -> Result<()> {
        let load = self.from.as_ref().map_or(1, |from| from.load + 1);
        let to = LoadPosition { warehouse: "rates".into(), load, ledger_seq: load };
        let scope = Scope::Windows(windows.clone().map(|nth| nth * WINDOW_US).collect());
        let rows = Arc::new(MadeUp { table: Arc::clone(&self.table), windows, more });
        let change = TableChange { table: Arc::clone(&self.table), scope, rows };
        let tables = vec![Arc::clone(&self.table)];
        let delivery = Delivery { from: self.from.take(), to: to.clone(), tables, changes: vec![change] };
        let begin = Instant::now();
        let delivered = self.target.apply(&delivery).await?;
        let seconds = begin.elapsed().as_secs_f64();
        let rate = delivered.rows as f64 / seconds / 1000.0;
        let (rows, replaced) = (delivered.rows, delivered.replaced);
        let line = format!("{what:<38} {rows:>9} rows {replaced:>8} replaced {seconds:>7.3} s {rate:>7.0} k rows/s");
        writeln!(std::io::stdout(), "{line}")?;
        self.from = Some(to);
        Ok(())
    }
}

/// One batch a window, made when it is read.
struct MadeUp {
    table: Arc<TargetTable>,
    windows: std::ops::Range<i64>,
    more: i64,
}

impl RowSource for MadeUp {
    fn read(&self) -> RowStream {
        let (table, more) = (Arc::clone(&self.table), self.more);
        Box::pin(futures::stream::iter(self.windows.clone().map(move |window| batch(&table, window, more))))
    }

    fn count(&self) -> Option<u64> {
        Some((self.windows.end - self.windows.start) as u64 * ROWS_A_WINDOW as u64)
    }
}

fn table() -> TargetTable {
    let instant = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let text = |name: &str| Field::new(name, DataType::Utf8View, false);
    let fields = vec![
        text("station"),
        text("unit"),
        text("scp"),
        Field::new("start_at", instant(), false),
        Field::new("end_at", instant(), false),
        Field::new("entries", DataType::Int64, true),
        Field::new("exits", DataType::Int64, true),
    ];
    TargetTable {
        name: "fact_turnstile".into(),
        description: "made-up readings".into(),
        schema: Arc::new(Schema::new(fields)),
        key: ["station", "unit", "scp", "start_at"].map(Into::into).to_vec(),
        kind: TableKind::Incremental { window: "start_at".into() },
    }
}

fn batch(table: &TargetTable, window: i64, more: i64) -> Result<RecordBatch, Box<dyn std::error::Error + Send + Sync>> {
    let rows = 0..ROWS_A_WINDOW;
    let instants = |nth: i64| -> ArrayRef {
        let start = TimestampMicrosecondArray::from_iter_values(rows.clone().map(|_| nth * WINDOW_US));
        Arc::new(start.with_timezone("UTC"))
    };
    let texts = |text: &dyn Fn(i64) -> String| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(rows.clone().map(text)))
    };
    let columns: Vec<ArrayRef> = vec![
        texts(&|n| format!("Station {}", n / 13)),
        texts(&|n| format!("R{:03}", n / 26)),
        texts(&|n| format!("02-00-{:02}", n % 13)),
        instants(window),
        instants(window + 1),
        Arc::new(Int64Array::from_iter_values(rows.clone().map(|n| n * 7 + window + more))),
        Arc::new(Int64Array::from_iter_values(rows.clone().map(|n| n * 5 + window))),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&table.schema), columns)?)
}
