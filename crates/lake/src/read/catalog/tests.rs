//! Claims about catalogs, against an oracle that reads the whole ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use message::{OffsetRange, TopicPartition};
use object_store::memory::InMemory;
use object_store::path::Path;

use super::*;
use crate::clock::Machine;
use crate::store::Remote;
use crate::{
    Counters, Cut, FileKind, Format, Ledger, NewFile, Position, Writer, dead_letters_name, entries, published_since,
    window_name,
};

const MINUTE: i64 = 60_000_000;

/// A lake in memory whose log is rolled up every `segment` slots.
fn lake(segment: u64) -> Lake {
    let objects = Arc::new(InMemory::new());
    Lake::assemble("memory:", Arc::new(Remote::new(objects.clone(), "memory:")), objects, Arc::new(Machine), segment)
}

/// A pipeline that publishes what a test names.
struct Stream {
    lake: Lake,
    ledger: Ledger,
    read: u64,
}

impl Stream {
    async fn begin(segment: u64) -> Self {
        Self::over(lake(segment)).await
    }

    async fn over(lake: Lake) -> Self {
        let ledger = Ledger::open(&lake, "mta", "plan", Writer::default()).await.unwrap().ledger;
        Self { lake, read: ledger.newest().counters.read, ledger }
    }

    /// Commits versions of windows, each by the minute at which it begins, and returns the commit's number.
    async fn publish(&mut self, windows: &[(i64, u32)]) -> u64 {
        let files = windows.iter().map(|(minute, version)| self.window(*minute, *version)).collect();
        self.commit(files).await
    }

    async fn commit(&mut self, publish: Vec<NewFile>) -> u64 {
        self.read += 1;
        let partition = TopicPartition::new("t", 0);
        let position = Position {
            partition,
            next_offset: self.read as i64,
            leader_epoch: None,
            max_event_us: None,
            idle: false,
            fingerprint: None,
        };
        let counters = Counters { read: self.read, aggregated: self.read, ..Counters::default() };
        let cut = Cut { positions: vec![position], publish, counters, ..Cut::default() };
        self.ledger.commit(cut).await.unwrap().seq
    }

    fn window(&self, minute: i64, version: u32) -> NewFile {
        let (start_us, end_us) = (minute * MINUTE, (minute + 5) * MINUTE);
        let name = window_name("mta", start_us, end_us, version, Format::CsvGz);
        NewFile {
            bytes: format!("{name} {}", self.read).into_bytes().into(),
            name,
            rows: minute.unsigned_abs() + 1,
            kind: FileKind::Window { start_us, end_us, version },
            sources: vec![OffsetRange { partition: TopicPartition::new("t", 0), first: 0, last: 0, messages: 1 }],
            counts: BTreeMap::new(),
        }
    }

    fn dead_letters(&self) -> NewFile {
        NewFile {
            name: dead_letters_name("mta", self.ledger.next_seq()),
            bytes: self.read.to_string().into_bytes().into(),
            rows: 1,
            kind: FileKind::DeadLetters,
            sources: vec![],
            counts: BTreeMap::new(),
        }
    }

    async fn catalog(&self) -> Catalog {
        Catalog::read(&self.lake, "mta").await.unwrap().unwrap()
    }

    async fn delete(&self, name: &str) {
        self.lake.store().delete(vec![Path::from(name)]).await.unwrap();
    }
}

/// Window starts, in minutes, and versions.
fn shown(extents: &[Extent]) -> Vec<(i64, u32)> {
    extents.iter().map(|extent| (extent.start_us / MINUTE, extent.version)).collect()
}

