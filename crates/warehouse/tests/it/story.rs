//! A pipeline that publishes what a test names, and its warehouse.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use turnstile_lake::{
    Commit, Counters, EncodeOptions, FileEncoding, FileKind, Lake, Ledger, NewFile, PartitionPosition, StoreOptions,
    WriterId, encode_window, window_name,
};
use turnstile_message::{OffsetRange, TopicPartition};
use turnstile_warehouse::{
    BUILT_IN, Load, LoadOptions, Models, QueryResultFormat, Warehouse, WarehouseError, WarehouseLimits, WarehouseSource,
};

/// The length of every window.
pub(crate) const WINDOW_US: i64 = 300_000_000;

/// 2026-08-01T00:00Z.
pub(crate) const DAY: i64 = 1_785_542_400_000_000;

/// A window's rows: station and entries; exits are one less.
pub(crate) type Rows<'a> = &'a [(&'a str, i64)];

/// The pipeline `p` in a lake in memory or in a folder.
pub(crate) struct Story {
    pub(crate) lake: Lake,
    pub(crate) ledger: Ledger,
    pub(crate) format: FileEncoding,
    read: u64,
    /// The end of the last window, to which the event time has come.
    until_us: i64,
}

impl Story {
    pub(crate) async fn begin(format: FileEncoding) -> Self {
        Self::at("memory:", format).await
    }

    pub(crate) async fn at(url: &str, format: FileEncoding) -> Self {
        let lake = Lake::open(url, &StoreOptions::default()).await.unwrap();
        let ledger = Ledger::open(&lake, "p", "plan", WriterId::default()).await.unwrap().ledger;
        Self { lake, ledger, format, read: 0, until_us: 0 }
    }

    /// Commits versions of windows, each with its number from the beginning of the day; the commit's number.
    pub(crate) async fn publish(&mut self, windows: &[(i64, u32, Rows<'_>)]) -> u64 {
        self.read += 1;
        let ends = windows.iter().map(|(number, ..)| DAY + (number + 1) * WINDOW_US);
        self.until_us = ends.fold(self.until_us, i64::max);
        let publish = windows.iter().map(|(number, version, rows)| self.file(*number, *version, rows)).collect();
        let position = PartitionPosition {
            partition: TopicPartition::new("t", 0),
            next_offset: self.read as i64,
            leader_epoch: None,
            max_event_us: None,
            idle: false,
            fingerprint: None,
        };
        let counters = Counters { read: self.read, aggregated: self.read, ..Counters::default() };
        let until = Some(self.until_us);
        let cut = Commit {
            positions: vec![position],
            watermark_us: until,
            published_until_us: until,
            publish,
            counters,
            ..Commit::default()
        };
        self.ledger.commit(cut).await.unwrap().seq
    }

    fn file(&self, number: i64, version: u32, rows: Rows<'_>) -> NewFile {
        let (start_us, end_us) = (DAY + number * WINDOW_US, DAY + (number + 1) * WINDOW_US);
        let batch = batch(start_us, end_us, rows);
        NewFile {
            name: window_name("date", "p", start_us, end_us, version, self.format),
            bytes: Bytes::from(encode_window(self.format, &batch, &EncodeOptions::default()).unwrap()),
            rows: rows.len() as u64,
            kind: FileKind::Window { start_us, end_us, version },
            sources: vec![OffsetRange {
                partition: TopicPartition::new("t", 0),
                first: self.read as i64 - 1,
                last: self.read as i64 - 1,
                messages: 1,
            }],
            counts: BTreeMap::new(),
        }
    }

    /// The warehouse with the models that come with turnstile.
    pub(crate) fn warehouse(&self) -> Warehouse {
        self.warehouse_of(&BUILT_IN, WarehouseLimits::default())
    }

    pub(crate) fn warehouse_of(&self, models: &[(&str, &str)], limits: WarehouseLimits) -> Warehouse {
        let source = WarehouseSource::new("p", "ext_turnstile", batch(0, 0, &[]).schema(), self.format).unwrap();
        let source = source.with_window(Some(9), Some(10));
        let models = Models::parse(models.iter().copied(), "ext_turnstile").unwrap();
        Warehouse::new(&self.lake, source, models, limits, None).unwrap()
    }
}

fn batch(start_us: i64, end_us: i64, rows: Rows<'_>) -> RecordBatch {
    let text = |of: &dyn Fn(&str) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(station, _)| of(station))))
    };
    let number = |of: &dyn Fn(i64) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, entries)| of(*entries))))
    };
    let at = |us: i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_value(us, rows.len()).with_timezone("America/New_York"))
    };
    RecordBatch::try_from_iter([
        ("CA", text(&|_| "A001".to_owned())),
        ("UNIT", text(&|_| "R001".to_owned())),
        ("SCP", text(&|_| "02-00-00".to_owned())),
        ("STATION", text(&|station| station.to_owned())),
        ("LINENAME", text(&|_| "456NQR".to_owned())),
        ("DIVISION", text(&|_| "BMT".to_owned())),
        ("DESC", text(&|_| "REGULAR".to_owned())),
        ("ENTRIES", number(&|entries| entries)),
        ("EXITS", number(&|entries| entries - 1)),
        ("START", at(start_us)),
        ("END", at(end_us)),
    ])
    .unwrap()
}

/// The answer as CSV without its header line.
pub(crate) async fn query(warehouse: &Warehouse, sql: &str) -> Vec<String> {
    let mut out = Vec::new();
    let answer = warehouse.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    answer.write(QueryResultFormat::Csv, &mut out).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    String::from_utf8(out).unwrap().lines().skip(1).map(str::to_owned).collect()
}

/// One load.
pub(crate) async fn load(warehouse: &Warehouse) -> Result<Option<Load>, WarehouseError> {
    warehouse.load(&LoadOptions::default()).await
}

/// Loads until nothing is new; how many steps it took.
pub(crate) async fn load_all(warehouse: &Warehouse) -> usize {
    let mut steps = 0;
    while load(warehouse).await.unwrap().is_some() {
        steps += 1;
    }
    steps
}

/// The facts: station, window's number within the day, entries.
pub(crate) async fn facts(warehouse: &Warehouse) -> Vec<String> {
    let number = "CAST(date_part('hour', window_start) * 12 + date_part('minute', window_start) / 5 AS bigint)";
    let sql = format!("SELECT station, {number}, entries FROM fact_turnstile ORDER BY window_start, station");
    query(warehouse, &sql).await
}
