//! The record under a hostile world: its chain alone, then loaders that add and remove files, write checkpoints and
//! sweep, and what they read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use turnstile_lake::chain::ChainPosition;
use turnstile_lake::simulation::{
    Chaos, SharedWorld, SimulatedRecord, assert_chain_keeps_its_promises, finish, lake, run,
};

use super::super::data::new_name;
use super::super::record::TableDelta;
use super::tests::{data_file, entry, first_table};
use super::*;

const CHAOS: Chaos = Chaos { turns: 6_000, at_once: 4, in_all: 40, start_one_in: 60, crashes: 2, faults: 12 };

/// Loads of one loader.
const LOADS: usize = 4;

/// Files that a table keeps.
const FILES: usize = 2;

/// Entries that are kept: more than are written while a loader sleeps.
const KEPT: u64 = 20;

const SEEDS: u64 = 100;

impl SimulatedRecord for LoadEntry {
    fn next(_: &str, after: ChainPosition, nonce: &str) -> Self {
        let (load, hash) = (after.seq, after.sha256);
        WarehouseState { warehouse: nonce.to_owned(), load, hash, ..WarehouseState::default() }.next_entry()
    }
}

/// The loads that were committed, each with its file.
type CommittedFiles = Rc<RefCell<BTreeMap<u64, String>>>;

/// A record of which so little is kept that all the time something is deleted.
fn record(world: &SharedWorld) -> LoadRecord {
    let record = LoadRecord::new(&lake(world, 1, None), "p");
    LoadRecord { checkpoint_every: 3, entries_kept: KEPT, removed_for_us: 40, ..record }
}

/// Runs one seed and says how many loads were committed.
fn simulate(seed: u64) -> Result<u64, String> {
    let (world, committed) = (SharedWorld::new(seed), CommittedFiles::default());
    run(&world, CHAOS, |_| Box::pin(unless_unanswered(load_some(record(&world), committed.clone()))))?;
    finish(&world, Box::pin(unless_unanswered(all_is_there(record(&world), committed.clone()))))?;
    let loads = committed.borrow().len() as u64;
    Ok(loads)
}

/// A store that does not answer breaks no promise.
async fn unless_unanswered(task: impl Future<Output = Result<(), WarehouseError>>) -> Result<(), String> {
    match task.await {
        Ok(()) | Err(WarehouseError::Store(_)) => Ok(()),
        Err(broken) => Err(broken.to_string()),
    }
}

async fn load_some(record: LoadRecord, committed: CommittedFiles) -> Result<(), WarehouseError> {
    for _ in 0..LOADS {
        let mut state = read(&record, &committed).await?;
        let file = new_name(record.root(), "t", state.load + 1, &record.lake.nonce(), 0);
        record.lake.create(&file, Bytes::from_static(b"x")).await?;
        let next = load_of_file(&state, &file);
        match record.commit(&mut state, &next).await {
            Ok(()) => {
                committed.borrow_mut().insert(state.load, file);
                record.clean_up(&mut state).await?;
            }
            Err(WarehouseError::Moved) => record.discard(vec![file]).await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A load that adds a file, and removes those that are too many.
fn load_of_file(state: &WarehouseState, file: &str) -> LoadEntry {
    let delta = match state.tables.get("t") {
        None => first_table(file.to_owned()),
        Some(table) => TableDelta {
            add: vec![data_file(file.to_owned())],
            remove: table.files.iter().rev().skip(FILES - 1).map(|file| file.name.clone()).collect(),
            ..TableDelta::default()
        },
    };
    LoadEntry { tables: BTreeMap::from([("t".to_owned(), delta)]), ..entry(state, file) }
}

/// The newest state. It has each load once, those among them that were committed before it was asked for.
async fn read(record: &LoadRecord, committed: &CommittedFiles) -> Result<WarehouseState, WarehouseError> {
    let before = committed.borrow().clone();
    let state = record.newest().await?;
    let broken = |what: String| Err(WarehouseError::damaged("the record", what));
    if state.runs.len() as u64 != state.load || state.ledger_seq != state.load {
        return broken(format!("of {} loads it has {}", state.load, state.runs.len()));
    }
    for (load, file) in before {
        if state.runs.get(load as usize - 1).and_then(|run| run.error.as_ref()) != Some(&file) {
            return broken(format!(
                "load {load} was committed, and the newest, {}, does not follow from it",
                state.load
            ));
        }
    }
    Ok(state)
}

/// In peace: the tables' files are there.
async fn all_is_there(record: LoadRecord, committed: CommittedFiles) -> Result<(), WarehouseError> {
    let state = read(&record, &committed).await?;
    for file in state.tables.values().flat_map(|table| &table.files) {
        if record.lake.read(&file.name).await?.is_none() {
            return Err(WarehouseError::missing_file(&file.name));
        }
    }
    Ok(())
}

#[test]
fn the_records_chain_keeps_its_promises_and_every_mutant_is_caught() {
    assert_chain_keeps_its_promises::<LoadEntry>(300);
}

#[test]
fn whatever_happens_to_loaders_the_record_has_each_load_once_and_its_files() {
    let loads: u64 = (0..SEEDS).map(|seed| simulate(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"))).sum();
    println!("{SEEDS} seeds: {loads} loads");
    // Fewer, and nothing would have been swept.
    assert!(loads > 2 * KEPT * SEEDS, "{loads}");
}
