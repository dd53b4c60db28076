//! A city's days in a lake and its warehouse, at realistic size, and the cost of loading one more window.
//!
//! ```text
//! year make FOLDER 365     days from 2025-01-01 on
//! year load FOLDER 9       that many more windows, one by one; prints the milliseconds of each load
//! ```
//!
//! Five-minute windows are committed twelve at a time through the ledger, loaded a week at a time, and the days are
//! compacted, as by a pipeline that has run for that long. 400 stations have 13 turnstiles each, of which about one
//! in ten is in a window: 500 rows per window, 52.6 million per year. Memory does not grow with the days. `cargo
//! xtask bench warehouse` builds it, runs both, and queries the result.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use turnstile_lake::maintenance::{Compact, MaintenancePolicy, maintain};
use turnstile_lake::{
    Commit, Counters, EncodeOptions, FileEncoding, FileKind, Lake, Ledger, NewFile, PartitionPosition, StoreOptions,
    WriterId, encode_window, window_name,
};
use turnstile_message::{OffsetRange, TopicPartition};
use turnstile_warehouse::{BUILT_IN, LoadOptions, Models, Warehouse, WarehouseLimits, WarehouseSource};

type YearError = Box<dyn std::error::Error>;

/// The pipeline's name: that of the file in xtask/src/bench/warehouse.rs.
const PIPELINE: &str = "year";
const WINDOW_US: i64 = 300_000_000;
/// Windows a day.
const DAY: i64 = 288;
/// 2025-01-01T00:00Z.
const FIRST_US: i64 = 1_735_689_600_000_000;

/// Windows a commit: as many as an hour has.
const AT_ONCE: i64 = 12;
/// Days between two loads: about a million rows.
const DAYS_A_LOAD: i64 = 7;

const STATIONS: u64 = 400;
const TURNSTILES: u64 = 13;
/// Of so many turnstiles,
const OF: u64 = 104;
/// so many are in a window.
const SEEN: u64 = 10;

#[tokio::main]
async fn main() -> Result<(), YearError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [verb, folder, count] = arguments.as_slice() else { return Err("usage: year make|load FOLDER COUNT".into()) };
    let count = count.parse()?;
    let mut city = YearLake::open(folder).await?;
    match verb.as_str() {
        "make" => city.make(count).await,
        "load" => city.load_windows(count).await,
        other => Err(format!("`{other}` is neither make nor load").into()),
    }
}

/// The lake, its one writer, and the warehouse.
struct YearLake {
    lake: Lake,
    ledger: Ledger,
    warehouse: Warehouse,
    /// Windows that were committed.
    windows: i64,
    /// Their rows.
    rows: u64,
}

impl YearLake {
    async fn open(folder: &str) -> Result<Self, YearError> {
        let lake = Lake::open(&format!("file:{folder}"), &StoreOptions::default()).await?;
        let opened = Ledger::open(&lake, PIPELINE, "plan", WriterId::default()).await?;
        let before = opened.recovered.map(|found| found.slot);
        let windows = before.as_ref().and_then(|slot| Some(slot.positions.first()?.next_offset)).unwrap_or(0);
        let rows = before.map_or(0, |slot| slot.counters.read);
        let source = WarehouseSource::new(PIPELINE, "ext_turnstile", batch(0).schema(), FileEncoding::Parquet)?;
        let models = Models::parse(BUILT_IN.iter().copied(), "ext_turnstile")?;
        let source = source.with_window(Some(9), Some(10));
        let warehouse = Warehouse::new(&lake, source, models, WarehouseLimits::default(), None)?;
        Ok(Self { lake, ledger: opened.ledger, warehouse, windows, rows })
    }

    /// Commits, loads and compacts until there are `days`.
    async fn make(&mut self, days: i64) -> Result<(), YearError> {
        let began = Instant::now();
        let (mut loading, mut compacting) = (0.0, 0.0);
        while self.windows < days * DAY {
            let until = (self.windows + DAYS_A_LOAD * DAY).min(days * DAY);
            while self.windows < until {
                self.commit(AT_ONCE.min(until - self.windows)).await?;
            }
            let begin = Instant::now();
            while self.warehouse.load(&LoadOptions::default()).await?.is_some() {}
            loading += begin.elapsed().as_secs_f64();
            let begin = Instant::now();
            self.compact().await?;
            compacting += begin.elapsed().as_secs_f64();
            println!(
                "{} days, {} rows, after {:.0} s, {loading:.0} of them loading, {compacting:.0} compacting",
                self.windows / DAY,
                self.rows,
                began.elapsed().as_secs_f64()
            );
        }
        // A window of the next day ends the last one.
        self.commit(1).await?;
        while self.warehouse.load(&LoadOptions::default()).await?.is_some() {}
        self.compact().await?;
        // What was compacted last is deleted.
        self.compact().await
    }

    async fn compact(&self) -> Result<(), YearError> {
        // No reader yet: what a compacted file replaces goes with the next look.
        let policy = MaintenancePolicy { compact: Compact::All, grace_us: Some(0), ..MaintenancePolicy::default() };
        let done = maintain(&self.lake, PIPELINE, &policy, &[], &WriterId::default(), |_| {}).await?;
        match done.and_then(|applied| applied.failed.into_iter().next()) {
            Some(failed) => Err(failed.into()),
            None => Ok(()),
        }
    }

