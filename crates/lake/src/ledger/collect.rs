//! Step 6: objects that no slot needs any more are deleted, a bounded number per commit.
//!
//! A fenced writer may still be running this, so it deletes only objects that no later slot of any writer can refer
//! to: objects written for slots before this writer's newest one that this slot does not name. A later slot names
//! only what the newest one names, or new objects, which carry its own number.

use std::collections::HashSet;

use object_store::path::Path;

use super::Ledger;
use crate::error::LedgerError;
use crate::failpoint::reach;

/// Objects deleted by one commit, at most.
const DELETES_PER_COMMIT: usize = 64;

impl Ledger {
    /// Deletes some garbage and takes history further. A store that fails does not fail the commit.
    pub(super) async fn collect_garbage(&mut self) -> Result<(), LedgerError> {
        if !self.garbage.swept {
            match self.sweep().await {
                Ok(()) => self.garbage.swept = true,
                Err(LedgerError::Store(e)) => {
                    tracing::warn!(error = %e, cause = %e.source, "garbage collection is retried later");
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
            .chain(self.newest.unconfirmed().map(|file| file.stage.as_str()))
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
