//! Any chain in a hostile environment: writers that append, act on what they committed, and sweep old entries.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Chaos, Mutant, SharedWorld, SimTask, finish, lake, run};
use crate::chain::{Appended, Chain, ChainError, ChainPosition, ChainRecord};
use crate::hash::Hash;
use crate::lake::Lake;

/// The chain's name, and the folder of its entries.
const NAME: &str = "sim";
const FOLDER: &str = "sim/log";

/// Entries that stay behind the newest: few, so that entries are swept all the time.
const KEPT: u64 = 2;

/// Entries that one writer appends.
const APPENDS: usize = 4;

const CHAOS: Chaos = Chaos { turns: 500, at_once: 6, in_all: 8, start_one_in: 60, crashes: 2, faults: 12 };

/// A record that a simulation can make.
pub trait SimulatedRecord: ChainRecord {
    /// The record that follows a place. `nonce` is of no other record.
    fn next(chain_name: &str, after: ChainPosition, nonce: &str) -> Self;
}

/// What a run went through, so that a test can say that the chaos was chaotic.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ChainOutcome {
    /// Entries of the chain.
    pub entries: u64,
    /// Appends that lost.
    pub raced: u64,
    /// Requests that failed.
    pub faults: u64,
    /// Writers that crashed.
    pub crashes: u64,
}

/// What writers learned: the places that were committed, and how many appends lost.
type Answers = Arc<Mutex<(Vec<ChainPosition>, u64)>>;

/// Runs seeds over one kind of record.
///
/// # Errors
/// A promise was broken: an entry that was committed is not part of the chain, something was done for an entry that is
/// not, the chain has a hole, or it cannot be read.
pub fn simulate_chain<R: SimulatedRecord>(seeds: Range<u64>, mutant: Option<Mutant>) -> Result<ChainOutcome, String> {
    let mut sum = ChainOutcome::default();
    for seed in seeds {
        let one = simulate::<R>(seed, mutant).map_err(|broken| format!("seed {seed}: {broken}"))?;
        sum.entries += one.entries;
        sum.raced += one.raced;
        sum.faults += one.faults;
        sum.crashes += one.crashes;
    }
    Ok(sum)
}

/// For tests: runs seeds over one kind of record, as the protocol is and with each mutant.
///
/// # Panics
/// A promise was broken, the chaos was too tame to prove anything, or a mutant breaks no promise.
#[track_caller]
pub fn assert_chain_keeps_its_promises<R: SimulatedRecord>(seeds: u64) {
    let outcome = simulate_chain::<R>(0..seeds, None).unwrap_or_else(|broken| panic!("{broken}"));
    println!("{seeds} seeds: {outcome:?}");
    assert!(outcome.entries > 8 * seeds && outcome.raced > seeds / 2 && outcome.faults > seeds, "{outcome:?}");
    assert!(outcome.crashes > seeds / 4, "{outcome:?}");
    for mutant in Mutant::ALL {
        let caught = simulate_chain::<R>(0..seeds, Some(mutant)).err();
        println!("{mutant:?}: {}", caught.unwrap_or_else(|| panic!("{mutant:?} goes unnoticed")));
    }
}

fn simulate<R: SimulatedRecord>(seed: u64, mutant: Option<Mutant>) -> Result<ChainOutcome, String> {
    let (world, answers) = (SharedWorld::new(seed), Answers::default());
    let start = |_| -> SimTask {
        Box::pin(write::<R>(lake(&world, 1, mutant), world.clone(), answers.clone(), mutant == Some(Mutant::ActFirst)))
    };
    run(&world, CHAOS, start)?;
    let whole = Arc::new(Mutex::new(None));
    finish(&world, Box::pin(read::<R>(lake(&world, 1, None), whole.clone())))?;
    let newest = whole.lock().ok_or("nothing was committed")?;
    let answers = answers.lock();
    let chain = chain::<R>(&world, newest)?;
    if let Some(lost) = answers.0.iter().find(|place| chain.get(&place.seq).map(|(hash, _)| *hash) != place.sha256) {
        return Err(format!("entry {} was committed and is not part of the chain", lost.seq));
    }
    acts_follow_entries(&world, &chain)?;
    let world = world.get();
    Ok(ChainOutcome { entries: newest.seq, raced: answers.1, faults: world.faults, crashes: world.crashes })
}

