use bytes::Bytes;
use turnstile_lake::chain::{ChainRecord, Unreadable};
use turnstile_lake::{Hash, StoreOptions};

use super::super::data::new_name;
use super::super::load_run::LoadRun;
use super::super::record::{DataFile, TableDelta, TableHead};
use super::super::window_set::WindowSet;
use super::*;

async fn store() -> LoadRecord {
    LoadRecord::new(&Lake::open("memory:", &StoreOptions::default()).await.unwrap(), "p")
}

/// A record in a folder, of which few entries are kept.
async fn in_folder(folder: &tempfile::TempDir) -> LoadRecord {
    let lake = Lake::open(&format!("file:{}", folder.path().display()), &StoreOptions::default()).await.unwrap();
    LoadRecord { checkpoint_every: 4, entries_kept: 9, ..LoadRecord::new(&lake, "p") }
}

async fn commit_some(store: &LoadRecord, loads: usize) -> WarehouseState {
    let mut state = store.newest().await.unwrap();
    for _ in 0..loads {
        let next = entry(&state, "");
        store.commit(&mut state, &next).await.unwrap();
        store.clean_up(&mut state).await.unwrap();
    }
    state
}

/// Changes one byte of an object, as a disk might: a digit in the last part of its JSON.
fn damage(folder: &tempfile::TempDir, object: &str) {
    let path = folder.path().join(object);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.iter().rposition(u8::is_ascii_digit).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// A table with one file, as its first load adds it.
pub(super) fn first_table(file: String) -> TableDelta {
    let head = TableHead {
        kind: turnstile_delivery::TableKind::Table,
        key: vec![],
        description: String::new(),
        columns: vec![],
        model: Hash::of(b"m"),
    };
    TableDelta { made: Some(head), add: vec![data_file(file)], ..TableDelta::default() }
}

pub(super) fn data_file(name: String) -> DataFile {
    DataFile { name, sha256: Hash::of(b"x"), bytes: 1, rows: 0, windows: WindowSet::default() }
}

pub(super) fn entry(state: &WarehouseState, note: &str) -> LoadEntry {
    let run = LoadRun {
        load: state.load + 1,
        to_seq: state.ledger_seq + 1,
        error: Some(note.to_owned()),
        ..LoadRun::embedded(0, 0, state.ledger_seq)
    };
    let next = LoadEntry { ledger_seq: state.ledger_seq + 1, run: Some(run), ..state.next_entry() };
    LoadEntry { warehouse: "w".to_owned(), ..next }
}

#[tokio::test]
async fn of_two_concurrent_loads_the_second_is_refused() {
    let store = store().await;
    let (mut one, mut other) = (store.newest().await.unwrap(), store.newest().await.unwrap());
    let (first, second) = (entry(&one, "one"), entry(&other, "other"));
    store.commit(&mut one, &first).await.unwrap();
    assert!(matches!(store.commit(&mut other, &second).await, Err(WarehouseError::Moved)));
    assert_eq!(other, WarehouseState::default());
    // A commit whose answer was lost is sent again and is the same commit.
    let mut again = WarehouseState::default();
    store.commit(&mut again, &first).await.unwrap();
    assert_eq!(again.hash, one.hash);
}

#[tokio::test]
async fn a_start_reads_a_checkpoint_and_the_few_entries_after_it() {
    let store = store().await;
    let mut state = store.newest().await.unwrap();
    for n in 0..200 {
        let next = entry(&state, &n.to_string());
        store.commit(&mut state, &next).await.unwrap();
        store.clean_up(&mut state).await.unwrap();
    }
    let mut read = store.newest().await.unwrap();
    assert_eq!((read.load, read.hash, read.runs.len()), (200, state.hash, 200));
    assert!(!store.advance(&mut read).await.unwrap());
    assert_eq!(store.lake.list("_warehouse/p/checkpoint", None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_entry_that_does_not_follow_from_the_one_before_is_damage() {
    let store = store().await;
    let mut state = store.newest().await.unwrap();
    let first = entry(&state, "first");
    store.commit(&mut state, &first).await.unwrap();
    let mut foreign = entry(&state, "second");
    foreign.previous = Some(Hash::of(b"another"));
    store.commit(&mut state, &foreign).await.unwrap();
    let error = turnstile_values::human::error(&store.newest().await.unwrap_err());
    assert!(error.contains("00000000000000000002 is damaged: it does not follow"), "{error}");
}

#[tokio::test]
async fn files_of_a_load_that_was_killed_are_deleted_and_those_of_one_under_way_are_not() {
    let store = store().await;
    let mut state = store.newest().await.unwrap();
    let file = |load: u64| new_name("_warehouse/p", "t", load, "nonce", 0);
    for load in [1, 3, 65] {
        store.lake.create(&file(load), Bytes::from_static(b"x")).await.unwrap();
    }
    // A model's first load failed: no table has its name.
    store.lake.create(&new_name("_warehouse/p", "never", 2, "nonce", 0), Bytes::from_static(b"x")).await.unwrap();
    for n in 0..64 {
        let mut next = entry(&state, "");
        if n == 0 {
            next.tables.insert("t".to_owned(), first_table(file(1)));
        }
        store.commit(&mut state, &next).await.unwrap();
        store.clean_up(&mut state).await.unwrap();
    }
    assert_eq!(store.lake.list("_warehouse/p/tables/t", None).await.unwrap(), [file(1), file(65)]);
    assert_eq!(store.lake.list("_warehouse/p/tables/never", None).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_load_that_writes_two_entries_steps_over_no_checkpoint() {
    let store = store().await;
    let mut state = store.newest().await.unwrap();
    for _ in 0..70 {
        for _ in 0..2 {
            let next = entry(&state, "");
            store.commit(&mut state, &next).await.unwrap();
        }
        let first = state.load == 2;
        // Odd from the first tidying on: it never comes by a multiple of 64.
        if first {
            let next = entry(&state, "");
            store.commit(&mut state, &next).await.unwrap();
        }
        store.clean_up(&mut state).await.unwrap();
    }
    let checkpoints = store.lake.list("_warehouse/p/checkpoint", None).await.unwrap();
    assert_eq!(checkpoints, [65, 129].map(|load| format!("_warehouse/p/checkpoint/{load:020}")));
    assert_eq!(store.newest().await.unwrap(), state);
}

#[tokio::test]
async fn a_changed_byte_of_an_entry_is_named_and_nothing_is_read_past_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = in_folder(&folder).await;
    commit_some(&store, 3).await;
    damage(&folder, "_warehouse/p/log/00000000000000000002");
    let error = turnstile_values::human::error(&store.newest().await.unwrap_err());
    assert_eq!(error, "_warehouse/p/log/00000000000000000002 is damaged: its checksum does not match");
}

#[tokio::test]
async fn a_damaged_checkpoint_is_passed_over_and_without_any_a_swept_entry_is_no_empty_warehouse() {
    let folder = tempfile::tempdir().unwrap();
    let store = in_folder(&folder).await;
    let state = commit_some(&store, 9).await;
    let checkpoints = store.checkpoints.names().await.unwrap();
    assert_eq!(checkpoints, [4, 8].map(|load| format!("_warehouse/p/checkpoint/{load:020}")));
    damage(&folder, &checkpoints[1]);
    let read = store.newest().await.unwrap();
    assert_eq!(read, WarehouseState { checkpoint: 4, ..state.clone() });
    // All that the damaged one summed up is still there.
    damage(&folder, &checkpoints[0]);
    assert_eq!(store.newest().await.unwrap(), WarehouseState { checkpoint: 0, ..state });
    commit_some(&store, 8).await;
    assert!(!folder.path().join("_warehouse/p/log/00000000000000000001").exists());
    for checkpoint in store.checkpoints.names().await.unwrap() {
        std::fs::remove_file(folder.path().join(checkpoint)).unwrap();
    }
    let error = turnstile_values::human::error(&store.newest().await.unwrap_err());
    let expected = "no checkpoint can be read, and the entries that they sum up are deleted";
    assert_eq!(error, format!("_warehouse/p/checkpoint is damaged: {expected}"));
}

#[tokio::test]
async fn a_reader_that_was_idle_while_entries_were_swept_reads_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = in_folder(&folder).await;
    let mut idle = commit_some(&store, 2).await;
    let state = commit_some(&store, 20).await;
    assert!(store.advance(&mut idle).await.unwrap());
    assert_eq!((idle.load, idle.hash, idle.runs), (22, state.hash, state.runs));
}

#[tokio::test]
async fn a_load_that_slept_while_entries_were_swept_is_refused_and_what_the_record_holds_of_it_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = in_folder(&folder).await;
    let mut slept = store.newest().await.unwrap();
    let file = |nonce: &str| new_name("_warehouse/p", "t", 1, nonce, 0);
    let mut first = entry(&slept, "first");
    first.tables.insert("t".to_owned(), first_table(file("held")));
    let mut state = slept.clone();
    store.commit(&mut state, &first).await.unwrap();
    commit_some(&store, 20).await;
    // The name is free again, and the create succeeds.
    assert!(!folder.path().join("_warehouse/p/log/00000000000000000001").exists());
    assert!(matches!(store.commit(&mut slept, &first).await, Err(WarehouseError::Moved)));
    for nonce in ["held", "lost"] {
        store.lake.create(&file(nonce), Bytes::from_static(b"x")).await.unwrap();
    }
    store.discard(vec![file("held"), file("lost")]).await.unwrap();
    assert_eq!(store.lake.list("_warehouse/p/tables/t", None).await.unwrap(), [file("held")]);
    assert_eq!(store.newest().await.unwrap().load, 21);
}

#[test]
fn an_entry_tells_whether_it_arrived_whole_and_which_format_it_has() {
    let entry = entry(&WarehouseState::default(), "first");
    let bytes = entry.encode();
    assert!(bytes.starts_with(b"turnstile-warehouse 2 crc32c="));
    assert_eq!(LoadEntry::decode(&bytes).unwrap(), entry);
    // What a program that knows format 1 alone makes of it.
    assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_err());
    let newer = String::from_utf8(bytes).unwrap().replacen(" 2 ", " 3 ", 1);
    let newer = LoadEntry::decode(newer.as_bytes());
    assert!(matches!(newer, Err(Unreadable::Newer { found: 3, known: 2 })));
    assert!(matches!(LoadEntry::decode(b"{\"load\":1"), Err(Unreadable::Damaged(_))));
}
