//! Claims about one ledger at a time, on a store in memory. Several writers: `simulation.rs`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;
use object_store::memory::InMemory;
use object_store::path::Path;
use turnstile_message::{OffsetRange, TopicPartition};

use super::*;
use crate::chain::ChainRecord;
use crate::clock::SystemClock;
use crate::format::window_name;
use crate::read::{audit, entries, explain, plan_hash_at};
use crate::slot::FileKind;
use crate::store::StoreError;
use crate::store::{Creation, LakeStore, Remote};
use turnstile_message::{Counters, PartitionPosition};

const MINUTE: i64 = 60_000_000;

/// A lake in memory whose log is rolled up every `segment` slots.
pub(super) fn lake(segment: u64) -> Lake {
    let objects = Arc::new(InMemory::new());
    Lake::assemble(
        "memory:",
        Arc::new(Remote::new(objects.clone(), "memory:")),
        objects,
        Arc::new(SystemClock),
        segment,
    )
}

fn writer(host: &str) -> WriterId {
    WriterId { host: host.into(), pid: 1, started_at_us: 0, note: String::new() }
}

async fn open(lake: &Lake, host: &str) -> Opened {
    Ledger::open(lake, "mta", "plan", writer(host)).await.unwrap()
}

/// One window of three rows, as one line each.
fn file(number: i64) -> NewFile {
    let (start, end) = (number * MINUTE, (number + 1) * MINUTE);
    let letters = (0..3).map(|row| crate::format::DeadLetterRecord {
        position: turnstile_message::SourcePosition {
            partition: TopicPartition::new("t", 0),
            offset: number * 3 + row,
        },
        timestamp_ms: 0,
        reason: "none",
        field: None,
        key: None,
        value: None,
    });
    NewFile {
        name: window_name("date", "mta", start, end, 1, crate::format::FileEncoding::CsvGz)
            .replace("csv.gz", "jsonl.gz"),
        bytes: crate::format::encode_dead_letters(letters).into(),
        rows: 3,
        kind: FileKind::Window { start_us: start, end_us: end, version: 1 },
        sources: vec![OffsetRange {
            partition: TopicPartition::new("t", 0),
            first: number * 3,
            last: number * 3 + 2,
            messages: 3,
        }],
        counts: BTreeMap::new(),
    }
}

/// The cut after windows `0..=number`, publishing the last.
fn cut(number: i64) -> Commit {
    let read = (number as u64 + 1) * 3;
    Commit {
        positions: vec![PartitionPosition {
            partition: TopicPartition::new("t", 0),
            next_offset: read as i64,
            leader_epoch: None,
            max_event_us: None,
            idle: false,
            fingerprint: None,
        }],
        state: vec![NewState {
            kind: "windows".into(),
            live_until_us: None,
            bytes: Bytes::from(format!("state {number}")),
        }],
        publish: vec![file(number)],
        counters: Counters { read, aggregated: read, ..Counters::default() },
        ..Commit::default()
    }
}

async fn names_below(lake: &Lake, folder: &str) -> Vec<String> {
    let listed = lake.store().list(&Path::from(folder), None).await.unwrap();
    listed.into_iter().map(|path| path.to_string()).collect()
}

#[tokio::test]
async fn a_commit_publishes_its_files_and_a_restart_finds_its_positions_and_state() {
    let lake = lake(1024);
    let mut ledger = open(&lake, "one").await.ledger;
    let committed = ledger.commit(cut(0)).await.unwrap();
    assert_eq!(committed.published, vec![file(0).name]);
    assert_eq!(committed.pending, Vec::<String>::new());
    assert_eq!(lake.read(&file(0).name).await.unwrap(), Some(file(0).bytes));

    let again = open(&lake, "two").await;
    let recovered = again.recovered.unwrap();
    assert_eq!(recovered.slot.positions, cut(0).positions);
    assert_eq!(recovered.slot.counters, cut(0).counters);
    assert_eq!(again.ledger.read_state(&recovered.slot.state[0]).await.unwrap(), "state 0");
    assert_eq!(again.ledger.newest().epoch, 2);
}

