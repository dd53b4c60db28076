//! Objects that no slot needs any more, on their way to be deleted.

use std::collections::{HashSet, VecDeque};

use object_store::path::Path;

use super::folder::LedgerFolder;
use super::pending_file::PendingFile;
use crate::slot::Slot;

/// Objects that wait to be deleted, at most. What does not fit is found again by the next start.
const WAITING: usize = 16_384;

/// Objects that wait to be deleted.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    pub(super) waiting: VecDeque<Path>,
    pub(super) swept: bool,
}

impl Garbage {
    /// Takes what the newest slot no longer names.
    pub(super) fn superseded(&mut self, folder: &LedgerFolder, before: &Slot, newest: &Slot, dropped: &[PendingFile]) {
        let kept: HashSet<&str> = newest.state.iter().map(|state| state.object.as_str()).collect();
        let objects: HashSet<&str> = before.state.iter().map(|state| state.object.as_str()).collect();
        for object in objects.difference(&kept) {
            self.add(folder.object(object));
        }
        for file in dropped {
            self.add(folder.object(&file.entry.stage));
        }
        // The slots are in history, and a committed slot says so.
        if newest.history != before.history
            && let Some(history) = newest.history
        {
            let (first, last) = folder.segment_of(history.last);
            for seq in first..=last {
                self.add(folder.slot(seq));
            }
        }
    }

    pub(super) fn add(&mut self, path: Path) {
        if self.waiting.len() < WAITING {
            self.waiting.push_back(path);
        }
    }
}
