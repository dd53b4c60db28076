//! Commits the windows of two days to a lake, then compacts the first and retires and deletes what its time has come
//! for, going on where an earlier run stopped.
//!
//! `cargo run -p turnstile-lake --example maintain_days -- file:./lake`
//!
//! Kill it anywhere and the next run ends with the same rows. The crash test does that at every step of maintenance.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::record_batch::RecordBatch;
use turnstile_lake::maintenance::{Compact, MaintenancePolicy, MaintenanceStep, maintain};
use turnstile_lake::{
    Commit, Counters, EncodeOptions, FileEncoding, FileKind, Lake, Ledger, NewFile, PartitionPosition, StoreOptions,
    WriterId, encode_window, window_name,
};
use turnstile_message::{OffsetRange, TopicPartition};

const PIPELINE: &str = "example";
const HOUR_US: i64 = 3_600_000_000;

/// Hours of the first day, then those of the second up to the watermark.
const WINDOWS: i64 = 30;

/// Windows older than this are retired: the first three of the first day, before it is compacted.
const RETAIN_US: i64 = 27 * HOUR_US;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: maintain_days URL")?;
    let lake = Lake::open(&url, &StoreOptions::default()).await?;
    let writer = WriterId { host: "example".into(), pid: std::process::id(), ..WriterId::default() };
    let opened = Ledger::open(&lake, PIPELINE, "plan-1", writer.clone()).await?;
    let mut ledger = opened.ledger;
    let mut window = opened.recovered.and_then(|found| Some(found.slot.positions.first()?.next_offset)).unwrap_or(0);
    while window < WINDOWS {
        ledger.commit(cut(window)?).await?;
        window += 1;
    }
    // Without grace, so that one run retires and the next deletes.
    let policy = MaintenancePolicy {
        compact: Compact::All,
        letters: Compact::Off,
        retain_us: Some(RETAIN_US),
        grace_us: Some(0),
        sweep_all: true,
    };
    let say = |step: MaintenanceStep<'_>| println!("{step:?}");
    maintain(&lake, PIPELINE, &policy, &[], &writer, say).await?;
    maintain(&lake, PIPELINE, &policy, &[], &writer, say).await?;
    Ok(())
}

fn cut(window: i64) -> Result<Commit, Box<dyn std::error::Error>> {
    let partition = TopicPartition::new("turnstile", 0);
    let entries: ArrayRef = Arc::new(Int64Array::from_iter_values(window * 10..window * 10 + 10));
    let rows = RecordBatch::try_from_iter([("ENTRIES", entries)])?;
    let (start_us, end_us) = (window * HOUR_US, (window + 1) * HOUR_US);
    let read = window as u64 + 1;
    Ok(Commit {
        positions: vec![PartitionPosition {
            partition: partition.clone(),
            next_offset: window + 1,
            leader_epoch: None,
            max_event_us: Some(end_us),
            idle: false,
            fingerprint: None,
        }],
        watermark_us: Some(end_us),
        published_until_us: Some(end_us),
        publish: vec![NewFile {
            name: window_name("window_date", PIPELINE, start_us, end_us, 1, FileEncoding::Parquet),
            bytes: encode_window(FileEncoding::Parquet, &rows, &EncodeOptions::default())?.into(),
            rows: 10,
            kind: FileKind::Window { start_us, end_us, version: 1 },
            sources: vec![OffsetRange { partition, first: window, last: window, messages: 1 }],
            counts: Default::default(),
        }],
        counters: Counters { read, aggregated: read, ..Counters::default() },
        ..Commit::default()
    })
}
