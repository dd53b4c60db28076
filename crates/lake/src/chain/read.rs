//! Reading a chain: one entry, the newest, what is new, all of it.

use std::ops::RangeInclusive;

use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;

use super::{Chain, ChainEntry, ChainError, ChainPosition, ChainRecord};

/// Entries read ahead.
const READS_AHEAD: usize = 8;

/// How often the newest entry is searched for while other writers sweep old ones.
const ATTEMPTS: u32 = 8;

impl<R: ChainRecord> Chain<R> {
    /// One entry; `None` when it does not exist, or was swept.
    ///
    /// # Errors
    /// All variants of [`ChainError`].
    pub async fn get(&self, seq: u64) -> Result<Option<ChainEntry<R>>, ChainError> {
        let found = self.bytes(seq).await?;
        found.map(|bytes| self.decode(seq, &bytes)).transpose()
    }

    /// The newest entry, found by a listing; `None` before the first.
    ///
    /// # Errors
    /// All variants of [`ChainError`].
    pub async fn newest(&self) -> Result<Option<ChainEntry<R>>, ChainError> {
        self.newest_unless(None).await
    }

    /// The same, in a chain whose entries are rolled up into objects, of which `begun` is the first: when it exists, a
    /// listing without entries is not the last word.
    pub(crate) async fn newest_unless(&self, begun: Option<&Path>) -> Result<Option<ChainEntry<R>>, ChainError> {
        for _ in 0..ATTEMPTS {
            let Some(seq) = self.newest_after(0).await? else {
                if !self.exists(begun).await? {
                    return Ok(None);
                }
                // A chain that was begun is never empty: other writers began it after it was listed, or it was deleted
                // by hand.
                continue;
            };
            // Gone already: a living writer has moved on, and swept it.
            if let Some(entry) = self.get(seq).await? {
                return Ok(Some(entry));
            }
        }
        Err(ChainError::corrupt(&self.folder, "its newest entry cannot be read"))
    }

    /// Calls `visit` for the entries after `from` and returns the place after the last one. Lists nothing: an entry's
    /// name follows from its number, and the next one is asked for until it is absent.
    ///
    /// # Errors
    /// All variants of [`ChainError`]; `Corrupt` when an entry does not follow from the one before.
    pub async fn advance(
        &self,
        from: ChainPosition,
        mut visit: impl FnMut(&ChainEntry<R>),
    ) -> Result<ChainPosition, ChainError> {
        let mut position = from;
        while let Some(entry) = self.get(position.seq + 1).await? {
            self.check_link(&entry, position)?;
            visit(&entry);
            position = entry.position;
        }
        Ok(position)
    }

    /// The entries with these numbers; `None` when they are no longer kept, or no longer all of one chain because a
    /// writer that was raced put a swept one back.
    ///
    /// # Errors
    /// All variants of [`ChainError`].
    pub async fn entries(&self, seqs: RangeInclusive<u64>) -> Result<Option<Vec<ChainEntry<R>>>, ChainError> {
        let mut entries: Vec<ChainEntry<R>> = Vec::new();
        let mut read = futures::stream::iter(seqs).map(|seq| self.get(seq)).buffered(READS_AHEAD);
        while let Some(entry) = read.next().await {
            let Some(entry) = entry? else { return Ok(None) };
            if entries.last().is_some_and(|before| before.position.sha256 != entry.record.previous()) {
                return Ok(None);
            }
            entries.push(entry);
        }
        Ok(Some(entries))
    }

    /// Calls `visit` for the entries after `from` up to number `last`, all of which must exist, and returns the place
    /// after the last one. `visit` says whether to continue: where it does not, its entry is not passed.
    pub(crate) async fn walk<E: From<ChainError>>(
        &self,
        from: ChainPosition,
        last: u64,
        mut visit: impl FnMut(R) -> Result<bool, E>,
    ) -> Result<ChainPosition, E> {
        let mut position = from;
        let mut read = futures::stream::iter(from.seq + 1..=last)
            .map(|seq| async move { (seq, self.bytes(seq).await) })
            .buffered(READS_AHEAD);
        while let Some((seq, bytes)) = read.next().await {
            let bytes = bytes?.ok_or_else(|| ChainError::corrupt(self.path(seq), "it is missing"))?;
            let entry = self.decode(seq, &bytes)?;
            self.check_link(&entry, position)?;
            if !visit(entry.record)? {
                break;
            }
            position = entry.position;
        }
        Ok(position)
    }

    /// The number of the newest entry after `seq`, found by a listing.
    pub(crate) async fn newest_after(&self, seq: u64) -> Result<Option<u64>, ChainError> {
        let after = self.path(seq);
        let listed = self.lake.persist(|| self.lake.store().list(&self.folder, Some(&after))).await?;
        Ok(listed.iter().rev().find_map(Self::seq_of))
    }

    pub(super) async fn exists(&self, path: Option<&Path>) -> Result<bool, ChainError> {
        let Some(path) = path else { return Ok(false) };
        Ok(self.lake.persist(|| self.lake.store().exists(path)).await?)
    }

    async fn bytes(&self, seq: u64) -> Result<Option<Bytes>, ChainError> {
        let path = self.path(seq);
        Ok(self.lake.persist(|| self.lake.store().get(&path)).await?)
    }

    fn check_link(&self, entry: &ChainEntry<R>, before: ChainPosition) -> Result<(), ChainError> {
        if entry.record.previous() == before.sha256 {
            return Ok(());
        }
        Err(ChainError::corrupt(self.path(entry.position.seq), "it does not follow from the entry before it"))
    }
}
