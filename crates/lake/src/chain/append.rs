//! The commit point: create if absent, then the check that no other writer is ahead.

use bytes::Bytes;
use object_store::path::Path;

use super::{Appended, Chain, ChainEntry, ChainError, ChainPosition, ChainRecord, Ownership};
use crate::hash::Hash;
#[cfg(feature = "simulation")]
use crate::simulation::Mutant;
use crate::store::Creation;

/// How often a race for an entry is looked at again before it counts as the store's failure.
const RACES: u32 = 8;

impl<R: ChainRecord> Chain<R> {
    /// Appends an entry at the record's own number. This is the commit point. Safe to repeat with the same record.
    ///
    /// # Errors
    /// `Store`: it is not known whether the entry was created; append the same record again, or read the newest entry.
    /// `Corrupt`, `Newer`, `OtherChain`: what another writer put there cannot be read.
    pub async fn append(&self, record: &R) -> Result<Appended<R>, ChainError> {
        let bytes = Bytes::from(record.encode());
        let position = ChainPosition { seq: record.seq(), sha256: Some(Hash::of(&bytes)) };
        match self.create(position.seq, &bytes).await? {
            Some(other) => Ok(Appended::Raced(Some(Box::new(other)))),
            None => self.check_newest(position, None).await,
        }
    }

    /// Creates the entry, or returns the one that another writer created. An unknown result is answered by sending the
    /// identical bytes again; a name that is taken, by reading what is there: stores retry a create whose answer was
    /// lost, so the entry that exists may well be this one.
    pub(crate) async fn create(&self, seq: u64, bytes: &Bytes) -> Result<Option<ChainEntry<R>>, ChainError> {
        let (store, path) = (self.lake.store(), self.path(seq));
        for _ in 0..RACES {
            if self.lake.persist(|| store.create(&path, bytes.clone())).await? == Creation::Made {
                return Ok(None);
            }
            #[cfg(feature = "simulation")]
            if self.lake.is_mutated(Mutant::TrustExists) {
                return Ok(None);
            }
            // Nothing there although the name is taken: two creates race and neither is decided yet, or the chain has
            // moved on so far that the entry was swept. Creating again tells.
            if let Some(found) = self.lake.persist(|| store.get(&path)).await? {
                return if found == *bytes { Ok(None) } else { self.decode(seq, &found).map(Some) };
            }
        }
        Err(ChainError::undecided(path))
    }

    /// Checks that nothing stands above an entry. Entries are swept, so a create can succeed long after the chain has
    /// moved on. Then either a higher entry exists, or the object into which this one was rolled up does, where the
    /// chain has such. Both are asked: a listing of a local folder is not one instant, and the higher entries that it
    /// should have shown may have come and gone while it was read.
    pub(crate) async fn check_newest(
        &self,
        position: ChainPosition,
        rolled_up: Option<&Path>,
    ) -> Result<Appended<R>, ChainError> {
        #[cfg(feature = "simulation")]
        if self.lake.is_mutated(Mutant::SkipHigher) {
            return Ok(Appended::Committed(position));
        }
        let higher = self.newest_after(position.seq);
        let (higher, rolled_up) = futures::future::try_join(higher, self.exists(rolled_up)).await?;
        let other = match (higher, R::OWNERSHIP) {
            (None, _) if !rolled_up => return Ok(Appended::Committed(position)),
            (None, _) => None,
            (Some(newest), Ownership::Exclusive) => self.get(newest).await?,
            (Some(_), Ownership::Shared) => match self.get(position.seq + 1).await? {
                Some(next) if next.record.previous() == position.sha256 => return Ok(Appended::Committed(position)),
                next => next,
            },
        };
        Ok(Appended::Raced(other.map(Box::new)))
    }
}