#[tokio::test]
async fn the_writer_that_was_taken_over_hears_who_owns_the_pipeline() {
    let lake = lake(1024);
    let mut old = open(&lake, "batch-1").await.ledger;
    let _new = open(&lake, "batch-2").await;
    let error = old.commit(cut(0)).await.unwrap_err();
    let LedgerError::Fenced { owner, window_start_us, .. } = &error else { panic!("{error}") };
    assert_eq!((owner.host.as_str(), owner.epoch, *window_start_us), ("batch-2", 2, Some(0)));
    assert_eq!(error.to_string(), "window 1970-01-01T00:00Z of \"mta\" was not published to memory:");
    assert!(owner.to_string().starts_with("another process owns this pipeline since 20"), "{owner}");
    assert_eq!(lake.read(&file(0).name).await.unwrap(), None);
    // It stays fenced, and does not ask the store again.
    assert!(matches!(old.commit(cut(0)).await, Err(LedgerError::Fenced { .. })));
}

#[tokio::test]
async fn peek_tells_who_writes_and_whether_it_has_let_go() {
    let lake = lake(1024);
    assert_eq!(Ledger::peek(&lake, "mta").await.unwrap(), None);
    let mut ledger = open(&lake, "one").await.ledger;
    let slot = Ledger::peek(&lake, "mta").await.unwrap().unwrap();
    assert_eq!((slot.writer.host.as_str(), slot.epoch, slot.released), ("one", 1, false));
    ledger.commit(Commit { released: true, ..cut(0) }).await.unwrap();
    assert!(Ledger::peek(&lake, "mta").await.unwrap().unwrap().released);
    let _next = open(&lake, "two").await;
    assert!(!Ledger::peek(&lake, "mta").await.unwrap().unwrap().released);
}

#[tokio::test]
async fn recent_commits_are_the_newest_ones_that_are_not_rolled_up_without_a_hole() {
    let lake = lake(4);
    assert!(crate::read::recent_commits(&lake, "mta", 8).await.unwrap().is_none());
    let mut ledger = open(&lake, "one").await.ledger;
    for number in 0..30 {
        ledger.commit(cut(number)).await.unwrap();
    }
    for most in [1, 3, 8, 1_000] {
        let (newest, lines) = crate::read::recent_commits(&lake, "mta", most).await.unwrap().unwrap();
        assert_eq!((newest.seq, newest.counters.read), (31, 90));
        let seqs: Vec<u64> = lines.iter().map(|line| line.seq).collect();
        let first = 32 - seqs.len() as u64;
        assert_eq!(seqs, (first..=31).collect::<Vec<_>>());
        assert!(seqs.len() as u64 <= most && lines.iter().all(|line| line.counters.read == (line.seq - 1) * 3));
        let rolled_up = newest.history.map_or(0, |history| history.last);
        assert_eq!(first, (32 - most.min(31)).max(rolled_up + 1), "{most} of what {rolled_up} leaves");
    }
}

