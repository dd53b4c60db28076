use turnstile_lake::StoreOptions;

use super::super::data::new_name;
use super::super::load_run::LoadRun;
use super::super::record::{DataFile, TableDelta, TableHead};
use super::super::window_set::WindowSet;
use super::*;

async fn store() -> LoadRecord {
    LoadRecord::new(&Lake::open("memory:", &StoreOptions::default()).await.unwrap(), "p")
}

fn entry(state: &WarehouseState, note: &str) -> LoadEntry {
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
    let error = store.newest().await.unwrap_err().to_string();
    assert!(error.contains("00000000000000000002 is damaged: it does not follow"), "{error}");
}

#[tokio::test]
async fn files_of_a_load_that_was_killed_are_deleted_and_those_of_one_under_way_are_not() {
    let store = store().await;
    let mut state = store.newest().await.unwrap();
    let head = TableHead {
        kind: turnstile_delivery::TableKind::Table,
        key: vec![],
        description: String::new(),
        columns: vec![],
        model: Hash::of(b"m"),
    };
    let file = |load: u64| new_name("_warehouse/p", "t", load, "nonce", 0);
    for load in [1, 3, 65] {
        store.lake.create(&file(load), Bytes::from_static(b"x")).await.unwrap();
    }
    // A model's first load failed: no table has its name.
    store.lake.create(&new_name("_warehouse/p", "never", 2, "nonce", 0), Bytes::from_static(b"x")).await.unwrap();
    for n in 0..64 {
        let mut next = entry(&state, "");
        if n == 0 {
            let data =
                DataFile { name: file(1), sha256: Hash::of(b"x"), bytes: 1, rows: 0, windows: WindowSet::default() };
            let delta = TableDelta { made: Some(head.clone()), add: vec![data], ..TableDelta::default() };
            next.tables.insert("t".to_owned(), delta);
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
