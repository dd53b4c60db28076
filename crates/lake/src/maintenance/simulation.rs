//! Maintenance in a hostile environment: concurrent writers, maintainers and readers, with crashes, sleeps, lost
//! responses and late effects, on the store of the ledger's own simulation. Start at [`run`].

use std::collections::{BTreeMap, BTreeSet};
use turnstile_message::TopicPartition;

use super::{Compact, MaintenanceError, MaintenancePolicy, maintain};
use crate::error::LedgerError;
use crate::format::FileEncoding;
use crate::lake::Lake;
use crate::ledger::{Commit, Ledger};
use crate::read::{Catalog, DeadLetterReader, audit, dead_letter_files, entries};
use crate::scene::{DAY, MINUTE, PIPELINE, letters_file, read_current, rows, window_file};
use crate::simulation::{self, Chaos, SharedWorld, SimTask, finish};
use crate::slot::{FileKind, WriterId};
use turnstile_message::{Counters, PartitionPosition};

/// Slots in a file of history: few, so that slots are collected all the time.
const SEGMENT: u64 = 4;

const CHAOS: Chaos = Chaos { turns: 1_500, at_once: 5, in_all: usize::MAX, start_one_in: 20, crashes: 3, faults: 8 };

/// Commits that a writer makes before it ends.
const COMMITS: u64 = 6;

/// Windows that ended longer ago than this are retired.
const RETAIN: i64 = 2 * DAY;

/// Requests that take effect while retired objects stay.
const GRACE: i64 = 40;

/// What a run went through.
#[derive(Debug, Default, Clone, Copy)]
struct Outcome {
    maintained: u64,
    merged: u64,
    raced: u64,
    crashes: u64,
    read: u64,
}

/// Counts of a run, shared by its tasks.
type Counts = std::rc::Rc<std::cell::Cell<Outcome>>;

fn run(seed: u64) -> Result<Outcome, String> {
    let world = SharedWorld::new(seed);
    let counts = Counts::default();
    simulation::run(&world, CHAOS, |number| start(&world, &counts, if number == 1 { 0 } else { world.roll(5) }))?;
    finish(&world, Box::pin(last(lake(&world), world.clone(), counts.clone())))?;
    count(&counts, |counts| counts.crashes += world.get().crashes);
    Ok(counts.get())
}

fn start(world: &SharedWorld, counts: &Counts, kind: u64) -> SimTask {
    let (lake, world, counts) = (lake(world), world.clone(), counts.clone());
    match kind {
        0 | 1 => Box::pin(write(lake, world)),
        2 | 3 => Box::pin(keep(lake, world, counts)),
        _ => Box::pin(read(lake, world, counts)),
    }
}

fn lake(world: &SharedWorld) -> Lake {
    simulation::lake(world, SEGMENT, None)
}

/// Publishes windows of days that go by, and corrections of earlier ones.
async fn write(lake: Lake, world: SharedWorld) -> Result<(), String> {
    let mut ledger = match Ledger::open(&lake, PIPELINE, "plan", WriterId::default()).await {
        Ok(opened) => opened.ledger,
        Err(error) => return stopped(error),
    };
    for _ in 0..COMMITS {
        let before = &ledger.newest().counters;
        let (read, rejected) = (before.read + 1, u64::from(world.roll(3) == 0));
        let (aggregated, dead_lettered) = (before.aggregated + 1 - rejected, before.dead_lettered + rejected);
        let mut cut = Commit {
            positions: vec![position(read)],
            // Half a day a commit.
            published_until_us: Some(read as i64 * DAY / 2),
            counters: Counters { read, aggregated, dead_lettered, ..Counters::default() },
            ..Commit::default()
        };
        if rejected > 0 {
            cut.publish.push(letters_file(ledger.next_seq(), read as i64 - 1));
        }
        let first = read as i64 * 12 * 60;
        for window in 0..world.roll(3) as i64 {
            cut.publish.push(window_file(FileEncoding::CsvGz, first - 60 + window * 5, 1));
        }
        if world.roll(3) == 0 {
            // A version that is never given twice; its window may or may not have been published before.
            let minute = (1 + world.roll(read)) as i64 * 12 * 60 - 60;
            cut.publish.push(window_file(FileEncoding::CsvGz, minute, 1 + read as u32));
        }
        let mut committed = ledger.commit(cut).await;
        while matches!(committed, Err(LedgerError::Store(_))) && ledger.is_unfinished() && world.roll(4) > 0 {
            committed = ledger.retry().await;
        }
        if let Err(error) = committed {
            return stopped(error);
        }
    }
    Ok(())
}