#[tokio::test]
async fn what_contradicts_itself_is_never_committed() {
    let lake = lake(1024);
    let mut ledger = open(&lake, "one").await.ledger;
    ledger.commit(cut(1)).await.unwrap();
    let before = Ledger::peek(&lake, "mta").await.unwrap();
    let mut lost_row = cut(2);
    lost_row.counters.read += 1;
    let went_back = Commit { publish: vec![], counters: cut(1).counters, ..cut(0) };
    let no_position = Commit { positions: vec![], ..cut(2) };
    let empty = Commit { publish: vec![NewFile { rows: 0, ..file(2) }], ..cut(2) };
    let twice = Commit { publish: vec![file(2), file(2)], ..cut(2) };
    let foreign = StateRef {
        object: "state/x".into(),
        start: 0,
        bytes: 1,
        sha256: Hash::of(b"x"),
        kind: "windows".into(),
        live_until_us: None,
    };
    let unknown_state = Commit { kept: vec![foreign], ..cut(2) };
    for (bad, reason) in [
        (lost_row, "read 10 is not the sum"),
        (went_back, "t[0] went back from offset 6 to 3"),
        (no_position, "the position of t[0] is missing"),
        (empty, "would be empty"),
        (twice, "published twice"),
        (unknown_state, "is kept but is not"),
    ] {
        let error = ledger.commit(bad).await.unwrap_err();
        assert!(
            matches!(error, LedgerError::Unbalanced { seq: 3, .. }) && error.to_string().contains(reason),
            "{error}"
        );
    }
    assert_eq!(Ledger::peek(&lake, "mta").await.unwrap(), before);
    ledger.commit(cut(2)).await.unwrap();
}

#[tokio::test]
async fn a_changed_plan_is_refused_while_windows_are_open_and_taken_when_none_is() {
    let lake = lake(1024);
    let mut ledger = open(&lake, "one").await.ledger;
    ledger.commit(cut(0)).await.unwrap();
    let error = Ledger::open(&lake, "mta", "other plan", writer("two")).await.unwrap_err();
    assert!(matches!(&error, LedgerError::PlanChanged { seq: 2, .. }), "{error}");
    // A refused start does not fence the writer that is there.
    ledger.commit(Commit { state: vec![], ..cut(1) }).await.unwrap();
    let opened = Ledger::open(&lake, "mta", "other plan", writer("two")).await.unwrap();
    assert_eq!(opened.ledger.newest().plan_hash, "other plan");
}

#[tokio::test]
async fn a_ledger_that_is_damaged_newer_or_of_another_pipeline_is_refused() {
    let good = lake(1024);
    let mut ledger = open(&good, "one").await.ledger;
    ledger.commit(cut(0)).await.unwrap();
    let slot = Path::from("_turnstile/mta/log/00000000000000000002");
    let bytes = good.store().get(&slot).await.unwrap().unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let mut other = Slot::decode(&bytes).unwrap();
    other.pipeline = "stations".into();
    for (bytes, is_expected) in [
        (
            text.replace("\"seq\":2", "\"seq\":3").into_bytes(),
            (|e| matches!(e, LedgerError::Corrupt { .. })) as fn(&LedgerError) -> bool,
        ),
        (text.as_bytes()[..text.len() / 2].to_vec(), |e| matches!(e, LedgerError::Corrupt { .. })),
        (text.replace("ledger 1 ", "ledger 9 ").into_bytes(), |e| {
            matches!(e, LedgerError::NewerVersion { found: 9, .. })
        }),
        (other.encode(), |e| matches!(e, LedgerError::OtherPipeline { .. })),
    ] {
        let lake = lake(1024);
        lake.store().create(&slot, bytes.into()).await.unwrap();
        let error = Ledger::open(&lake, "mta", "plan", writer("two")).await.unwrap_err();
        assert!(is_expected(&error), "{error}");
        assert_eq!(names_below(&lake, "").await.len(), 1, "nothing was written");
    }
}

#[tokio::test]
async fn a_foreign_file_under_a_final_name_is_named_and_the_commit_is_published_once_it_is_gone() {
    let lake = lake(1024);
    let mut ledger = open(&lake, "one").await.ledger;
    let name = Path::from(file(0).name);
    lake.store().create(&name, Bytes::from_static(b"by hand")).await.unwrap();
    let error = ledger.commit(cut(0)).await.unwrap_err();
    assert!(matches!(&error, LedgerError::FileChanged { name, .. } if *name == file(0).name), "{error}");
    assert!(Ledger::open(&lake, "mta", "plan", writer("two")).await.is_err());
    lake.store().delete(vec![name]).await.unwrap();
    let opened = open(&lake, "three").await;
    assert_eq!(opened.recovered.unwrap().published, vec![file(0).name]);
    assert_eq!(lake.read(&file(0).name).await.unwrap(), Some(file(0).bytes));
}

