//! A miniature pipeline for tests: publishes real files of windows that a test names, with a clock that the test sets.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use object_store::memory::InMemory;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use turnstile_message::{ExcludedMessages, OffsetRange, SourcePosition, TopicPartition};

use crate::clock::Clock;
use crate::format::{
    DeadLetterRecord, EncodeOptions, FileEncoding, dead_letters_name, encode_dead_letters, encode_window, window_name,
};
use crate::hash::Hash;
use crate::lake::Lake;
use crate::ledger::{Commit, Ledger, NewFile};
use crate::read::Catalog;
use crate::slot::{FileKind, WriterId};
use crate::store::StoreError;
use crate::store::{Creation, LakeStore, Remote};
use turnstile_message::{Counters, PartitionPosition};

pub(crate) const MINUTE: i64 = 60_000_000;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;
pub(crate) const PIPELINE: &str = "mta";

/// A clock that a test sets.
#[derive(Debug, Default)]
pub(crate) struct GivenClock {
    now_us: AtomicI64,
    nonces: AtomicU64,
}

impl GivenClock {
    pub(crate) fn set(&self, now_us: i64) {
        self.now_us.store(now_us, Ordering::SeqCst);
    }
}

impl Clock for GivenClock {
    fn now_us(&self) -> i64 {
        self.now_us.load(Ordering::SeqCst)
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn nonce(&self) -> String {
        format!("{:08x}{:024}", self.nonces.fetch_add(1, Ordering::SeqCst), 0)
    }
}

/// A store that answers this many more writes, then none: a process that hangs there.
#[derive(Debug)]
pub(crate) struct FailingStore {
    inner: Remote,
    pub(crate) writes_left: AtomicUsize,
}

impl FailingStore {
    fn dies(&self, path: &Path) -> Option<StoreError> {
        let left = self.writes_left.load(Ordering::SeqCst);
        self.writes_left.store(left.saturating_sub(1), Ordering::SeqCst);
        let error =
            || StoreError { operation: "write", path: path.to_string(), retriable: false, source: "dead".into() };
        (left == 0).then(error)
    }
}

impl LakeStore for FailingStore {
    fn create(&self, path: &Path, bytes: Bytes) -> BoxFuture<'static, Result<Creation, StoreError>> {
        match self.dies(path) {
            Some(error) => Box::pin(async { Err(error) }),
            None => self.inner.create(path, bytes),
        }
    }
    fn get(&self, path: &Path) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>> {
        self.inner.get(path)
    }
    fn get_range(&self, path: &Path, range: Range<u64>) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>> {
        self.inner.get_range(path, range)
    }
    fn exists(&self, path: &Path) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.inner.exists(path)
    }
    fn list(&self, folder: &Path, after: Option<&Path>) -> BoxFuture<'static, Result<Vec<Path>, StoreError>> {
        self.inner.list(folder, after)
    }
    fn delete(&self, paths: Vec<Path>) -> BoxFuture<'static, Result<(), StoreError>> {
        match self.dies(paths.first().unwrap_or(&Path::default())) {
            Some(error) => Box::pin(async { Err(error) }),
            None => self.inner.delete(paths),
        }
    }
}

/// A pipeline that publishes what a test names.
pub(crate) struct TestPipeline {
    pub(crate) lake: Lake,
    pub(crate) ledger: Ledger,
    pub(crate) clock: Arc<GivenClock>,
    pub(crate) mortal: Arc<FailingStore>,
    pub(crate) format: FileEncoding,
    pub(crate) until_us: i64,
    read: u64,
    dead_lettered: u64,
}

impl TestPipeline {
    /// A new pipeline in a new lake in memory, whose log is rolled up every `segment` slots.
    pub(crate) async fn begin(segment: u64) -> Self {
        let objects = Arc::new(InMemory::new());
        let inner = Remote::new(objects.clone(), "memory:");
        let mortal = Arc::new(FailingStore { inner, writes_left: AtomicUsize::new(usize::MAX) });
        let clock = Arc::new(GivenClock::default());
        let lake = Lake::assemble("memory:", mortal.clone(), objects, clock.clone(), segment);
        let ledger = open(&lake).await;
        Self { lake, ledger, clock, mortal, format: FileEncoding::CsvGz, until_us: 0, read: 0, dead_lettered: 0 }
    }

    /// The same pipeline after a restart.
    pub(crate) async fn restarted(self) -> Self {
        Self { ledger: open(&self.lake).await, ..self }
    }

    /// Commits versions of five-minute windows, each by the minute at which it begins; returns the commit's number.
    pub(crate) async fn publish(&mut self, windows: &[(i64, u32)]) -> u64 {
        let files = windows.iter().map(|(minute, version)| self.window(*minute, *version)).collect();
        self.commit(files).await
    }

    pub(crate) async fn commit(&mut self, publish: Vec<NewFile>) -> u64 {
        let letters: u64 = publish.iter().filter(|f| f.kind == FileKind::DeadLetters).map(|file| file.rows).sum();
        self.dead_lettered += letters;
        self.read += 1 + letters;
        let position = PartitionPosition {
            partition: TopicPartition::new("t", 0),
            next_offset: self.read as i64,
            leader_epoch: None,
            max_event_us: None,
            idle: false,
            fingerprint: None,
        };
        let (read, dead_lettered) = (self.read, self.dead_lettered);
        let counters = Counters { read, aggregated: read - dead_lettered, dead_lettered, ..Counters::default() };
        let cut = Commit {
            positions: vec![position],
            publish,
            published_until_us: Some(self.until_us),
            counters,
            excluded: Some(vec![excluded(read)]),
            ..Commit::default()
        };
        self.ledger.commit(cut).await.unwrap().seq
    }