fn position(read: u64) -> PartitionPosition {
    PartitionPosition {
        partition: TopicPartition::new("t", 0),
        next_offset: read as i64,
        leader_epoch: None,
        max_event_us: None,
        idle: false,
        fingerprint: None,
    }
}

fn stopped(error: LedgerError) -> Result<(), String> {
    match error {
        LedgerError::Fenced { .. } | LedgerError::Store(_) => Ok(()),
        broken => Err(format!("a writer met: {broken}")),
    }
}

/// Maintains the lake some times, under one policy or another.
async fn keep(lake: Lake, world: SharedWorld, counts: Counts) -> Result<(), String> {
    for _ in 0..1 + world.roll(4) {
        let compact = [Compact::Off, Compact::ClosedDays, Compact::All][world.roll(3) as usize];
        let policy = MaintenancePolicy {
            compact,
            letters: compact,
            retain_us: (world.roll(2) == 0).then_some(RETAIN),
            grace_us: (world.roll(3) > 0).then_some(GRACE),
            sweep_all: world.roll(3) == 0,
        };
        match maintain(&lake, PIPELINE, &policy, &[], &WriterId::default(), |_| {}).await {
            Ok(None) | Err(MaintenanceError::Ledger(LedgerError::Store(_))) => {}
            Ok(Some(applied)) => {
                count(&counts, |counts| {
                    counts.maintained += applied.compacted.len() as u64;
                    counts.merged += applied.letters.len() as u64;
                    counts.raced += u64::from(applied.raced);
                });
                // Another one may have deleted what this one planned to read, long after it had planned.
                let foreign = |failed: &&MaintenanceError| {
                    !matches!(failed, MaintenanceError::Changed { found: None, .. })
                        && !matches!(failed, MaintenanceError::Ledger(LedgerError::Store(_)))
                };
                if let Some(failed) = applied.failed.iter().find(foreign) {
                    return Err(format!("maintenance met: {failed}"));
                }
            }
            Err(broken) => return Err(format!("maintenance met: {broken}")),
        }
    }
    Ok(())
}

/// Reads the lake some times, from the beginning or from its last position.
async fn read(lake: Lake, world: SharedWorld, counts: Counts) -> Result<(), String> {
    let mut known: Option<Catalog> = None;
    for _ in 0..3 {
        let catalog = match &known {
            Some(catalog) if world.roll(2) == 0 => catalog.advance(&lake).await.map(Some),
            _ => Catalog::read(&lake, PIPELINE).await,
        };
        match catalog {
            Ok(Some(catalog)) => {
                shows_what_was_committed(&lake, &catalog, &counts).await?;
                known = Some(catalog);
            }
            Ok(None) | Err(LedgerError::Store(_)) => {}
            Err(broken) => return Err(format!("a reader met: {broken}")),
        }
    }
    Ok(())
}

/// Each window's highest version up to the catalog's position is current, with its rows, unless its time had come.
async fn shows_what_was_committed(lake: &Lake, catalog: &Catalog, counts: &Counts) -> Result<(), String> {
    let published = match entries(lake, PIPELINE).await {
        Ok(published) => published,
        Err(LedgerError::Store(_)) => return Ok(()),
        Err(broken) => return Err(format!("a reader met: {broken}")),
    };
    let mut highest: BTreeMap<(i64, i64), u32> = BTreeMap::new();
    for published in published.iter().filter(|published| published.seq <= catalog.position().seq) {
        if let FileKind::Window { start_us, end_us, version } = published.file.kind {
            let counts = highest.entry((start_us, end_us)).or_default();
            *counts = version.max(*counts);
        }
    }
    let reached = catalog.newest().published_until_us.unwrap_or(i64::MIN);
    let mut expected = BTreeMap::new();
    for ((start_us, end_us), version) in highest {
        let extent = catalog.extent(start_us, end_us, version).ok_or("a window is not in the catalog")?;
        if !extent.gone {
            expected.insert(start_us / MINUTE, rows(start_us / MINUTE, version));
        } else if end_us > reached - RETAIN {
            return Err(format!("the window from minute {} was retired too early", start_us / MINUTE));
        }
    }
    match read_current(lake, catalog).await {
        Ok(Some(found)) if found != expected => Err(format!("a reader read {found:?}, committed was {expected:?}")),
        Ok(Some(_)) => {
            count(counts, |counts| counts.read += 1);
            Ok(())
        }
        // Retired and deleted since: a reader takes a newer catalog.
        Ok(None) | Err(_) => Ok(()),
    }
}