#[tokio::test]
async fn a_commit_that_was_dropped_midway_is_finished_by_retry() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open(&format!("file:{}", folder.path().display()), &Default::default()).await.unwrap();
    let mut ledger = open(&lake, "one").await.ledger;
    // Polled once, then dropped: the store was asked, its answer is never heard.
    assert!(futures::future::poll_immediate(Box::pin(ledger.commit(cut(0)))).await.is_none());
    assert!(ledger.is_unfinished());
    assert!(matches!(ledger.commit(cut(1)).await, Err(LedgerError::Unfinished { seq: 2, .. })));
    assert_eq!(ledger.retry().await.unwrap().published, vec![file(0).name]);
    assert_eq!(ledger.commit(cut(1)).await.unwrap().seq, 3);
}

#[tokio::test]
async fn small_blobs_share_an_object_and_come_back_each_for_itself() {
    let lake = lake(1024);
    let mut ledger = open(&lake, "one").await.ledger;
    let blob = |text: &'static str| NewState {
        kind: text.into(),
        live_until_us: Some(7),
        bytes: Bytes::from_static(text.as_bytes()),
    };
    let big = NewState { kind: "big".into(), live_until_us: None, bytes: Bytes::from(vec![7; STATE_OBJECT_BYTES]) };
    let state = vec![blob("dedup"), blob("windows"), big];
    let committed = ledger.commit(Commit { state, ..cut(0) }).await.unwrap();
    assert_eq!(names_below(&lake, "_turnstile/mta/state").await.len(), 2);
    assert_eq!(ledger.read_state(&committed.state[0]).await.unwrap(), "dedup");
    assert_eq!(ledger.read_state(&committed.state[1]).await.unwrap(), "windows");
    assert_eq!(ledger.read_state(&committed.state[2]).await.unwrap().len(), STATE_OBJECT_BYTES);

    // One of two is kept: the object stays. None is kept: it goes.
    let kept = vec![committed.state[1].clone()];
    let next = ledger.commit(Commit { kept, state: vec![], ..cut(1) }).await.unwrap();
    assert_eq!(next.state, vec![]);
    assert_eq!(ledger.read_state(&committed.state[1]).await.unwrap(), "windows");
    ledger.commit(Commit { state: vec![], ..cut(2) }).await.unwrap();
    assert_eq!(names_below(&lake, "_turnstile/mta/state").await, Vec::<String>::new());
}

#[tokio::test]
async fn the_log_stays_short_while_provenance_stays_whole() {
    let lake = lake(4);
    let mut ledger = open(&lake, "one").await.ledger;
    for number in 0..50 {
        ledger.commit(cut(number)).await.unwrap();
        if number % 17 == 5 {
            ledger = open(&lake, "next").await.ledger;
        }
    }
    let log = names_below(&lake, "_turnstile/mta/log").await;
    assert!(log.len() <= 16, "{} slots", log.len());
    assert!(names_below(&lake, "_turnstile/mta/history").await.len() >= 11);
    assert!(names_below(&lake, "_turnstile/mta/stage").await.len() <= 2);
    assert!(names_below(&lake, "_turnstile/mta/state").await.len() <= 2);
    let files = entries(&lake, "mta").await.unwrap();
    assert_eq!(
        files.iter().map(|f| f.file.name.clone()).collect::<Vec<_>>(),
        (0..50).map(|n| file(n).name).collect::<Vec<_>>()
    );
    assert_eq!(files[3].file.sources, file(3).sources);
    assert!(files[48].confirmed && !files[49].confirmed);
    let found = audit(&lake, "mta").await.unwrap();
    assert!(found.is_well(), "{found}");
    assert_eq!((found.files, found.rows), (50, 150));
    assert!(found.to_string().starts_with("all is well: 50 files, 150 rows, 5"), "{found}");
}

