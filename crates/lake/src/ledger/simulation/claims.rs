//! What must be true of the lake after any run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Outcome;
use super::writer::{MESSAGES, PARTITIONS, PIPELINE};
use crate::chain::ChainRecord;
use crate::hash::Hash;
use crate::lake::Lake;
use crate::ledger::Ledger;
use crate::read::entries;
use crate::simulation::SharedWorld;
use crate::slot::Slot;

/// A slot that was ever created, with the time at which it could first be seen.
type Slots = HashMap<Hash, (i64, Slot)>;

pub(super) fn check(world: &SharedWorld, lake: Lake) -> Result<Outcome, String> {
    let chain = chain(world, &lake)?;
    offsets_only_grow(&chain)?;
    let committed = committed_files(&chain)?;
    every_file_is_the_committed_one(world, &committed)?;
    no_message_is_lost_or_doubled(&committed, world)?;
    provenance_is_the_chain(world, lake, &committed)?;
    let newest = &chain.last().ok_or("nothing was committed")?.1;
    let world = world.get();
    Ok(Outcome { slots: newest.seq, epochs: newest.epoch, fenced: world.fenced, faults: world.faults })
}

/// The committed chain, oldest first: from the newest slot back along the hashes, through all slots
/// that ever were, collected or not.
fn chain(world: &SharedWorld, lake: &Lake) -> Result<Vec<(i64, Slot)>, String> {
    let mut slots = Slots::new();
    for (time, path, bytes) in &world.get().created {
        if path.as_ref().contains("/log/") {
            // A late request may write a collected slot once more: the first time counts.
            let slot = Slot::decode(bytes).map_err(|e| format!("{path}: {e:?}"))?;
            slots.entry(Hash::of(bytes)).or_insert((*time, slot));
        }
    }
    let newest = wait(world, Ledger::peek(lake, PIPELINE))?.map_err(|e| e.to_string())?.ok_or("no slot")?;
    let mut hash = slots.iter().find(|(_, (_, slot))| *slot == newest).map(|(hash, _)| *hash);
    let mut chain = Vec::new();
    while let Some(at) = hash {
        let found = slots.get(&at).ok_or("a slot names one that never was")?;
        hash = found.1.previous;
        chain.push(found.clone());
    }
    chain.reverse();
    let numbers: Vec<u64> = chain.iter().map(|(_, slot)| slot.seq).collect();
    if numbers != (1..=newest.seq).collect::<Vec<_>>() {
        return Err(format!("the chain has the slots {numbers:?}"));
    }
    Ok(chain)
}

fn offsets_only_grow(chain: &[(i64, Slot)]) -> Result<(), String> {
    let mut next: HashMap<String, i64> = HashMap::new();
    for position in chain.iter().flat_map(|(_, slot)| &slot.positions) {
        let before = next.insert(position.partition.to_string(), position.next_offset);
        if before.is_some_and(|before| before > position.next_offset) {
            return Err(format!("{} went back to {}", position.partition, position.next_offset));
        }
    }
    Ok(())
}

/// Name to hash and time of commit.
fn committed_files(chain: &[(i64, Slot)]) -> Result<BTreeMap<String, (Hash, i64)>, String> {
    let mut files = BTreeMap::new();
    for (time, slot) in chain {
        for file in &slot.publish {
            if files.insert(file.name.clone(), (file.sha256, *time)).is_some() {
                return Err(format!("{} was committed twice", file.name));
            }
        }
    }
    Ok(files)
}

fn every_file_is_the_committed_one(
    world: &SharedWorld,
    committed: &BTreeMap<String, (Hash, i64)>,
) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for (time, path, bytes) in world.get().created.iter().filter(|(_, path, _)| path.as_ref().starts_with("data/")) {
        let Some((sha256, committed_at)) = committed.get(path.as_ref()) else {
            return Err(format!("{path} was visible and never committed"));
        };
        if *sha256 != Hash::of(bytes) {
            return Err(format!("{path} was visible with content that was not committed"));
        }
        if time < committed_at {
            return Err(format!("{path} was visible before it was committed"));
        }
        seen.insert(path.to_string());
    }
    match committed.keys().find(|name| !seen.contains(*name)) {
        Some(name) => Err(format!("{name} was committed and never published")),
        None => Ok(()),
    }
}

fn no_message_is_lost_or_doubled(committed: &BTreeMap<String, (Hash, i64)>, world: &SharedWorld) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for (_, path, bytes) in &world.get().created {
        if committed.contains_key(path.as_ref()) {
            for row in std::str::from_utf8(bytes).map_err(|e| e.to_string())?.split(' ') {
                *seen.entry(row.to_owned()).or_insert(0) += 1;
            }
        }
    }
    let expected: BTreeMap<String, i32> = (0..PARTITIONS)
        .flat_map(|partition| (0..MESSAGES).map(move |offset| (format!("{partition}:{offset}"), 1)))
        .collect();
    if seen == expected { Ok(()) } else { Err(format!("the files hold {seen:?}")) }
}

/// What history and log say, rolled up and collected as they are, is what was committed.
fn provenance_is_the_chain(
    world: &SharedWorld,
    lake: Lake,
    committed: &BTreeMap<String, (Hash, i64)>,
) -> Result<(), String> {
    let read = wait(world, entries(&lake, PIPELINE))?.map_err(|e| e.to_string())?;
    let read: BTreeMap<String, Hash> = read.into_iter().map(|found| (found.file.name, found.file.sha256)).collect();
    let expected: BTreeMap<String, Hash> = committed.iter().map(|(name, (hash, _))| (name.clone(), *hash)).collect();
    if read == expected { Ok(()) } else { Err("provenance differs from what was committed".to_owned()) }
}

fn wait<T>(world: &SharedWorld, future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = Box::pin(future);
    for _ in 0..100_000 {
        let mut context = std::task::Context::from_waker(futures::task::noop_waker_ref());
        if let std::task::Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return Ok(done);
        }
        world.all_requests_take_effect();
    }
    Err("reading does not come to an end".to_owned())
}
