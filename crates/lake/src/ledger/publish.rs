//! Step 5: committed files to their final names.

use std::collections::HashMap;

use bytes::Bytes;
use futures::StreamExt;
#[cfg(feature = "simulation")]
use futures::TryStreamExt;
use object_store::path::Path;

use super::{Attempt, Ledger, WRITES_AT_ONCE};
use crate::error::LedgerError;
use crate::error::corrupt;
use crate::failpoint::reach;
use crate::hash::Hash;
use crate::lake::Lake;
use crate::slot::FileEntry;
use crate::store::Creation;

impl Ledger {
    /// Publishes all pending files. A store that fails leaves them pending; that is no error, since
    /// the commit is a fact and the next one tries again.
    pub(super) async fn publish_pending(&mut self, attempt: Option<&Attempt>) -> Result<Vec<String>, LedgerError> {
        let unconfirmed: Vec<usize> = (0..self.pending.len()).filter(|at| !self.pending[*at].confirmed).collect();
        let this = &*self;
        let held: HashMap<&str, &Bytes> = attempt.map(Attempt::held).unwrap_or_default();
        let held = &held;
        let mut results = futures::stream::iter(unconfirmed)
            .map(|at| async move {
                let entry = &this.pending[at].entry;
                (at, this.publish(entry, held.get(entry.stage.as_str()).copied().cloned()).await)
            })
            .buffer_unordered(WRITES_AT_ONCE);
        let (mut confirmed, mut failed) = (Vec::new(), None);
        while let Some((at, result)) = results.next().await {
            match result {
                Ok(()) => confirmed.push(at),
                Err(LedgerError::Store(e)) if attempt.is_some() => {
                    tracing::warn!(file = this.pending[at].entry.name, error = %e, cause = %e.source,
                        "committed, not yet published");
                }
                Err(e) => failed = Some(e),
            }
        }
        drop(results);
        confirmed.sort_unstable();
        let mut published = Vec::with_capacity(confirmed.len());
        for at in confirmed {
            self.pending[at].confirmed = true;
            published.push(self.pending[at].entry.name.clone());
        }
        failed.map_or(Ok(published), Err)
    }

    async fn publish(&self, entry: &FileEntry, held: Option<Bytes>) -> Result<(), LedgerError> {
        let (lake, store) = (&self.lake, self.lake.store());
        let name = Path::from(entry.name.as_str());
        let bytes = match held {
            Some(bytes) => bytes,
            None => {
                let stage = self.folder.object(&entry.stage);
                match lake.persist(|| store.get(&stage)).await? {
                    Some(bytes) if Hash::of(&bytes) == entry.sha256 => bytes,
                    // Then only the final name can hold the bytes.
                    damaged => return self.confirm(lake, entry, &stage, damaged.is_none()).await,
                }
            }
        };
        let created = lake.persist(|| store.create(&name, bytes.clone())).await?;
        reach("commit-in-publish");
        match created {
            Creation::Made => Ok(()),
            Creation::Exists => match lake.persist(|| store.get(&name)).await? {
                Some(found) => same(entry, &found),
                None => {
                    let source = "the name is taken, but no object can be read there".into();
                    let path = name.to_string();
                    Err(crate::store::StoreError { operation: "publish", path, retriable: true, source }.into())
                }
            },
        }
    }

    /// Confirms a file whose staged bytes are gone.
    async fn confirm(&self, lake: &Lake, entry: &FileEntry, stage: &Path, missing: bool) -> Result<(), LedgerError> {
        let name = Path::from(entry.name.as_str());
        match lake.persist(|| lake.store().get(&name)).await? {
            Some(found) => same(entry, &found),
            None => {
                // A writer that has taken over has published the file and deleted the staged bytes, and maintenance may
                // have moved its rows on since.
                self.ensure_newest(self.newest.seq, self.newest_hash, None).await?;
                let state = if missing { "missing" } else { "not what was committed" };
                Err(corrupt(stage, format!("it is {state}, and {name} is not published yet")))
            }
        }
    }

    /// What the mutant of the simulation does: files first, slot later.
    #[cfg(feature = "simulation")]
    pub(super) async fn publish_unchecked(&self, attempt: &Attempt) -> Result<(), LedgerError> {
        futures::stream::iter(attempt.slot.publish.iter().zip(&attempt.files))
            .map(|(entry, bytes)| self.publish(entry, Some(bytes.clone())))
            .buffer_unordered(WRITES_AT_ONCE)
            .try_collect()
            .await
    }
}

impl Attempt {
    /// The files of this attempt that are still in memory, by their staged names.
    fn held(&self) -> HashMap<&str, &Bytes> {
        self.slot.publish.iter().map(|file| file.stage.as_str()).zip(&self.files).collect()
    }
}

fn same(entry: &FileEntry, found: &Bytes) -> Result<(), LedgerError> {
    let found = Hash::of(found);
    if found == entry.sha256 {
        return Ok(());
    }
    Err(LedgerError::FileChanged { name: entry.name.clone(), expected: entry.sha256, found })
}
