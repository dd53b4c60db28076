//! Commits ten windows to a lake, going on where an earlier run stopped.
//!
//! `cargo run -p turnstile-lake --example commit_windows -- file:./lake`
//!
//! Run it twice and the second run finds nothing to do; kill it anywhere and the next run ends with
//! the same files. The crash test does that at every step of the protocol.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use turnstile_lake::{
    Commit, Counters, EncodeOptions, FileEncoding, FileKind, Lake, Ledger, NewFile, NewState, PartitionPosition,
    StoreOptions, WriterId, encode_window, window_name,
};
use turnstile_message::{OffsetRange, TopicPartition};

const PIPELINE: &str = "example";
const MINUTE_US: i64 = 60_000_000;
const ROWS: i64 = 6;

/// Windows committed when no number is given.
const WINDOWS: i64 = 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().ok_or("usage: commit_windows URL [WINDOWS]")?;
    let windows = args.next().map_or(Ok(WINDOWS), |number| number.parse())?;
    let lake = Lake::open(&url, &StoreOptions::default()).await?;
    let writer = WriterId { host: "example".into(), pid: std::process::id(), ..WriterId::default() };
    let opened = Ledger::open(&lake, PIPELINE, "plan-1", writer).await?;
    let mut ledger = opened.ledger;

    // The offset of the next message is all that this pipeline needs to know.
    let mut next = opened.recovered.and_then(|found| Some(found.slot.positions.first()?.next_offset)).unwrap_or(0);
    while next < windows * ROWS {
        let committed = ledger.commit(cut(next / ROWS)?).await?;
        for name in committed.published {
            println!("published {name}");
        }
        next += ROWS;
    }
    Ok(())
}

fn cut(window: i64) -> Result<Commit, Box<dyn std::error::Error>> {
    let partition = TopicPartition::new("turnstile", 0);
    let (first, next) = (window * ROWS, (window + 1) * ROWS);
    let stations: ArrayRef =
        Arc::new(StringArray::from_iter_values((first..next).map(|n| format!("Station {}", n % 7))));
    let entries: ArrayRef = Arc::new(Int64Array::from_iter_values(first..next));
    let rows = RecordBatch::try_from_iter([("STATION", stations), ("ENTRIES", entries)])?;
    let (start_us, end_us) = (window * MINUTE_US, (window + 1) * MINUTE_US);
    let read = next as u64;
    Ok(Commit {
        positions: vec![PartitionPosition {
            partition: partition.clone(),
            next_offset: next,
            leader_epoch: None,
            max_event_us: Some(end_us),
            idle: false,
            fingerprint: None,
        }],
        watermark_us: Some(end_us),
        published_until_us: Some(end_us),
        state: vec![NewState {
            kind: "offset".into(),
            live_until_us: None,
            bytes: next.to_string().into_bytes().into(),
        }],
        publish: vec![NewFile {
            name: window_name("window_date", PIPELINE, start_us, end_us, 1, FileEncoding::CsvGz),
            bytes: encode_window(FileEncoding::CsvGz, &rows, &EncodeOptions::default())?.into(),
            rows: ROWS as u64,
            kind: FileKind::Window { start_us, end_us, version: 1 },
            sources: vec![OffsetRange { partition, first, last: next - 1, messages: ROWS as u64 }],
            counts: Default::default(),
        }],
        counters: Counters { read, aggregated: read, ..Counters::default() },
        ..Commit::default()
    })
}