#[tokio::test]
async fn explain_finds_a_file_by_name_path_or_window_with_all_versions() {
    let lake = lake(4);
    let mut ledger = open(&lake, "one").await.ledger;
    ledger.commit(cut(0)).await.unwrap();
    let mut second = file(0);
    second.name = second.name.replace(".jsonl", "_v2.jsonl");
    second.kind = FileKind::Window { start_us: 0, end_us: MINUTE, version: 2 };
    ledger.commit(Commit { publish: vec![file(1), second.clone()], ..cut(1) }).await.unwrap();
    for what in [
        &second.name,
        &format!("/srv/lake/{}", file(0).name),
        "1970-01-01T00:00Z",
        "19700101T000000Z..19700101T000100Z",
    ] {
        let found = explain(&lake, "mta", what).await.unwrap();
        let names: Vec<_> = found.files.iter().map(|f| f.file.name.clone()).collect();
        assert_eq!(names, vec![file(0).name, second.name.clone()], "{what}");
    }
    assert!(explain(&lake, "mta", "1970-01-02T00:00Z").await.unwrap().files.is_empty());
}

#[tokio::test]
async fn the_plan_of_a_slot_is_known_until_history_takes_it_over() {
    let lake = lake(4);
    let mut ledger = open(&lake, "one").await.ledger;
    for number in 0..12 {
        ledger.commit(cut(number)).await.unwrap();
    }
    let newest = ledger.newest().seq;
    assert_eq!(plan_hash_at(&lake, "mta", newest).await.unwrap().as_deref(), Some("plan"));
    assert_eq!(plan_hash_at(&lake, "mta", 1).await.unwrap(), None);
}

#[tokio::test]
async fn a_file_of_the_last_commit_is_explained_as_published_once_it_is_there() {
    let lake = lake(4);
    let mut ledger = open(&lake, "one").await.ledger;
    ledger.commit(cut(0)).await.unwrap();
    let name = file(0).name;
    let confirmed = async || explain(&lake, "mta", &name).await.unwrap().files[0].confirmed;
    assert!(confirmed().await);
    lake.delete(std::slice::from_ref(&name)).await.unwrap();
    assert!(!confirmed().await, "as after a crash between the commit and its publishing");
    assert!(lake.create(&name, Bytes::from_static(b"another file")).await.unwrap());
    assert!(!confirmed().await, "other bytes under its name are not the file");
}

#[tokio::test]
async fn an_audit_names_what_is_missing_changed_or_foreign() {
    let lake = lake(4);
    let mut ledger = open(&lake, "one").await.ledger;
    for number in 0..12 {
        ledger.commit(cut(number)).await.unwrap();
    }
    let mut other = Ledger::open(&lake, "stations", "plan", writer("one")).await.unwrap().ledger;
    let theirs = NewFile { name: file(90).name.replace("mta", "stations"), ..file(90) };
    other.commit(Commit { publish: vec![theirs], ..cut(0) }).await.unwrap();
    assert!(audit(&lake, "mta").await.unwrap().is_well());

    let store = lake.store();
    store.delete(vec![Path::from(file(2).name), Path::from(file(5).name)]).await.unwrap();
    store.create(&Path::from(file(5).name), file(6).bytes).await.unwrap();
    store.create(&Path::from("date=1970-01-01/by_hand.csv.gz"), Bytes::from_static(b"x")).await.unwrap();
    store.create(&Path::from("README.txt"), Bytes::from_static(b"not a data folder")).await.unwrap();
    let found = audit(&lake, "mta").await.unwrap();
    let text = found.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[0].starts_with(&format!("missing: {}", file(2).name)), "{text}");
    assert!(lines[1].starts_with(&format!("changed: {}", file(5).name)), "{text}");
    assert!(lines[2].starts_with("foreign: date=1970-01-01/by_hand.csv.gz"), "{text}");
    assert!(lines[3].starts_with("NOT WELL: 3 differences in 12 files"), "{text}");
}

