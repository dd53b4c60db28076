//! Step 6: what no slot needs any more is deleted, a bounded number of objects a commit.
//!
//! A writer that was fenced may still be here, so only objects are deleted that no later slot can
//! refer to, whoever writes it: objects written for slots before the newest one of this writer that
//! the newest one does not name. A later slot names what the newest one names, or new objects, which
//! carry its own number.

use std::collections::{HashSet, VecDeque};

use object_store::path::Path;

use super::publish::PendingFile;
use super::{Ledger, LedgerFolder};
use crate::failpoint::reach;
use crate::{LedgerError, Slot};

/// Objects deleted by one commit, at most.
const DELETES_PER_COMMIT: usize = 64;

/// Objects that wait to be deleted, at most. What does not fit is found again by the next start.
const WAITING: usize = 16_384;

/// Objects that wait to be deleted.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    waiting: VecDeque<Path>,
    swept: bool,
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

    fn add(&mut self, path: Path) {
        if self.waiting.len() < WAITING {
            self.waiting.push_back(path);
        }
    }
}

impl Ledger {
    /// Deletes some garbage and takes history further. A store that fails does not fail the commit.
    pub(super) async fn collect_garbage(&mut self) -> Result<(), LedgerError> {
        if !self.garbage.swept {
            match self.sweep().await {
                Ok(()) => self.garbage.swept = true,
                Err(LedgerError::Store(e)) => {
                    tracing::warn!(error = %e, cause = %e.source, "garbage is looked for again later");
                }
                Err(e) => return Err(e),
            }
        }
        let batch: Vec<Path> = self.garbage.waiting.iter().take(DELETES_PER_COMMIT).cloned().collect();
        if !batch.is_empty() {
            let count = batch.len();
            reach("commit-in-garbage");
            match self.lake.store().delete(batch).await {
                Ok(()) => drop(self.garbage.waiting.drain(..count)),
                Err(e) => tracing::warn!(error = %e, cause = %e.source, "garbage is deleted later"),
            }
        }
        match self.roll_up().await {
            Err(LedgerError::Store(e)) => {
                tracing::warn!(error = %e, cause = %e.source, "the log is rolled up later");
                Ok(())
            }
            done => done,
        }
    }

    /// Finds what writers before this one left behind: once, after this writer's first commit.
    async fn sweep(&mut self) -> Result<(), LedgerError> {
        let store = self.lake.store();
        let (log, state, stage) = (self.folder.log(), self.folder.state(), self.folder.stage());
        let lists = [&log, &state, &stage].map(|folder| store.list(folder, None));
        let [log, state, stage]: [Vec<Path>; 3] =
            futures::future::try_join_all(lists).await?.try_into().expect("three lists were asked for");
        let named: HashSet<Path> = self
            .newest
            .state
            .iter()
            .map(|state| state.object.as_str())
            .chain(self.newest.publish.iter().chain(&self.newest.carried).map(|file| file.stage.as_str()))
            .map(|object| self.folder.object(object))
            .collect();
        let rolled_up = self.newest.history.map_or(0, |history| history.last);
        let newest = self.newest.seq;
        let already: HashSet<Path> = self.garbage.waiting.iter().cloned().collect();
        for path in log {
            if self.folder.seq_of(&path).is_some_and(|seq| seq <= rolled_up) && !already.contains(&path) {
                self.garbage.add(path);
            }
        }
        for path in state.into_iter().chain(stage) {
            let old = self.folder.written_for(&path).is_some_and(|seq| seq < newest);
            if old && !named.contains(&path) && !already.contains(&path) {
                self.garbage.add(path);
            }
        }
        Ok(())
    }
}
