//! Slots on their way into history.

use std::collections::VecDeque;

use super::history::CommitRecord;
use crate::hash::Hash;
use crate::slot::{HistoryRef, Slot};

/// Slots on their way into history.
#[derive(Debug, Default)]
pub(super) struct Rollup {
    /// The newest slots without a hole, oldest first.
    pub(super) recent: VecDeque<RecentSlot>,
    /// A file of history that is written and that no committed slot names yet.
    pub(super) written: Option<HistoryRef>,
}

#[derive(Debug, Clone)]
pub(super) struct RecentSlot {
    pub(super) line: CommitRecord,
    pub(super) hash: Hash,
    pub(super) previous: Option<Hash>,
}

impl RecentSlot {
    pub(super) fn of(slot: &Slot, hash: Hash) -> Self {
        Self { line: CommitRecord::of(slot), hash, previous: slot.previous }
    }
}

impl Rollup {
    pub(super) fn written(&self) -> Option<HistoryRef> {
        self.written
    }

    /// Takes a slot that is now the newest.
    pub(super) fn committed(&mut self, slot: &Slot, hash: Hash) {
        self.recent.push_back(RecentSlot::of(slot, hash));
        if slot.history == self.written {
            self.written = None;
        }
        let rolled_up = slot.history.map_or(0, |history| history.last);
        while self.recent.front().is_some_and(|recent| recent.line.seq <= rolled_up) {
            self.recent.pop_front();
        }
    }

    /// Keeps memory bounded when the store takes no history for long: what is let go is read back.
    pub(super) fn bound(&mut self, slots: usize) {
        while self.recent.len() > slots {
            self.recent.pop_front();
        }
    }
}