#[tokio::test]
async fn a_broken_chain_is_named_wherever_it_breaks() {
    for broken in [
        "history/00000000000000000001-00000000000000000004.jsonl.gz",
        "history/00000000000000000005-00000000000000000008.jsonl.gz",
        "log/00000000000000000013",
    ] {
        for rewritten in [false, true] {
            let lake = lake(4);
            let mut ledger = open(&lake, "one").await.ledger;
            for number in 0..14 {
                ledger.commit(cut(number)).await.unwrap();
            }
            let path = Path::from(format!("_turnstile/mta/{broken}"));
            let bytes = lake.store().get(&path).await.unwrap().expect("the object exists");
            lake.store().delete(vec![path.clone()]).await.unwrap();
            if rewritten {
                // Well-formed, but not what was written: only the chain can tell.
                let forged = if broken.starts_with("log") {
                    let mut slot = Slot::decode(&bytes).unwrap();
                    slot.publish[0].rows += 1;
                    slot.encode()
                } else {
                    let mut segment = history::HistorySegment::decode(&bytes).unwrap();
                    segment.lines[2].files[0].rows += 1;
                    segment.encode()
                };
                lake.store().create(&path, forged.into()).await.unwrap();
            }
            let found = audit(&lake, "mta").await.unwrap();
            assert!(!found.is_well(), "{broken} {rewritten}");
            assert!(found.to_string().contains("ledger: _turnstile/mta/"), "{found}");
            assert!(matches!(entries(&lake, "mta").await, Err(LedgerError::Corrupt { .. })));
        }
    }
}

/// A store without room for more than `room` objects.
#[derive(Debug)]
struct Full {
    inner: Remote,
    room: AtomicUsize,
}

impl LakeStore for Full {
    fn create(&self, path: &Path, bytes: Bytes) -> BoxFuture<'static, Result<Creation, StoreError>> {
        if self.room.load(Ordering::SeqCst) > 0 {
            self.room.fetch_sub(1, Ordering::SeqCst);
            return self.inner.create(path, bytes);
        }
        let (path, source) = (path.to_string(), std::io::Error::from(std::io::ErrorKind::StorageFull).into());
        Box::pin(async { Err(StoreError { operation: "create", path, retriable: false, source }) })
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
        self.inner.delete(paths)
    }
}

#[tokio::test]
async fn a_store_that_is_full_at_any_moment_loses_nothing() {
    // A start takes one object, a commit with one file four: staged file, state, slot, final file.
    for room in 1..=12 {
        let objects = Arc::new(InMemory::new());
        let store = Arc::new(Full { inner: Remote::new(objects.clone(), "memory:"), room: AtomicUsize::new(room) });
        let lake = Lake::assemble("memory:", store.clone(), objects, Arc::new(SystemClock), 1024);
        let mut ledger = open(&lake, "one").await.ledger;
        for number in 0..3 {
            let mut committed = ledger.commit(cut(number)).await;
            if let Err(error) = &committed {
                assert!(matches!(error, LedgerError::Store(e) if !e.retriable), "{error}");
                assert!(error.to_string().contains("could not create _turnstile/mta/"), "{error}");
                store.room.store(100, Ordering::SeqCst);
                committed = ledger.retry().await;
            }
            if !committed.unwrap().pending.is_empty() {
                // Only the final name found no room: the commit is a fact, and the next one publishes it.
                store.room.store(100, Ordering::SeqCst);
            }
        }
        store.room.store(100, Ordering::SeqCst);
        let _published_by_the_next_start = open(&lake, "two").await;
        let found = audit(&lake, "mta").await.unwrap();
        assert!(found.is_well() && found.pending.is_empty() && found.files == 3, "{room}: {found}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    let error = Lake::open("file:/proc/lake", &Default::default()).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(error.to_string(), "the lake file:/proc/lake cannot be used; nothing was changed in it");
    assert!(cause.contains("could not create the folder /proc/lake"), "{cause}");
}
