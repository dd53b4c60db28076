//! Appends to the record, and reads it.

use turnstile_lake::Lake;
use turnstile_lake::chain::{Appended, Chain, ChainEntry, ChainPosition, Checkpoints};

use super::data::load_of;
use super::record::LoadEntry;
use super::state::WarehouseState;
use crate::error::WarehouseError;

/// Entries after which a checkpoint is due: what a start reads, one by one, and a few that a load adds at once.
const CHECKPOINT_EVERY: u64 = 64;

/// Entries that are kept: another database that is further behind is given whole tables.
const ENTRIES_KEPT: u64 = 4096;

/// How long a file stays that no table has any more: readers of an older state may still be at it.
const REMOVED_FOR_US: i64 = 15 * 60 * 1_000_000;

/// How often the newest entry is searched for while other processes sweep old ones.
const ATTEMPTS: u32 = 4;

/// The record of one pipeline's warehouse.
#[derive(Debug, Clone)]
pub(crate) struct LoadRecord {
    lake: Lake,
    root: String,
    chain: Chain<LoadEntry>,
    checkpoints: Checkpoints,
    checkpoint_every: u64,
    entries_kept: u64,
    removed_for_us: i64,
}

impl LoadRecord {
    pub(crate) fn new(lake: &Lake, pipeline: &str) -> Self {
        let root = format!("_warehouse/{pipeline}");
        Self {
            lake: lake.clone(),
            chain: Chain::new(lake, pipeline, &format!("{root}/log")),
            checkpoints: Checkpoints::new(lake, &format!("{root}/checkpoint")),
            root,
            checkpoint_every: CHECKPOINT_EVERY,
            entries_kept: ENTRIES_KEPT,
            removed_for_us: REMOVED_FOR_US,
        }
    }

    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// The state as of the newest entry; an empty one before the first.
    ///
    /// # Errors
    /// `Damaged`: an entry is missing, damaged or does not follow from the one before. `NewerVersion`, `Store`.
    pub(crate) async fn newest(&self) -> Result<WarehouseState, WarehouseError> {
        let mut begun_at = 0;
        for _ in 0..ATTEMPTS {
            let mut state = self.checkpoint().await?.unwrap_or_default();
            let from = state.position();
            let followed = self.follow(&mut state).await;
            if self.is_kept(from).await? {
                return followed.map(|()| state);
            }
            begun_at = from.seq;
        }
        if begun_at == 0 {
            let reason = "no checkpoint can be read, and the entries that they sum up are deleted";
            return Err(WarehouseError::damaged(&format!("{}/checkpoint", self.root), reason));
        }
        let reason = "it is missing, or is not the one that the checkpoint was written for";
        Err(WarehouseError::damaged(&self.chain.entry_name(begun_at), reason))
    }

    /// Takes `state` to the newest entry. Whether there was one.
    ///
    /// # Errors
    /// As [`LoadRecord::newest`].
    pub(crate) async fn advance(&self, state: &mut WarehouseState) -> Result<bool, WarehouseError> {
        let from = state.position();
        // Both at once: each statement asks.
        let (followed, is_kept) = futures::join!(self.follow(state), self.is_kept(from));
        match is_kept? {
            true => followed?,
            false => *state = self.newest().await?,
        }
        Ok(state.load > from.seq)
    }

    /// The newest checkpoint that can be read.
    async fn checkpoint(&self) -> Result<Option<WarehouseState>, WarehouseError> {
        let mut skipped = 0;
        while let Some((object, bytes)) = self.checkpoints.newest(skipped).await? {
            match WarehouseState::decode(&bytes) {
                Ok(state) => return Ok(Some(state)),
                Err(reason) => tracing::warn!(object, ?reason, "a checkpoint cannot be read and is not used"),
            }
            skipped += 1;
        }
        Ok(None)
    }

    /// Applies the entries after `state` until one is absent.
    async fn follow(&self, state: &mut WarehouseState) -> Result<(), WarehouseError> {
        let now_us = self.lake.now_us();
        self.chain.advance(state.position(), |entry| state.apply(&entry.record, entry.position, now_us)).await?;
        Ok(())
    }