/// In peace: one writer ends its work, maintenance goes on until nothing is left to do, and all is well.
async fn last(lake: Lake, world: SharedWorld, counts: Counts) -> Result<(), String> {
    write(lake.clone(), world).await?;
    let all = MaintenancePolicy {
        compact: Compact::All,
        letters: Compact::All,
        retain_us: Some(RETAIN),
        grace_us: Some(0),
        sweep_all: true,
    };
    for _ in 0..2 {
        let done =
            maintain(&lake, PIPELINE, &all, &[], &WriterId::default(), |_| {}).await.map_err(|e| e.to_string())?;
        if let Some(failed) = done.ok_or("no ledger")?.failed.first() {
            return Err(format!("maintenance met in peace: {failed}"));
        }
    }
    let catalog = Catalog::read(&lake, PIPELINE).await.map_err(|e| e.to_string())?.ok_or("no ledger")?;
    let before = counts.get().read;
    shows_what_was_committed(&lake, &catalog, &counts).await?;
    if counts.get().read == before {
        return Err("in peace a reader could not read".to_owned());
    }
    every_dead_letter_is_found(&lake, catalog.newest().counters.dead_lettered).await?;
    let found = audit(&lake, PIPELINE).await.map_err(|e| e.to_string())?;
    if found.is_well() && found.leftovers.is_empty() { Ok(()) } else { Err(found.to_string()) }
}

/// Each message that was rejected is in one file, wherever that lies now: none was old enough to go.
async fn every_dead_letter_is_found(lake: &Lake, rejected: u64) -> Result<(), String> {
    let mut reader = DeadLetterReader::new(lake);
    let mut offsets = BTreeSet::new();
    let files = dead_letter_files(lake, PIPELINE).await.map_err(|e| e.to_string())?;
    for file in &files {
        let letters = reader.read(file).await.map_err(|e| e.to_string())?;
        let letters = letters.ok_or_else(|| format!("the dead letters of commit {} are gone", file.seq))?;
        offsets.extend(letters.into_iter().map(|letter| letter.position.offset));
    }
    match (files.len() as u64, offsets.len() as u64) {
        (files, found) if (files, found) == (rejected, rejected) => Ok(()),
        found => Err(format!("{rejected} dead letters were counted, and {found:?} found")),
    }
}

fn count(counts: &Counts, change: impl FnOnce(&mut Outcome)) {
    let mut changed = counts.get();
    change(&mut changed);
    counts.set(changed);
}

/// Seeds that maintenance must survive.
const SEEDS: u64 = 100;

#[test]
fn whatever_happens_readers_read_what_was_committed() {
    let mut sum = Outcome::default();
    let mut broken = Vec::new();
    for seed in 0..SEEDS {
        let one = run(seed).unwrap_or_else(|why| {
            broken.push(format!("seed {seed}: {why}"));
            Outcome::default()
        });
        sum.maintained += one.maintained;
        sum.merged += one.merged;
        sum.raced += one.raced;
        sum.crashes += one.crashes;
        sum.read += one.read;
    }
    assert!(broken.is_empty(), "{} seeds: {}", broken.len(), broken.join("\n"));
    println!("{SEEDS} seeds: {sum:?}");
    // Without compactions, races, crashes and reads the run would prove nothing.
    assert!(
        sum.maintained > SEEDS
            && sum.merged > SEEDS / 4
            && sum.raced > 0
            && sum.crashes > SEEDS
            && sum.read > 2 * SEEDS,
        "{sum:?}"
    );
}
