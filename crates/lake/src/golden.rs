//! The bytes on disk of both chains, compared with what an earlier release wrote.
//!
//! `testdata/golden.txt` was written before the chains shared their code. Changing a byte of it breaks every existing
//! ledger: introduce a new format version instead, see docs/ledger.md, "A slot".

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::Bytes;
use object_store::path::Path;
use turnstile_message::{OffsetRange, TopicPartition};

use crate::chain::ChainRecord;
use crate::format::FileEncoding;
use crate::hash::Hash;
use crate::ledger::{Commit, Ledger, NewFile, NewState};
use crate::maintenance::{Compacted, CompactedWindow, MaintenancePolicy, MaintenanceSlot, Retired, maintain};
use crate::scene::{DAY, MINUTE, PIPELINE, TestPipeline};
use crate::slot::{FileKind, WriterId};
use turnstile_message::{Counters, PartitionPosition};

const GOLDEN: &str = include_str!("../testdata/golden.txt");

#[tokio::test]
async fn every_object_of_the_ledger_and_of_maintenance_has_the_bytes_of_earlier_releases() {
    let found = written().await;
    if let Ok(path) = std::env::var("TURNSTILE_GOLDEN") {
        std::fs::write(path, &found).unwrap();
    }
    for (found, golden) in found.split("\n== ").zip(GOLDEN.split("\n== ")) {
        assert_eq!(found, golden);
    }
    assert_eq!(found.len(), GOLDEN.len());
}

/// A short life of a pipeline in which every field of every object is used, and the objects that it leaves.
async fn written() -> String {
    let mut stream = TestPipeline::begin(2).await;
    let mut kept = Vec::new();
    let mut objects = BTreeMap::new();
    for number in 0..5 {
        stream.clock.set(1_000_000 + number);
        let committed = stream.ledger.commit(cut(number, &kept)).await.unwrap();
        kept = committed.state.into_iter().skip(1).collect();
        take(&stream, &mut objects).await;
    }
    let writer = WriterId { host: "batch-2".into(), pid: 7, started_at_us: 3, note: "a note".into() };
    let mut ledger = Ledger::open(&stream.lake, PIPELINE, "plan-2", writer.clone()).await.unwrap().ledger;
    take(&stream, &mut objects).await;
    ledger.commit(Commit { released: true, ..cut(5, &[]) }).await.unwrap();
    take(&stream, &mut objects).await;
    let policy = MaintenancePolicy { retain_us: Some(MINUTE), grace_us: Some(0), ..MaintenancePolicy::default() };
    for _ in 0..2 {
        stream.clock.set(DAY);
        maintain(&stream.lake, PIPELINE, &policy, &[], &writer, |_| {}).await.unwrap();
        take(&stream, &mut objects).await;
    }
    objects.insert("encoded/compacted".to_owned(), compacted(writer).encode().into());
    let mut text = String::new();
    for (name, bytes) in objects {
        let packed = name.ends_with(".gz");
        let content = if packed { unpack(&bytes) } else { String::from_utf8(bytes.to_vec()).unwrap() };
        write!(text, "\n== {name}\n{content}").unwrap();
    }
    text
}

/// What lies in the ledger's folder now, beside what lay there before.
async fn take(stream: &TestPipeline, objects: &mut BTreeMap<String, Bytes>) {
    for path in stream.lake.store().list(&Path::from("_turnstile"), None).await.unwrap() {
        let bytes = stream.lake.store().get(&path).await.unwrap().unwrap();
        let before = objects.insert(path.to_string(), bytes.clone());
        assert!(before.is_none_or(|before| before == bytes), "{path} was rewritten");
    }
}

fn unpack(bytes: &[u8]) -> String {
    std::io::read_to_string(flate2::read::GzDecoder::new(bytes)).unwrap()
}

fn cut(number: i64, kept: &[crate::slot::StateRef]) -> Commit {
    let partition = TopicPartition::new("turnstile", 3);
    let read = 10 * (number as u64 + 1);
    let file = |name: &str, kind: FileKind| NewFile {
        name: format!("{name}{number}"),
        bytes: Bytes::from(format!("{name} {number}")),
        rows: 2,
        kind,
        sources: vec![OffsetRange { partition: partition.clone(), first: number, last: number + 4, messages: 5 }],
        counts: BTreeMap::from([("messages".to_owned(), 5)]),
    };
    let letters = NewFile {
        name: crate::format::dead_letters_name(PIPELINE, number as u64 + 2),
        ..file("", FileKind::DeadLetters)
    };
    let window = FileKind::Window { start_us: number * MINUTE, end_us: (number + 1) * MINUTE, version: 2 };
    let blob = |kind: &str| NewState {
        kind: kind.into(),
        live_until_us: (kind == "dedup").then_some(number),
        bytes: Bytes::from(format!("{kind} {number}")),
    };
    Commit {
        positions: vec![PartitionPosition {
            partition: partition.clone(),
            next_offset: read as i64,
            leader_epoch: Some(4),
            max_event_us: Some(-number),
            idle: number % 2 == 1,
            fingerprint: Some(u64::MAX - number as u64),
        }],
        topic_ids: BTreeMap::from([("turnstile".to_owned(), "id-1".to_owned())]),
        watermark_us: Some(number * MINUTE),
        published_until_us: Some(10 * MINUTE),
        quiet_closed_at_us: (number == 3).then_some(number),
        kept: if number == 4 { vec![] } else { kept.to_vec() },
        state: if number == 4 { vec![] } else { vec![blob("windows"), blob("dedup")] },
        publish: vec![file(&format!("date=1970-01-01/{PIPELINE}_"), window), letters],
        failed: vec![],
        excluded: None,
        counters: Counters {
            read,
            aggregated: read - 6,
            filtered: 1,
            duplicate: 1,
            late: 1,
            dead_lettered: 2,
            tombstones: 1,
            others: BTreeMap::from([("gaps".to_owned(), 3)]),
            ..Counters::default()
        },
        partition_key: None,
        released: false,
    }
}

fn compacted(writer: WriterId) -> MaintenanceSlot {
    let sha256 = Hash::of(b"file");
    let part = CompactedWindow { start_us: 0, end_us: MINUTE, version: 1, rows: 2, seq: 3, sha256 };
    MaintenanceSlot {
        pipeline: PIPELINE.into(),
        seq: 9,
        nonce: "abc".into(),
        previous: Some(Hash::of(b"before")),
        committed_at_us: 5,
        writer,
        ledger_seq: 8,
        compacted: vec![Compacted {
            name: crate::format::names::compacted_name("date", PIPELINE, 0, 9, "abc", FileEncoding::Parquet),
            sha256,
            bytes: 10,
            rows: 2,
            parts: vec![part],
        }],
        letters: vec![],
        retired: vec![Retired { name: "r".into(), bytes: 1, reason: "old".into() }],
        deleted: vec!["d".into()],
    }
}
