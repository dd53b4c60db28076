//! Measures what a reader pays for a year of five-minute windows: reading the catalog from the ledger's beginning, from
//! a checkpoint, and going on by one commit.
//!
//! `cargo run --release -p turnstile-lake --example catalog_year`

#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::time::Instant;

use turnstile_lake::{
    Catalog, Commit, Counters, FileEncoding, FileKind, Lake, Ledger, NewFile, PartitionPosition, StoreOptions,
    WriterId, published_since, window_name,
};
use turnstile_message::{OffsetRange, TopicPartition};

const PIPELINE: &str = "year";
const WINDOW_US: i64 = 300_000_000;
const WINDOWS: i64 = 105_120;

/// Windows a commit: as many as an hour has.
const AT_ONCE: i64 = 12;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lake = Lake::open("memory:", &StoreOptions::default()).await?;
    let mut ledger = Ledger::open(&lake, PIPELINE, "plan", WriterId::default()).await?.ledger;
    for first in (0..WINDOWS).step_by(AT_ONCE as usize) {
        ledger.commit(cut(first)).await?;
    }
    let newest = ledger.newest().seq;
    let before = resident_kib();
    let began = Instant::now();
    let catalog = Catalog::read(&lake, PIPELINE).await?.ok_or("there is a ledger")?;
    println!("from the beginning: {:?} for {newest} commits", began.elapsed());
    println!("resident: {} KiB more", resident_kib().saturating_sub(before));

    let began = Instant::now();
    println!("checkpoint: written {} in {:?}", catalog.checkpoint(&lake).await?, began.elapsed());
    let began = Instant::now();
    let catalog = Catalog::read(&lake, PIPELINE).await?.ok_or("there is a ledger")?;
    println!("from the checkpoint: {:?}", began.elapsed());

    ledger.commit(cut(WINDOWS)).await?;
    let began = Instant::now();
    let catalog = catalog.advance(&lake).await?;
    println!("one commit further: {:?}", began.elapsed());
    let began = Instant::now();
    let same = catalog.advance(&lake).await?;
    println!("nothing new: {:?}", began.elapsed());
    let began = Instant::now();
    let day = same.current(WINDOWS / 2 * WINDOW_US..(WINDOWS / 2 + 288) * WINDOW_US);
    println!("one day of {} windows: {:?}", day.len(), began.elapsed());
    let began = Instant::now();
    let since = published_since(&lake, PIPELINE, newest).await?.ok_or("there is a ledger")?;
    println!("{} commits since the newest but one: {:?}", since.commits.len(), began.elapsed());
    Ok(())
}

fn cut(first: i64) -> Commit {
    let read = (first + AT_ONCE) as u64;
    let partition = TopicPartition::new("turnstile", 0);
    Commit {
        positions: vec![PartitionPosition {
            partition: partition.clone(),
            next_offset: first + AT_ONCE,
            leader_epoch: None,
            max_event_us: None,
            idle: false,
            fingerprint: None,
        }],
        published_until_us: Some((first + AT_ONCE) * WINDOW_US),
        publish: (first..first + AT_ONCE)
            .map(|window| {
                let (start_us, end_us) = (window * WINDOW_US, (window + 1) * WINDOW_US);
                let name = window_name("window_date", PIPELINE, start_us, end_us, 1, FileEncoding::Parquet);
                NewFile {
                    bytes: name.clone().into_bytes().into(),
                    name,
                    rows: 475,
                    kind: FileKind::Window { start_us, end_us, version: 1 },
                    sources: vec![OffsetRange {
                        partition: partition.clone(),
                        first: window,
                        last: window,
                        messages: 1,
                    }],
                    counts: Default::default(),
                }
            })
            .collect(),
        counters: Counters { read, aggregated: read, ..Counters::default() },
        ..Commit::default()
    }
}

/// Memory that the process holds; 0 where the system does not say.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
}