/// Appends some entries, each to the newest, and acts on those that were committed.
async fn write<R: SimulatedRecord>(
    lake: Lake,
    world: SharedWorld,
    answers: Answers,
    acts_first: bool,
) -> Result<(), String> {
    let chain = Chain::<R>::new(&lake, NAME, FOLDER);
    let Some(mut place) = newest(&chain).await? else { return Ok(()) };
    for _ in 0..APPENDS {
        let record = R::next(NAME, place, &lake.nonce());
        let position = ChainPosition { seq: record.seq(), sha256: Some(Hash::of(&record.encode())) };
        if acts_first {
            act(&lake, position).await;
        }
        let mut done = chain.append(&record).await;
        for _ in 0..2 {
            if matches!(done, Err(ChainError::Store(_))) {
                done = chain.append(&record).await;
            }
        }
        match done {
            Ok(Appended::Committed(committed)) => {
                answers.lock().0.push(committed);
                act(&lake, committed).await;
                place = committed;
            }
            Ok(Appended::Raced(_)) => {
                answers.lock().1 += 1;
                match newest(&chain).await? {
                    Some(newest) => place = newest,
                    None => return Ok(()),
                }
            }
            Err(ChainError::Store(_)) => return Ok(()),
            Err(broken) => return Err(format!("a writer met: {broken}")),
        }
        if world.roll(2) == 0 && chain.sweep(1..place.seq.saturating_sub(KEPT)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Where the chain stands; `None`: the store did not say.
async fn newest<R: ChainRecord>(chain: &Chain<R>) -> Result<Option<ChainPosition>, String> {
    match chain.newest().await {
        Ok(found) => Ok(Some(found.map(|entry| entry.position).unwrap_or_default())),
        Err(ChainError::Store(_)) => Ok(None),
        Err(broken) => Err(format!("a reader met: {broken}")),
    }
}

/// What a writer does because of an entry, such as publishing a file.
async fn act(lake: &Lake, position: ChainPosition) {
    let hash = position.sha256.map(|hash| hash.to_string()).unwrap_or_default();
    // A store that fails leaves it undone: that is no broken promise.
    let _unknown = lake.create(&format!("sim/acts/{:020}-{hash}", position.seq), hash.into_bytes().into()).await;
}

async fn read<R: ChainRecord>(lake: Lake, newest: Arc<Mutex<Option<ChainPosition>>>) -> Result<(), String> {
    let found = Chain::<R>::new(&lake, NAME, FOLDER).newest().await.map_err(|e| e.to_string())?;
    *newest.lock() = found.map(|entry| entry.position);
    Ok(())
}

/// The entries from the newest back along the hashes, through all that ever were, swept or not, each with the time at
/// which it could first be seen.
fn chain<R: ChainRecord>(world: &SharedWorld, newest: ChainPosition) -> Result<HashMap<u64, (Hash, i64)>, String> {
    let mut created: HashMap<Hash, (i64, R)> = HashMap::new();
    for (time, path, bytes) in world.get().created.iter().filter(|(_, path, _)| path.as_ref().starts_with(FOLDER)) {
        // A late request may write a swept entry once more: the first time counts.
        let record = R::decode(bytes).map_err(|why| format!("{path}: {why:?}"))?;
        created.entry(Hash::of(bytes)).or_insert((*time, record));
    }
    let (mut chain, mut hash, mut seq) = (HashMap::new(), newest.sha256, newest.seq);
    while let Some(at) = hash {
        let (time, record) = created.get(&at).ok_or("an entry names one that never was")?;
        if record.seq() != seq {
            return Err(format!("entry {} stands where {seq} should", record.seq()));
        }
        chain.insert(seq, (at, *time));
        (hash, seq) = (record.previous(), seq - 1);
    }
    if seq == 0 { Ok(chain) } else { Err(format!("the chain begins after entry {seq}")) }
}

fn acts_follow_entries(world: &SharedWorld, chain: &HashMap<u64, (Hash, i64)>) -> Result<(), String> {
    let committed: BTreeSet<(Hash, i64)> = chain.values().copied().collect();
    for (time, path, bytes) in world.get().created.iter().filter(|(_, path, _)| path.as_ref().starts_with("sim/acts")) {
        let hash: Hash = String::from_utf8_lossy(bytes).parse().map_err(|e| format!("{path}: {e}"))?;
        match committed.iter().find(|(committed, _)| *committed == hash) {
            Some((_, since)) if since < time => {}
            Some(_) => return Err(format!("{path} was done before its entry was committed")),
            None => return Err(format!("{path} was done for an entry that is not part of the chain")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maintenance::MaintenanceSlot;
    use crate::slot::{Slot, WriterId};

    impl SimulatedRecord for Slot {
        fn next(chain_name: &str, after: ChainPosition, nonce: &str) -> Self {
            let mut slot = crate::slot::tests::slot();
            (slot.pipeline, slot.nonce) = (chain_name.to_owned(), nonce.to_owned());
            (slot.seq, slot.previous) = (after.seq + 1, after.sha256);
            slot
        }
    }

    impl SimulatedRecord for MaintenanceSlot {
        fn next(chain_name: &str, after: ChainPosition, nonce: &str) -> Self {
            Self {
                pipeline: chain_name.to_owned(),
                seq: after.seq + 1,
                nonce: nonce.to_owned(),
                previous: after.sha256,
                committed_at_us: 0,
                writer: WriterId::default(),
                ledger_seq: 0,
                compacted: vec![],
                letters: vec![],
                retired: vec![],
                deleted: vec![],
            }
        }
    }

    const SEEDS: u64 = 300;

    #[test]
    fn the_ledgers_log_keeps_its_promises_and_every_mutant_is_caught() {
        assert_chain_keeps_its_promises::<Slot>(SEEDS);
    }

    #[test]
    fn the_chain_of_maintenance_keeps_its_promises_and_every_mutant_is_caught() {
        assert_chain_keeps_its_promises::<MaintenanceSlot>(SEEDS);
    }
}