    /// Commits windows one at a time and loads each; prints how long each load took, milliseconds.
    async fn load_windows(&mut self, windows: i64) -> Result<(), YearError> {
        // What an earlier run left is no single window.
        while self.warehouse.load(&LoadOptions::default()).await?.is_some() {}
        for _ in 0..windows {
            self.commit(1).await?;
            let begin = Instant::now();
            let load = self.warehouse.load(&LoadOptions::default()).await?.ok_or("there is a new window")?;
            println!("{:.1}", begin.elapsed().as_secs_f64() * 1e3);
            if load.run.windows != 1 || load.more {
                return Err("it was not one window".into());
            }
        }
        Ok(())
    }

    async fn commit(&mut self, windows: i64) -> Result<(), YearError> {
        let (first, until) = (self.windows, self.windows + windows);
        let files: Vec<_> = (first..until).map(|window| tokio::task::spawn_blocking(move || file(window))).collect();
        let mut publish = Vec::new();
        for file in files {
            publish.push(file.await??);
        }
        let read = self.rows + publish.iter().map(|file| file.rows).sum::<u64>();
        let position = PartitionPosition {
            partition: TopicPartition::new("turnstile", 0),
            next_offset: until,
            leader_epoch: None,
            max_event_us: Some(start_us(until)),
            idle: false,
            fingerprint: None,
        };
        let cut = Commit {
            positions: vec![position],
            watermark_us: Some(start_us(until)),
            published_until_us: Some(start_us(until)),
            publish,
            counters: Counters { read, aggregated: read, ..Counters::default() },
            ..Commit::default()
        };
        self.ledger.commit(cut).await?;
        (self.windows, self.rows) = (until, read);
        Ok(())
    }
}

fn start_us(window: i64) -> i64 {
    FIRST_US + window * WINDOW_US
}

fn file(window: i64) -> Result<NewFile, turnstile_lake::FormatError> {
    let (start_us, end_us) = (start_us(window), start_us(window + 1));
    let batch = batch(window);
    Ok(NewFile {
        name: window_name("window_date", PIPELINE, start_us, end_us, 1, FileEncoding::Parquet),
        bytes: encode_window(FileEncoding::Parquet, &batch, &EncodeOptions::default())?.into(),
        rows: batch.num_rows() as u64,
        kind: FileKind::Window { start_us, end_us, version: 1 },
        sources: vec![OffsetRange {
            partition: TopicPartition::new("turnstile", 0),
            first: window,
            last: window,
            messages: batch.num_rows() as u64,
        }],
        counts: Default::default(),
    })
}

/// A window's rows: the same ones for the same number. A station's turnstiles stand in one booth.
fn batch(window: i64) -> RecordBatch {
    let is_seen = |turnstile: &u64| mix(window as u64 * 5_200 + turnstile) % OF < SEEN;
    let turnstiles: Vec<u64> = (0..STATIONS * TURNSTILES).filter(is_seen).collect();
    let rows = turnstiles.len();
    let text = |of: &dyn Fn(u64) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(turnstiles.iter().map(|turnstile| of(*turnstile))))
    };
    let station = |turnstile: u64| turnstile / TURNSTILES;
    // Some stations are busier than others, all of them by day.
    let by_day = (DAY / 2).abs_diff(window % DAY);
    let count = |salt: u64| -> ArrayRef {
        let of = |turnstile: &u64| {
            let most = 164 + station(*turnstile) % 97 - by_day;
            (mix(window as u64 * 10_400 + turnstile * 2 + salt) % most) as i64
        };
        Arc::new(Int64Array::from_iter_values(turnstiles.iter().map(of)))
    };
    let at = |us: i64| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from_value(us, rows).with_timezone("UTC")) };
    RecordBatch::try_from_iter([
        ("CA", text(&|t| format!("A{:03}", station(t)))),
        ("UNIT", text(&|t| format!("R{:03}", station(t)))),
        ("SCP", text(&|t| format!("02-00-{:02}", t % TURNSTILES))),
        ("STATION", text(&|t| station_name(station(t)))),
        ("LINENAME", text(&|t| ["1", "456", "7", "ACE", "BDFM", "G", "JZ", "L", "NQRW", "S"][t as usize % 10].into())),
        ("DIVISION", text(&|t| ["BMT", "IND", "IRT"][station(t) as usize % 3].into())),
        ("DESC", text(&|_| "REGULAR".into())),
        ("ENTRIES", count(0)),
        ("EXITS", count(1)),
        ("START", at(start_us(window))),
        ("END", at(start_us(window + 1))),
    ])
    .expect("all columns have the rows of the window")
}

/// Four of them begin with `Test`.
fn station_name(station: u64) -> String {
    if station % 100 == 50 { format!("Test St {station}") } else { format!("{station} ST") }
}

/// A number in which nothing of `number` can be seen. Source: splitmix64 (S. Vigna, public domain).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
