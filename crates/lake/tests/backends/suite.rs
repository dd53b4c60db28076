//! What every store must let the ledger do.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use turnstile_lake::maintenance::{Compact, MaintenancePolicy, maintain};
use turnstile_lake::{
    Catalog, Commit, Counters, EncodeOptions, FileEncoding, FileKind, Lake, Ledger, LedgerError, NewFile, NewState,
    PartitionPosition, WriterId, audit, encode_window, explain, window_name,
};
use turnstile_message::{OffsetRange, TopicPartition};

const MINUTE: i64 = 60_000_000;

/// Slots in the listing of a log: more than a server gives in one page.
const MANY: u64 = 1_100;

pub(crate) async fn run(lake: &Lake) {
    a_pipeline_is_taken_over_with_nothing_lost(lake).await;
    racing_starts_get_one_epoch_each(lake).await;
    a_large_file_arrives_whole(lake).await;
    what_is_there_is_not_overwritten(lake).await;
    a_day_is_compacted_and_what_it_replaces_is_deleted(lake).await;
    // The last one: it leaves a log that no audit of the lake would call well.
    the_newest_of_many_slots_is_found(lake).await;
}

async fn open(lake: &Lake, pipeline: &str, host: &str) -> Result<turnstile_lake::Opened, LedgerError> {
    let writer = WriterId { host: host.to_owned(), pid: 1, started_at_us: 0, note: String::new() };
    Ledger::open(lake, pipeline, "plan", writer).await
}

fn cut(pipeline: &str, number: i64, format: FileEncoding) -> Commit {
    let rows: ArrayRef = Arc::new(Int64Array::from_iter_values(number * 10..number * 10 + 10));
    let batch = RecordBatch::try_from_iter([("ENTRIES", rows)]).unwrap();
    let read = (number as u64 + 1) * 10;
    let partition = TopicPartition::new("turnstile", 0);
    let (start_us, end_us) = (number * MINUTE, (number + 1) * MINUTE);
    Commit {
        positions: vec![PartitionPosition {
            partition: partition.clone(),
            next_offset: read as i64,
            leader_epoch: Some(0),
            max_event_us: Some(end_us),
            idle: false,
            fingerprint: Some(read),
        }],
        state: vec![NewState {
            kind: "windows".into(),
            live_until_us: None,
            bytes: Bytes::from(format!("state after {number}")),
        }],
        publish: vec![NewFile {
            name: window_name("date", pipeline, start_us, end_us, 1, format),
            bytes: encode_window(format, &batch, &EncodeOptions::default()).unwrap().into(),
            rows: 10,
            kind: FileKind::Window { start_us, end_us, version: 1 },
            sources: vec![OffsetRange { partition, first: number * 10, last: number * 10 + 9, messages: 10 }],
            counts: BTreeMap::new(),
        }],
        counters: Counters { read, aggregated: read, ..Counters::default() },
        ..Commit::default()
    }
}

async fn a_pipeline_is_taken_over_with_nothing_lost(lake: &Lake) {
    let mut first = open(lake, "story", "one").await.unwrap().ledger;
    for number in 0..3 {
        let committed = first.commit(cut("story", number, FileEncoding::CsvGz)).await.unwrap();
        assert_eq!(committed.published.len(), 1);
        assert!(committed.pending.is_empty());
    }
    let second = open(lake, "story", "two").await.unwrap();
    let recovered = second.recovered.unwrap();
    assert_eq!(recovered.slot.positions, cut("story", 2, FileEncoding::CsvGz).positions);
    assert_eq!(second.ledger.read_state(&recovered.slot.state[0]).await.unwrap(), "state after 2");

    let fenced = first.commit(cut("story", 3, FileEncoding::CsvGz)).await.unwrap_err();
    assert!(matches!(&fenced, LedgerError::Fenced { owner, .. } if owner.host == "two"), "{fenced}");

    let mut second = second.ledger;
    for number in 3..6 {
        second.commit(cut("story", number, FileEncoding::Parquet)).await.unwrap();
    }
    let found = audit(lake, "story").await.unwrap();
    assert!(found.is_well(), "{found}");
    assert_eq!((found.files, found.rows, found.counters.read), (6, 60, 60));
    let explained = explain(lake, "story", "1970-01-01T00:04Z").await.unwrap();
    assert_eq!(explained.files[0].file.sources, cut("story", 4, FileEncoding::Parquet).publish[0].sources);

    // Garbage goes: at most what the last two commits refer to is left.
    for folder in ["_turnstile/story/stage", "_turnstile/story/state"] {
        let objects = lake.objects();
        let left = objects.list(Some(&Path::from(folder))).count().await;
        assert!(left <= 2, "{left} objects in {folder}");
    }
}

