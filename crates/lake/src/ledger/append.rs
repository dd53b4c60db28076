//! Steps 3 and 4: the slot into the log, and the proof that no other writer has gone past it.

use bytes::Bytes;
use object_store::path::Path;

use super::{Attempt, Ledger, corrupt, first_window};
use crate::failpoint::reach;
use crate::framed::{FORMAT, Unreadable};
use crate::store::Creation;
use crate::{LedgerError, Owner, Slot};

/// How often a race for a slot is looked at again before it counts as the store's failure.
const RACES: u32 = 8;

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
        self.create_slot(attempt).await?;
        reach("commit-after-slot");
        self.ensure_newest(attempt.slot.seq, attempt.first_window()).await?;
        reach("commit-after-list");
        Ok(())
    }

    /// Step 3. An unknown result is answered by sending the identical bytes again; a name that is
    /// taken, by reading what is there: stores retry a create whose answer was lost, so the slot that
    /// exists may well be this one.
    async fn create_slot(&self, attempt: &Attempt) -> Result<(), LedgerError> {
        let (store, path) = (self.lake.store(), self.folder.slot(attempt.slot.seq));
        for _ in 0..RACES {
            if self.lake.persist(|| store.create(&path, attempt.bytes.clone())).await? == Creation::Made {
                return Ok(());
            }
            #[cfg(test)]
            if self.mutated(super::simulation::Mutant::TrustExists) {
                return Ok(());
            }
            // Nothing there although the name is taken: two creates race and neither is decided yet,
            // or the log has moved on so far that the slot was collected. Creating again tells.
            if let Some(found) = self.lake.persist(|| store.get(&path)).await? {
                return self.own_or_fenced(attempt, &path, &found);
            }
        }
        let source = "the name is taken, and nothing can be read there".into();
        Err(crate::StoreError { operation: "create", path: path.to_string(), retriable: true, source }.into())
    }

    fn own_or_fenced(&self, attempt: &Attempt, path: &Path, found: &Bytes) -> Result<(), LedgerError> {
        if *found == attempt.bytes {
            return Ok(());
        }
        let other = read_slot(path, found)?;
        Err(self.fenced_by(owner(&other), attempt.first_window()))
    }

    /// Step 4. Slots are collected once they are in history, so a create can succeed long after the
    /// log has moved on. Then either a higher slot exists, or this slot's file of history does. Both
    /// are asked: a listing of a local folder is not one instant, and the higher slots that it should
    /// have shown may have come and gone while it was read.
    pub(super) async fn ensure_newest(&self, seq: u64, window_start_us: Option<i64>) -> Result<(), LedgerError> {
        #[cfg(test)]
        if self.mutated(super::simulation::Mutant::SkipList) {
            return Ok(());
        }
        let store = self.lake.store();
        let (slot, history) = (self.folder.slot(seq), self.folder.history(seq));
        let log = self.folder.log();
        let higher = self.lake.persist(|| store.list(&log, Some(&slot)));
        let rolled_up = self.lake.persist(|| store.exists(&history));
        let (higher, rolled_up) = futures::future::try_join(higher, rolled_up).await?;
        let newest = higher.iter().rev().find(|path| self.folder.seq_of(path).is_some());
        if newest.is_none() && !rolled_up {
            return Ok(());
        }
        let owner = match newest {
            Some(path) => match self.lake.persist(|| store.get(path)).await? {
                Some(found) => owner(&read_slot(path, &found)?),
                None => unknown_owner(),
            },
            None => unknown_owner(),
        };
        Err(self.fenced_by(owner, window_start_us))
    }

    #[cfg(test)]
    pub(super) fn mutated(&self, mutant: super::simulation::Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

impl Attempt {
    pub(super) fn first_window(&self) -> Option<i64> {
        first_window(self.slot.publish.iter().map(|file| &file.kind))
    }
}

/// The slot in `bytes`, or why it is none.
pub(crate) fn read_slot(path: &Path, bytes: &[u8]) -> Result<Slot, LedgerError> {
    Slot::decode(bytes).map_err(|why| unreadable(path, why))
}

/// Why the object at `path` cannot be read, as an error that names it.
pub(crate) fn unreadable(path: &Path, why: Unreadable) -> LedgerError {
    match why {
        Unreadable::Damaged(reason) => corrupt(path, reason),
        Unreadable::Newer(found) => LedgerError::NewerVersion { object: path.to_string(), found, known: FORMAT },
    }
}

fn owner(slot: &Slot) -> Owner {
    Owner { since_us: slot.claimed_at_us, epoch: slot.epoch, host: slot.writer.host.clone(), pid: slot.writer.pid }
}

/// The log moved on again while it was read.
fn unknown_owner() -> Owner {
    Owner { since_us: 0, epoch: 0, host: "unknown".to_owned(), pid: 0 }
}