#[tokio::test]
async fn readers_read_the_highest_version_of_each_window() {
    let mut stream = Stream::begin(1024).await;
    stream.publish(&[(0, 1), (5, 1)]).await;
    let seq = stream.publish(&[(10, 1), (0, 2)]).await;
    let catalog = stream.catalog().await;
    assert_eq!(shown(&catalog.current(..)), [(0, 2), (5, 1), (10, 1)]);
    assert_eq!(shown(&catalog.history()), [(0, 1), (0, 2), (5, 1), (10, 1)]);
    assert_eq!(catalog.position(), CatalogPosition { seq, maintenance: 0 });
    let corrected = catalog.extent(0, 5 * MINUTE, 2).unwrap();
    assert_eq!((corrected.seq, corrected.rows, corrected.object.windows), (seq, 1, 1));
    let superseded = catalog.extent(0, 5 * MINUTE, 1).unwrap();
    assert!(!superseded.current && !superseded.gone && superseded.object.windows == 0);
    assert_eq!(corrected.object.name.as_ref(), window_name("mta", 0, 5 * MINUTE, 2, Format::CsvGz));
}

#[tokio::test]
async fn a_range_shows_the_windows_that_overlap_it_over_midnight_too() {
    const DAY: i64 = 24 * 60;
    let mut stream = Stream::begin(1024).await;
    stream.publish(&[(DAY - 7, 1), (DAY - 2, 1), (DAY + 3, 1), (-3, 1)]).await;
    let catalog = stream.catalog().await;
    let between = |from: i64, until: i64| shown(&catalog.current(from * MINUTE..until * MINUTE));
    assert_eq!(between(DAY, DAY + 3), [(DAY - 2, 1)]);
    assert_eq!(between(DAY, DAY + 4), [(DAY - 2, 1), (DAY + 3, 1)]);
    assert_eq!(between(DAY - 3, DAY - 2), [(DAY - 7, 1)]);
    assert_eq!(between(0, 1), [(-3, 1)]);
    assert_eq!(between(1, 1), []);
    assert_eq!(shown(&catalog.current((DAY + 3) * MINUTE..)), [(DAY + 3, 1)]);
    assert_eq!(shown(&catalog.current(..=-3 * MINUTE)), [(-3, 1)]);
}

#[tokio::test]
async fn a_pipeline_without_a_ledger_has_no_catalog() {
    let lake = lake(8);
    assert!(Catalog::read(&lake, "mta").await.unwrap().is_none());
    assert!(published_since(&lake, "mta", 0).await.unwrap().is_none());
}

#[tokio::test]
async fn a_commit_that_is_not_published_yet_is_left_out_with_those_after_it() {
    let mut stream = Stream::begin(1024).await;
    let whole = stream.publish(&[(0, 1)]).await;
    stream.publish(&[(0, 2), (5, 1)]).await;
    let missing = window_name("mta", 0, 5 * MINUTE, 2, Format::CsvGz);
    let bytes = stream.lake.read(&missing).await.unwrap().unwrap();
    // As a crash between the slot and the last file leaves it.
    stream.delete(&missing).await;
    let before = stream.catalog().await;
    assert_eq!((before.position().seq, before.newest().seq), (whole, whole + 1));
    assert_eq!((shown(&before.current(..)), before.waiting()), (vec![(0, 1)], &[missing.clone()][..]));
    let since = published_since(&stream.lake, "mta", whole).await.unwrap().unwrap();
    assert_eq!((since.until, since.commits.len()), (whole, 0));

    let mut stream = Stream::over(stream.lake).await;
    assert_eq!(stream.lake.read(&missing).await.unwrap().unwrap(), bytes, "the start publishes it");
    let after = before.advance(&stream.lake).await.unwrap();
    assert_eq!((shown(&after.current(..)), after.waiting().len()), (vec![(0, 2), (5, 1)], 0));
    stream.publish(&[(10, 1)]).await;
    assert_eq!(shown(&after.advance(&stream.lake).await.unwrap().current(..)), [(0, 2), (5, 1), (10, 1)]);
}

#[tokio::test]
async fn a_foreign_file_at_a_final_name_is_not_read() {
    let mut stream = Stream::begin(1024).await;
    stream.publish(&[(0, 1)]).await;
    let name = window_name("mta", 0, 5 * MINUTE, 1, Format::CsvGz);
    stream.delete(&name).await;
    stream.lake.create(&name, "by hand".into()).await.unwrap();
    assert_eq!((stream.catalog().await.current(..), stream.catalog().await.waiting()), (vec![], &[name][..]));
}