async fn racing_starts_get_one_epoch_each(lake: &Lake) {
    let mut won = std::collections::BTreeSet::new();
    for round in 0..6 {
        let racers = (0..4).map(|racer| {
            let lake = lake.clone();
            async move { open(&lake, "race", &format!("{round}-{racer}")).await }
        });
        let before = won.len();
        for opened in futures::future::join_all(racers).await {
            match opened {
                Ok(opened) => {
                    let epoch = opened.ledger.newest().epoch;
                    assert!(won.insert(epoch), "two writers believe that they own epoch {epoch}");
                }
                // Also a racer whose claim stood for a moment: another one claimed the next epoch before this
                // one had looked, so no writer has that epoch.
                Err(LedgerError::Fenced { .. }) => {}
                Err(other) => panic!("{other}: {:?}", std::error::Error::source(&other)),
            }
        }
        assert!(won.len() > before, "no writer won round {round}");
        let newest = Ledger::peek(lake, "race").await.unwrap().unwrap();
        assert_eq!(won.last(), Some(&newest.epoch), "the newest epoch is a winner's");
    }
    assert!(audit(lake, "race").await.unwrap().is_well());
}

async fn the_newest_of_many_slots_is_found(lake: &Lake) {
    let objects = lake.objects();
    let slot = |seq: u64| Path::from(format!("_turnstile/many/log/{seq:020}"));
    futures::stream::iter(1..=MANY)
        .for_each_concurrent(16, |seq| {
            let objects = objects.clone();
            async move { drop(objects.put(&slot(seq), PutPayload::from_static(b"not a slot")).await.unwrap()) }
        })
        .await;
    let error = Ledger::peek(lake, "many").await.unwrap_err();
    assert!(matches!(&error, LedgerError::Corrupt { object, .. } if *object == slot(MANY).to_string()), "{error}");
}

async fn a_day_is_compacted_and_what_it_replaces_is_deleted(lake: &Lake) {
    let mut ledger = open(lake, "kept", "one").await.unwrap().ledger;
    for number in 0..4 {
        let until = Some(2 * 1440 * MINUTE);
        ledger
            .commit(Commit { published_until_us: until, ..cut("kept", number, FileEncoding::Parquet) })
            .await
            .unwrap();
    }
    let policy = MaintenancePolicy {
        compact: Compact::All,
        letters: Compact::Off,
        retain_us: None,
        grace_us: Some(0),
        sweep_all: true,
    };
    for _ in 0..2 {
        let applied = maintain(lake, "kept", &policy, &[], &WriterId::default(), |_| {}).await.unwrap().unwrap();
        assert!(applied.failed.is_empty() && !applied.raced, "{applied:?}");
    }
    let catalog = Catalog::read(lake, "kept").await.unwrap().unwrap();
    let objects: Vec<bool> = catalog.current(..).iter().map(|extent| extent.object.compacted).collect();
    // The newest commit's file is not known to be published until the next one.
    assert_eq!((objects, catalog.leaving()), (vec![true, true, true, false], vec![]));
    let found = audit(lake, "kept").await.unwrap();
    assert!(found.is_well() && (found.retired, found.compacted) == (3, 1), "{found}");
}

async fn a_large_file_arrives_whole(lake: &Lake) {
    let mut ledger = open(lake, "large", "one").await.unwrap().ledger;
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((0..2_000_000).map(|n: i64| n.wrapping_mul(n))));
    let batch = RecordBatch::try_from_iter([("ENTRIES", numbers)]).unwrap();
    let options = EncodeOptions { gzip_level: 1, ..EncodeOptions::default() };
    let mut large = cut("large", 0, FileEncoding::CsvGz);
    large.publish[0].bytes = encode_window(FileEncoding::CsvGz, &batch, &options).unwrap().into();
    large.publish[0].rows = 2_000_000;
    assert!(large.publish[0].bytes.len() > 10 << 20);
    ledger.commit(large).await.unwrap();
    let found = audit(lake, "large").await.unwrap();
    assert!(found.is_well(), "{found}");
    assert_eq!(found.rows, 2_000_000);
}

async fn what_is_there_is_not_overwritten(lake: &Lake) {
    let mut ledger = open(lake, "taken", "one").await.unwrap().ledger;
    let cut = cut("taken", 0, FileEncoding::CsvGz);
    let name = cut.publish[0].name.clone();
    lake.objects().put(&Path::from(name.as_str()), PutPayload::from_static(b"by hand")).await.unwrap();
    let error = ledger.commit(cut).await.unwrap_err();
    assert!(matches!(&error, LedgerError::FileChanged { name: taken, .. } if *taken == name), "{error}");
    assert_eq!(lake.read(&name).await.unwrap().unwrap(), "by hand");
    let found = audit(lake, "taken").await.unwrap();
    assert!(found.to_string().starts_with(&format!("changed: {name}")), "{found}");
}
