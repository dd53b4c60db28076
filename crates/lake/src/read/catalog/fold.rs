//! Commits and maintenance slots, folded into a table of extents.
//!
//! The result does not depend on how the two chains interleave: versions decide what is current, and a maintenance
//! slot names only what was published before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::day::Day;
use super::{DeadLettersFile, Leaving, LettersObject};
use crate::day::day_of;
use crate::format::names::{dead_letters_of, partition_of};
use crate::maintenance_slot::MaintenanceSlot;
use crate::read::CommitRecord;
use crate::slot::FileKind;

/// All files of a pipeline. Days are shared between tables: a table that is one commit further copies one day.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ExtentTable {
    /// By the UTC day on which windows start.
    pub(super) days: BTreeMap<i64, Arc<Day>>,
    /// By the UTC day of their commits; deleted ones are left out.
    pub(super) dead_letters: BTreeMap<i64, Arc<Vec<DeadLettersFile>>>,
    /// Objects that hold dead letters of several commits, by name; deleted ones are left out.
    pub(super) letters: BTreeMap<String, LettersObject>,
    /// Retired objects that are not known to be deleted, by name.
    pub(super) leaving: BTreeMap<String, Leaving>,
    /// The length of the longest window.
    pub(super) longest_us: i64,
    /// Late rows and duplicates are counted by window from this commit on; before it there were none, or they were not.
    pub(super) excluded_from: u64,
}

/// A table that is being changed.
pub(super) struct CatalogFold<'a> {
    pipeline: &'a str,
    table: ExtentTable,
    touched: BTreeSet<i64>,
}

impl<'a> CatalogFold<'a> {
    pub(super) fn of(pipeline: &'a str, table: ExtentTable) -> Self {
        Self { pipeline, table, touched: BTreeSet::new() }
    }

    /// Takes the files of a commit.
    pub(super) fn commit(&mut self, commit: &CommitRecord) {
        match &commit.excluded {
            Some(windows) => windows.iter().for_each(|more| self.day(day_of(more.start_us)).excluded.add(*more)),
            None if commit.counters.read > 0 => self.table.excluded_from = commit.seq + 1,
            None => {}
        }
        for file in &commit.files {
            match file.kind {
                FileKind::Window { start_us, end_us, version } => {
                    self.table.longest_us = self.table.longest_us.max(end_us - start_us);
                    self.day(day_of(start_us)).publish((start_us, end_us, version), commit.seq, file);
                }
                FileKind::DeadLetters => {
                    let day = self.table.dead_letters.entry(day_of(commit.committed_at_us)).or_default();
                    Arc::make_mut(day).push(DeadLettersFile {
                        name: file.name.as_str().into(),
                        seq: commit.seq,
                        committed_at_us: commit.committed_at_us,
                        rows: file.rows,
                        bytes: file.bytes,
                        sha256: file.sha256,
                        gone: false,
                    });
                }
            }
        }
    }

    /// Takes an act of maintenance.
    ///
    /// # Errors
    /// It names what the ledger does not know: the reason.
    pub(super) fn maintain(&mut self, slot: &MaintenanceSlot) -> Result<(), String> {
        for compacted in &slot.compacted {
            let first = compacted.parts.first().ok_or_else(|| format!("{} holds no window", compacted.name))?;
            let day = day_of(first.start_us);
            if compacted.parts.iter().any(|part| day_of(part.start_us) != day) {
                return Err(format!("{} spans more than one day", compacted.name));
            }
            self.day(day).compact(compacted).map_err(|reason| format!("{}: {reason}", compacted.name))?;
        }
        take_letters(&mut self.table.letters, slot)?;
        for retired in &slot.retired {
            self.retire(&retired.name);
            let leaving =
                Leaving { name: retired.name.as_str().into(), bytes: retired.bytes, since_us: slot.committed_at_us };
            self.table.leaving.insert(retired.name.clone(), leaving);
        }
        for name in &slot.deleted {
            self.table.leaving.remove(name);
            self.forget_dead_letters(name);
        }
        Ok(())
    }

    /// The table, with what is current found out for every day that changed.
    pub(super) fn finish(mut self) -> ExtentTable {
        for day in std::mem::take(&mut self.touched) {
            self.day(day).mark_current();
        }
        self.table
    }

    fn day(&mut self, day: i64) -> &mut Day {
        self.touched.insert(day);
        Arc::make_mut(self.table.days.entry(day).or_default())
    }

    /// An object whose rows were all moved elsewhere has no extents left.
    fn retire(&mut self, name: &str) {
        if let Some((day, at)) = self.dead_letters(name) {
            let letters = self.table.dead_letters.get_mut(&day).expect("it was just found");
            Arc::make_mut(letters)[at].gone = true;
            return;
        }
        let holds = |day: &Arc<Day>| day.extents.iter().any(|extent| &*extent.object.name == name);
        let found = match partition_of(name) {
            Some((_, day)) => self.table.days.get(&day).is_some_and(holds).then_some(day),
            None => self.table.days.iter().find(|(_, day)| holds(day)).map(|(day, _)| *day),
        };
        if let Some(day) = found {
            self.day(day).retire(name);
        }
    }

    fn forget_dead_letters(&mut self, name: &str) {
        if let Some((day, at)) = self.dead_letters(name) {
            let letters = self.table.dead_letters.get_mut(&day).expect("it was just found");
            Arc::make_mut(letters).remove(at);
            if letters.is_empty() {
                self.table.dead_letters.remove(&day);
            }
        }
    }

    /// Where dead letters are in the table.
    fn dead_letters(&self, name: &str) -> Option<(i64, usize)> {
        let seq = dead_letters_of(self.pipeline, name)?;
        self.table.dead_letters.iter().find_map(|(day, letters)| {
            let at = letters.binary_search_by_key(&seq, |file| file.seq).ok()?;
            Some((*day, at))
        })
    }
}

/// Takes what an act of maintenance did with objects that hold dead letters of several commits.
///
/// # Errors
/// What it says of one is no sum: the reason.
pub(super) fn take_letters(
    objects: &mut BTreeMap<String, LettersObject>,
    slot: &MaintenanceSlot,
) -> Result<(), String> {
    for letters in &slot.letters {
        if letters.rows != letters.parts.iter().map(|part| part.rows).sum::<u64>() {
            return Err(format!("{}: its rows are not the sum of its parts'", letters.name));
        }
        objects.insert(letters.name.clone(), LettersObject { letters: letters.clone(), gone: false });
    }
    for retired in &slot.retired {
        if let Some(object) = objects.get_mut(&retired.name) {
            object.gone = true;
        }
    }
    for name in &slot.deleted {
        objects.remove(name);
    }
    Ok(())
}