    pub(crate) fn window(&self, minute: i64, version: u32) -> NewFile {
        window_file(self.format, minute, version)
    }

    pub(crate) fn dead_letters(&self) -> NewFile {
        letters_file(self.ledger.next_seq(), self.read as i64)
    }

    pub(crate) async fn catalog(&self) -> Catalog {
        Catalog::read(&self.lake, PIPELINE).await.unwrap().unwrap()
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.lake.store().delete(vec![Path::from(name)]).await.unwrap();
    }
}

/// What the commit that has read this many messages leaves out of a window.
pub(crate) fn excluded(read: u64) -> ExcludedMessages {
    let start_us = (read % 7) as i64 * 5 * MINUTE;
    ExcludedMessages { start_us, end_us: start_us + 5 * MINUTE, late: read % 3, duplicates: 1 }
}

async fn open(lake: &Lake) -> Ledger {
    Ledger::open(lake, PIPELINE, "plan", WriterId::default()).await.unwrap().ledger
}

/// The file of the one dead letter of commit `seq`.
pub(crate) fn letters_file(seq: u64, offset: i64) -> NewFile {
    let letter = DeadLetterRecord {
        position: SourcePosition { partition: TopicPartition::new("t", 0), offset },
        timestamp_ms: -1,
        reason: "type: x",
        field: None,
        key: None,
        value: Some(b"x"),
    };
    NewFile {
        name: dead_letters_name(PIPELINE, seq),
        bytes: encode_dead_letters([letter]).into(),
        rows: 1,
        kind: FileKind::DeadLetters,
        sources: vec![],
        counts: BTreeMap::new(),
    }
}

/// The file of a version of the five-minute window that begins at a minute.
pub(crate) fn window_file(format: FileEncoding, minute: i64, version: u32) -> NewFile {
    let (start_us, end_us) = (minute * MINUTE, (minute + 5) * MINUTE);
    let texts = rows(minute, version);
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..texts.len() as i64));
    let count = texts.len() as u64;
    let texts: ArrayRef = Arc::new(StringArray::from(texts));
    let batch = RecordBatch::try_from_iter([("ROW", texts), ("NUMBER", numbers)]).unwrap();
    NewFile {
        bytes: encode_window(format, &batch, &EncodeOptions::default()).unwrap().into(),
        name: window_name("window_date", PIPELINE, start_us, end_us, version, format),
        rows: count,
        kind: FileKind::Window { start_us, end_us, version },
        sources: vec![OffsetRange { partition: TopicPartition::new("t", 0), first: minute, last: minute, messages: 1 }],
        counts: BTreeMap::new(),
    }
}

/// The rows of a version of the window that begins at a minute.
pub(crate) fn rows(minute: i64, version: u32) -> Vec<String> {
    (0..minute.rem_euclid(4) + i64::from(version)).map(|row| format!("m{minute} v{version} r{row}")).collect()
}

/// Window starts, in minutes, and versions, of what a catalog shows.
pub(crate) fn shown(extents: &[crate::read::Extent]) -> Vec<(i64, u32)> {
    extents.iter().map(|extent| (extent.start_us / MINUTE, extent.version)).collect()
}

/// What a reader of the catalog reads, by the minute at which windows begin. `None`: an object is not there.
pub(crate) async fn read_current(
    lake: &Lake,
    catalog: &Catalog,
) -> Result<Option<BTreeMap<i64, Vec<String>>>, StoreError> {
    let mut read = BTreeMap::new();
    let mut unpacked: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for extent in catalog.current(..) {
        let name = extent.object.name.to_string();
        if !unpacked.contains_key(&name) {
            let Some(bytes) = lake.read(&name).await? else { return Ok(None) };
            assert_eq!((Hash::of(&bytes), bytes.len() as u64), (extent.object.sha256, extent.object.bytes), "{name}");
            let rows = unpack(extent.object.format.unwrap(), bytes);
            assert_eq!(rows.len() as u64, extent.object.rows, "{name}");
            unpacked.insert(name.clone(), rows);
        }
        let rows = &unpacked[&name][extent.first_row as usize..][..extent.rows as usize];
        read.insert(extent.start_us / MINUTE, rows.to_vec());
    }
    Ok(Some(read))
}

fn unpack(format: FileEncoding, bytes: Bytes) -> Vec<String> {
    match format {
        FileEncoding::CsvGz => {
            let text = std::io::read_to_string(flate2::read::MultiGzDecoder::new(&bytes[..])).unwrap();
            text.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned()).collect()
        }
        FileEncoding::Parquet => ParquetRecordBatchReader::try_new(bytes, 1_000)
            .unwrap()
            .flat_map(|batch| {
                let texts = batch.unwrap().column(0).clone();
                let texts = texts.as_any().downcast_ref::<StringArray>().unwrap();
                texts.iter().map(|text| text.unwrap().to_owned()).collect::<Vec<_>>()
            })
            .collect(),
    }
}
