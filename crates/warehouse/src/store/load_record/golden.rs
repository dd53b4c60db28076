//! A record of format 1 is read, and goes on.
//!
//! `testdata/record_1.txt` has the objects that the last program of that format left: loads, a corrected window, merged
//! runs of deliveries past a checkpoint, two more loads; and, under `state`, what it made of them.

use turnstile_lake::{Hash, StoreOptions};

use super::tests::entry;
use super::*;

const GOLDEN: &str = include_str!("../../../testdata/record_1.txt");

/// The newest entry in it.
const NEWEST: &str = "_warehouse/p/log/00000000000000000066";

fn objects() -> impl Iterator<Item = (&'static str, &'static str)> {
    GOLDEN.split("\n== ").skip(1).map(|object| object.split_once('\n').unwrap())
}

fn golden(wanted: &str) -> &'static str {
    objects().find(|(name, _)| *name == wanted).unwrap().1
}

async fn record(folder: &tempfile::TempDir) -> LoadRecord {
    for (name, content) in objects().filter(|(name, _)| *name != "state") {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let lake = Lake::open(&format!("file:{}", folder.path().display()), &StoreOptions::default()).await.unwrap();
    LoadRecord::new(&lake, "p")
}

/// Without the instants at which files were let go: they are those of the process that read the entry.
fn undated(state: &WarehouseState) -> WarehouseState {
    let removed = state.removed.iter().map(|(name, _)| (name.clone(), 0)).collect();
    WarehouseState { removed, ..state.clone() }
}

#[tokio::test]
async fn a_record_of_format_1_is_read_to_the_state_that_its_program_read() {
    let folder = tempfile::tempdir().unwrap();
    let record = record(&folder).await;
    let expected: WarehouseState = serde_json::from_str(golden("state")).unwrap();
    assert_eq!((expected.load, expected.checkpoint, expected.tables.len()), (66, 64, 3));
    assert_eq!(undated(&record.newest().await.unwrap()), undated(&expected));
    let changed = record.entries_since(63, 66).await.unwrap().unwrap();
    assert_eq!(changed.iter().filter(|entry| !entry.record.windows.is_empty()).count(), 2);
    // Its checkpoint says what its entries say.
    std::fs::remove_dir_all(folder.path().join("_warehouse/p/checkpoint")).unwrap();
    let from_the_first = WarehouseState { checkpoint: 64, ..record.newest().await.unwrap() };
    assert_eq!(undated(&from_the_first), undated(&expected));
}

#[tokio::test]
async fn entries_and_checkpoints_of_format_2_follow_those_of_format_1() {
    let folder = tempfile::tempdir().unwrap();
    let record = LoadRecord { checkpoint_every: 3, ..record(&folder).await };
    let mut state = record.newest().await.unwrap();
    let next = entry(&state, "");
    assert_eq!(next.previous, Some(Hash::of(golden(NEWEST).as_bytes())));
    record.commit(&mut state, &next).await.unwrap();
    assert_eq!(undated(&record.newest().await.unwrap()), undated(&state));
    record.clean_up(&mut state).await.unwrap();
    let checkpoints = record.checkpoints.names().await.unwrap();
    assert_eq!(checkpoints, [64, 67].map(|load| format!("_warehouse/p/checkpoint/{load:020}")));
    let next = entry(&state, "");
    record.commit(&mut state, &next).await.unwrap();
    assert_eq!(record.newest().await.unwrap(), state);
}
