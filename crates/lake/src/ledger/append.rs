//! Steps 3 and 4: create the slot in the log, then check that no other writer is ahead.

use super::{Attempt, Ledger, first_window};
use crate::chain::{Appended, ChainPosition};
use crate::error::{LedgerError, Owner};
use crate::failpoint::reach;
use crate::hash::Hash;
use crate::slot::Slot;

impl Ledger {
    /// Makes the attempt's slot the newest one of the log, or finds out who was faster.
    pub(super) async fn append(&mut self, attempt: &Attempt) -> Result<(), LedgerError> {
        let done = self.try_append(attempt).await;
        if let Err(LedgerError::Fenced { owner, .. }) = &done {
            self.fenced = Some(owner.clone());
            self.attempt = None;
        }
        done
    }

    async fn try_append(&self, attempt: &Attempt) -> Result<(), LedgerError> {
        let window_start_us = attempt.first_window();
        let seq = attempt.slot.seq;
        if let Some(other) = self.folder.log_chain(&self.lake).create(seq, &attempt.bytes).await? {
            return Err(self.fenced_by(owner(&other.record), window_start_us));
        }
        reach("commit-after-slot");
        self.ensure_newest(seq, Hash::of(&attempt.bytes), window_start_us).await?;
        reach("commit-after-list");
        Ok(())
    }

    /// Step 4. Old slots are deleted once they are in history, so the file of history that this one belongs to is asked
    /// for too.
    pub(super) async fn ensure_newest(
        &self,
        seq: u64,
        sha256: Hash,
        window_start_us: Option<i64>,
    ) -> Result<(), LedgerError> {
        let position = ChainPosition { seq, sha256: Some(sha256) };
        match self.folder.log_chain(&self.lake).check_newest(position, Some(&self.folder.history(seq))).await? {
            Appended::Committed(_) => Ok(()),
            Appended::Raced(other) => {
                let owner = other.map_or_else(unknown_owner, |other| owner(&other.record));
                Err(self.fenced_by(owner, window_start_us))
            }
        }
    }
}

impl Attempt {
    pub(super) fn first_window(&self) -> Option<i64> {
        first_window(self.slot.publish.iter().map(|file| &file.kind))
    }
}

fn owner(slot: &Slot) -> Owner {
    Owner { since_us: slot.claimed_at_us, epoch: slot.epoch, host: slot.writer.host.clone(), pid: slot.writer.pid }
}

/// The log moved on again while it was read.
fn unknown_owner() -> Owner {
    Owner { since_us: 0, epoch: 0, host: "unknown".to_owned(), pid: 0 }
}