    /// Whether the entries after `place` are kept. Where they are not, one that is absent was swept, and is no end of the
    /// record; one that is there may have been put back by a load that lost.
    async fn is_kept(&self, place: ChainPosition) -> Result<bool, WarehouseError> {
        if place.seq == 0 {
            let newest = self.chain.newest().await?;
            return Ok(newest.is_none_or(|newest| newest.position.seq <= self.entries_kept));
        }
        Ok(self.chain.get(place.seq).await?.is_some_and(|entry| entry.position == place))
    }

    /// Writes the entry that follows `state`, and takes `state` on. This is the commit point.
    ///
    /// # Errors
    /// `Moved`: another process was first; `state` is as it was. `Store`: unknown whether it was written; look at the
    /// newest state.
    pub(crate) async fn commit(&self, state: &mut WarehouseState, entry: &LoadEntry) -> Result<(), WarehouseError> {
        let Appended::Committed(position) = self.chain.append(entry).await? else { return Err(WarehouseError::Moved) };
        state.apply(entry, position, self.lake.now_us());
        Ok(())
    }

    /// Deletes the files of a load whose commit returned `Moved`: no other process knows their names.
    ///
    /// # Errors
    /// As [`LoadRecord::newest`]; some may be deleted.
    pub(crate) async fn discard(&self, written: Vec<String>) -> Result<(), WarehouseError> {
        // Its entry is in the record all the same if this process slept while more entries came than are kept.
        let unknown = self.newest().await?.without_known(written);
        Ok(self.lake.delete(&unknown).await?)
    }

    /// What the entries after `load` changed; `None` when some of them are no longer kept.
    pub(crate) async fn entries_since(
        &self,
        load: u64,
        newest: u64,
    ) -> Result<Option<Vec<ChainEntry<LoadEntry>>>, WarehouseError> {
        Ok(self.chain.entries(load + 1..=newest).await?)
    }

    /// Writes a checkpoint when it is due, and deletes what is no longer needed: older checkpoints and entries,
    /// files that tables let go, files of loads that did not come to their end.
    pub(crate) async fn clean_up(&self, state: &mut WarehouseState) -> Result<(), WarehouseError> {
        // Counted from the last one: a load that merges files writes two entries, and may step over any number.
        let before = state.checkpoint;
        if state.load - before < self.checkpoint_every {
            return Ok(());
        }
        self.delete_removed(state).await?;
        self.delete_orphans(state, before.saturating_sub(self.checkpoint_every)).await?;
        self.checkpoints.write(&format!("{:020}", state.load), state.encode().into()).await?;
        // Those that the checkpoint before let go are gone, but where its process ended right there.
        let first = before.saturating_sub(self.entries_kept + self.checkpoint_every).max(1);
        self.chain.sweep(first..state.load.saturating_sub(self.entries_kept)).await?;
        state.checkpoint = state.load;
        Ok(())
    }

    /// Files that tables let go long enough ago.
    async fn delete_removed(&self, state: &mut WarehouseState) -> Result<(), WarehouseError> {
        let now_us = self.lake.now_us();
        let due = |at: i64| now_us - at > self.removed_for_us;
        let gone: Vec<String> = state.removed.iter().filter(|(_, at)| due(*at)).map(|(name, _)| name.clone()).collect();
        self.lake.delete(&gone).await?;
        state.removed.retain(|(_, at)| !due(*at));
        Ok(())
    }

    /// Files of the loads after `since` that no table has, also under names of tables that never came to be: those loads
    /// failed or were killed. A load that is under way now carries a number above the newest entry's.
    async fn delete_orphans(&self, state: &WarehouseState, since: u64) -> Result<(), WarehouseError> {
        let mut found = Vec::new();
        for folder in self.lake.folders(&format!("{}/tables", self.root)).await? {
            found.extend(self.lake.list(&folder, Some(&format!("{folder}/{since:020}"))).await?);
        }
        found.retain(|name| load_of(name).is_some_and(|load| load <= state.load));
        Ok(self.lake.delete(&state.without_known(found)).await?)
    }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