#[tokio::test]
async fn a_catalog_that_advances_is_the_one_that_is_read_afresh() {
    let mut stream = Stream::begin(4).await;
    let mut advancing = stream.catalog().await;
    let mut random = 7u64;
    for step in 0..120u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let minute = (step * 37 % 60 * 120) as i64;
        match (random >> 33) % 4 {
            0 => drop(stream.commit(vec![]).await),
            1 => {
                let letters = stream.dead_letters();
                stream.commit(vec![letters]).await;
            }
            _ => drop(stream.publish(&[(minute, step as u32 + 1)]).await),
        }
        if (random >> 40) % 3 == 0 {
            advancing = advancing.advance(&stream.lake).await.unwrap();
            let fresh = stream.catalog().await;
            assert_eq!(advancing.inner.table, fresh.inner.table, "step {step}");
            assert_eq!(advancing.position(), fresh.position());
            agrees_with_the_ledger(&stream, &fresh).await;
        }
    }
}

async fn agrees_with_the_ledger(stream: &Stream, catalog: &Catalog) {
    let mut highest = BTreeMap::new();
    let mut letters = Vec::new();
    for published in entries(&stream.lake, "mta").await.unwrap() {
        match published.file.kind {
            FileKind::Window { start_us, version, .. } => {
                let counts = highest.entry(start_us / MINUTE).or_insert(0);
                *counts = version.max(*counts);
            }
            FileKind::DeadLetters => letters.push(published.file.name),
        }
    }
    assert_eq!(shown(&catalog.current(..)), highest.into_iter().collect::<Vec<_>>());
    let names: Vec<String> = catalog.dead_letters().iter().map(|file| file.name.to_string()).collect();
    assert_eq!(names, letters);
}

#[tokio::test]
async fn what_was_published_since_a_commit_is_the_rest_of_the_ledger() {
    let mut stream = Stream::begin(4).await;
    for step in 0..30 {
        stream.publish(&[(step * 5, 1)]).await;
    }
    let all = published_since(&stream.lake, "mta", 0).await.unwrap().unwrap();
    assert_eq!((all.until, all.commits.len()), (31, 31));
    for after in 0..=31 {
        let since = published_since(&stream.lake, "mta", after).await.unwrap().unwrap();
        assert_eq!(since.commits, all.commits[after as usize..], "after {after}");
    }
    let error = published_since(&stream.lake, "mta", 32).await.unwrap_err();
    assert!(matches!(&error, LedgerError::Corrupt { reason, .. } if reason.contains("commit 32")), "{error}");
}

#[tokio::test]
async fn nothing_that_lies_before_a_position_is_read_again() {
    let mut stream = Stream::begin(4).await;
    for step in 0..30 {
        stream.publish(&[(step * 5, 1)]).await;
    }
    let catalog = stream.catalog().await;
    // Whoever reads these would find them missing.
    let history = stream.lake.list("_turnstile/mta/history", None).await.unwrap();
    let newest = stream.ledger.newest().history.unwrap().last;
    assert!(history.len() as u64 >= newest / 4 && newest > 20);
    stream.lake.delete(&history[..history.len() - 2]).await.unwrap();
    stream.publish(&[(150, 1)]).await;
    assert_eq!(catalog.advance(&stream.lake).await.unwrap().current(..).len(), 31);
    assert_eq!(published_since(&stream.lake, "mta", newest).await.unwrap().unwrap().commits.len() as u64, 32 - newest);
    assert!(Catalog::read(&stream.lake, "mta").await.is_err(), "the whole chain is no longer there");
}

#[tokio::test]
async fn a_ledger_that_is_another_one_is_not_taken_for_the_same() {
    let mut stream = Stream::begin(1024).await;
    stream.publish(&[(0, 1)]).await;
    let catalog = stream.catalog().await;
    let mut other = Stream::begin(1024).await;
    for minute in 0..3 {
        other.publish(&[(minute * 5, 1)]).await;
    }
    let error = catalog.advance(&other.lake).await.unwrap_err();
    assert!(matches!(error, LedgerError::Corrupt { .. }), "{error}");
}
