//! The catalog: which rows of which objects readers read, at one position of the ledger.
//!
//! In: the chain of commits and the maintenance chain. Out: extents (ranges of rows in objects), and which of them
//! are current, superseded or retired. Lists no data folder and opens no data file, except files of the newest
//! commits that the ledger has not yet confirmed as published. Start at [`Catalog::read`].

mod checkpoint;
mod day;
mod extent;
mod fold;
mod read;
#[cfg(test)]
mod tests;

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use turnstile_message::ExcludedMessages;

pub use extent::{DeadLettersFile, Extent, LakeObject, Leaving, LettersObject};
pub(super) use read::published_until;

use super::chain::Anchor;
use crate::chain::ChainPosition;
use crate::day::day_of;
use crate::error::LedgerError;
use crate::hash::Hash;
use crate::lake::Lake;
use crate::ledger::LedgerFolder;
use crate::slot::Slot;
use fold::ExtentTable;

/// A position in both chains. The same position always shows the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize)]
pub struct CatalogPosition {
    /// The last commit whose files, and those of all commits before it, are at their final names.
    pub seq: u64,
    /// The last slot of maintenance.
    pub maintenance: u64,
}

/// The files of a pipeline at one position of its ledger. Cloning is cheap.
///
/// A commit whose files are not all at their final names yet is left out with all commits after it, so that a position
/// says exactly what is read. That lasts the moments between a commit and its publishing, or until a store takes
/// files again.
#[derive(Debug, Clone)]
pub struct Catalog {
    inner: Arc<CatalogInner>,
}

#[derive(Debug)]
struct CatalogInner {
    folder: LedgerFolder,
    newest: Slot,
    newest_hash: Option<Hash>,
    anchor: Anchor,
    maintained: ChainPosition,
    waiting: Vec<String>,
    table: ExtentTable,
}

impl Catalog {
    /// Where it stands.
    pub fn position(&self) -> CatalogPosition {
        CatalogPosition { seq: self.inner.anchor.seq, maintenance: self.inner.maintained.seq }
    }

    /// The pipeline's name.
    pub fn pipeline(&self) -> &str {
        self.inner.folder.pipeline()
    }

    /// The newest slot: watermark, references to the state of open windows. It may be further than the position by
    /// commits that are not published yet.
    pub fn newest(&self) -> &Slot {
        &self.inner.newest
    }

    /// The slot of this catalog's position: what was open when its files were all the files there were. It is the newest
    /// slot, except while a commit's files are being published; `None`: it was deleted meanwhile.
    ///
    /// # Errors
    /// `Store`, `Corrupt`.
    pub async fn slot(&self, lake: &Lake) -> Result<Option<Slot>, LedgerError> {
        let seq = self.position().seq;
        if self.inner.newest.seq == seq {
            return Ok(Some(self.inner.newest.clone()));
        }
        Ok(self.inner.folder.log_chain(lake).get(seq).await?.map(|entry| entry.record))
    }

    /// Files that are committed and not at their final names yet. They and what was committed after them are left out.
    pub fn waiting(&self) -> &[String] {
        &self.inner.waiting
    }

    /// What readers read: each window's highest version, where its rows lie now. By window, of those that overlap
    /// `instants` (microseconds since the epoch, UTC).
    pub fn current(&self, instants: impl RangeBounds<i64>) -> Vec<Extent> {
        self.extents(instants, |extent| extent.current)
    }

    /// All versions of all windows, by window and version. Of those that are `gone` the object may not be there.
    pub fn history(&self) -> Vec<Extent> {
        self.extents(.., |_| true)
    }

    /// One version of a window.
    pub fn extent(&self, start_us: i64, end_us: i64, version: u32) -> Option<&Extent> {
        let day = self.inner.table.days.get(&day_of(start_us))?;
        day.find(start_us, end_us, version).ok().map(|at| &day.extents[at])
    }

    /// Late rows and duplicates of a window, of the commits from [`Catalog::excluded_from`] on.
    pub fn excluded(&self, start_us: i64, end_us: i64) -> ExcludedMessages {
        let day = self.inner.table.days.get(&day_of(start_us));
        let known = day.and_then(|day| day.excluded.get(start_us, end_us));
        known.unwrap_or(ExcludedMessages::none_of(start_us, end_us))
    }

    /// The commit from which on late rows and duplicates are counted by window; 0: from the beginning. Earlier releases did
    /// not count them so.
    pub fn excluded_from(&self) -> u64 {
        self.inner.table.excluded_from
    }

    /// Files of dead letters, in the order of their commits. Deleted ones are left out.
    pub fn dead_letters(&self) -> Vec<DeadLettersFile> {
        self.inner.table.dead_letters.values().flat_map(|day| day.iter().cloned()).collect()
    }

    /// Objects that hold the dead letters of several commits. Deleted ones are left out.
    pub(crate) fn letters_objects(&self) -> impl Iterator<Item = &LettersObject> {
        self.inner.table.letters.values()
    }

    /// Whether the file of a commit's dead letters is not known to be deleted.
    pub(crate) fn has_dead_letters(&self, seq: u64) -> bool {
        let by_seq = |day: &Arc<Vec<DeadLettersFile>>| day.binary_search_by_key(&seq, |file| file.seq).is_ok();
        self.inner.table.dead_letters.values().any(by_seq)
    }

    /// Retired objects of which it is not known that they are deleted, by name.
    pub fn leaving(&self) -> Vec<Leaving> {
        self.inner.table.leaving.values().cloned().collect()
    }

    /// The days on which windows start (since the epoch, UTC), each with its extents by window and version.
    pub(crate) fn days(&self) -> impl Iterator<Item = (i64, &[Extent])> {
        self.inner.table.days.iter().map(|(day, extents)| (*day, extents.extents.as_slice()))
    }

    /// The length of the longest window, microseconds.
    pub(crate) fn longest_us(&self) -> i64 {
        self.inner.table.longest_us
    }

    /// Where it stands in the chain of maintenance.
    pub(crate) fn maintained(&self) -> ChainPosition {
        self.inner.maintained
    }

    fn extents(&self, instants: impl RangeBounds<i64>, wanted: impl Fn(&Extent) -> bool) -> Vec<Extent> {
        let table = &self.inner.table;
        let from = match instants.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => i64::MIN,
        };
        let until = match instants.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(until) => *until,
            Bound::Unbounded => i64::MAX,
        };
        if from >= until {
            return Vec::new();
        }
        // A window that begins before the first instant may reach into it.
        let days = day_of(from.saturating_sub(table.longest_us))..=day_of(until.saturating_sub(1));
        let overlaps = |extent: &&Extent| extent.end_us > from && extent.start_us < until;
        let days = table.days.range(days).flat_map(|(_, day)| day.extents.iter());
        days.filter(overlaps).filter(|extent| wanted(extent)).cloned().collect()
    }
}

/// What is known before reading.
#[derive(Debug, Clone)]
struct CatalogStart {
    anchor: Anchor,
    maintained: ChainPosition,
    table: ExtentTable,
}
