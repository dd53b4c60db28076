//! Appends to the record, and reads it.

use std::collections::HashSet;

use bytes::Bytes;
use turnstile_lake::{Hash, Lake};

use super::record::{LoadEntry, RECORD_FORMAT};
use super::state::WarehouseState;
use crate::error::WarehouseError;

/// Entries after which a checkpoint is due: what a start reads, one by one, and a few that a load adds at once.
const CHECKPOINT_EVERY: u64 = 64;

/// Entries that are kept: another database that is further behind is given whole tables.
pub(crate) const ENTRIES_KEPT: u64 = 4096;

/// How long a file stays that no table has any more: readers of an older state may still be at it.
const REMOVED_FOR_US: i64 = 15 * 60 * 1_000_000;

/// The record of one pipeline's warehouse.
#[derive(Debug, Clone)]
pub(crate) struct LoadRecord {
    lake: Lake,
    root: String,
}

impl LoadRecord {
    pub(crate) fn new(lake: &Lake, pipeline: &str) -> Self {
        Self { lake: lake.clone(), root: format!("_warehouse/{pipeline}") }
    }

    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// The state as of the newest entry; an empty one before the first.
    ///
    /// # Errors
    /// `Damaged`: an entry is missing or does not follow from the one before. `Store`.
    pub(crate) async fn newest(&self) -> Result<WarehouseState, WarehouseError> {
        let folder = format!("{}/checkpoint", self.root);
        let mut state = match self.lake.list(&folder, None).await?.pop() {
            Some(name) => {
                let state: WarehouseState =
                    serde_json::from_slice(&self.read_existing(&name).await?).map_err(|e| unreadable(&name, e))?;
                WarehouseState { checkpoint: state.load, ..state }
            }
            None => WarehouseState::default(),
        };
        self.advance(&mut state).await?;
        Ok(state)
    }

    /// Takes `state` to the newest entry. Whether there was one.
    ///
    /// # Errors
    /// As [`LoadRecord::newest`].
    pub(crate) async fn advance(&self, state: &mut WarehouseState) -> Result<bool, WarehouseError> {
        let before = state.load;
        // An entry's name follows from its number: the next one is read by name, and nothing is listed.
        while let Some(bytes) = self.lake.read(&self.entry_name(state.load + 1)).await? {
            let name = self.entry_name(state.load + 1);
            let entry = self.parse(&name, &bytes)?;
            if entry.load != state.load + 1 || entry.previous != state.hash {
                return Err(WarehouseError::damaged(&name, "it does not follow from the entry before it"));
            }
            state.apply(&entry, Hash::of(&bytes), self.lake.now_us());
        }
        Ok(state.load > before)
    }

    /// Writes the entry that follows `state`, and takes `state` on. This is the commit point.
    ///
    /// # Errors
    /// `Moved`: another process was first; `state` is as it was. `Store`: unknown whether it was written; look at the
    /// newest state.
    pub(crate) async fn commit(&self, state: &mut WarehouseState, entry: &LoadEntry) -> Result<(), WarehouseError> {
        let name = self.entry_name(entry.load);
        let bytes = Bytes::from(serde_json::to_vec(entry).expect("an entry is plain data"));
        if !self.lake.create(&name, bytes.clone()).await? {
            // An answer that was lost: what is there is ours.
            let there = self.lake.read(&name).await?;
            if there.as_ref() != Some(&bytes) {
                return Err(WarehouseError::Moved);
            }
        }
        state.apply(entry, Hash::of(&bytes), self.lake.now_us());
        Ok(())
    }

    /// What the entries after `load` changed; `None` when some of them are no longer kept.
    pub(crate) async fn entries_since(&self, load: u64, newest: u64) -> Result<Option<Vec<LoadEntry>>, WarehouseError> {
        let mut entries = Vec::new();
        for load in load + 1..=newest {
            let name = self.entry_name(load);
            match self.lake.read(&name).await? {
                Some(bytes) => entries.push(self.parse(&name, &bytes)?),
                None => return Ok(None),
            }
        }
        Ok(Some(entries))
    }

    /// Writes a checkpoint when it is due, and deletes what is no longer needed: older checkpoints and entries,
    /// files that tables let go, files of loads that did not come to their end.
    pub(crate) async fn clean_up(&self, state: &mut WarehouseState) -> Result<(), WarehouseError> {
        // Counted from the last one: a load that merges files writes two entries, and may step over any number.
        let before = state.checkpoint;
        if state.load - before < CHECKPOINT_EVERY {
            return Ok(());
        }
        let now_us = self.lake.now_us();
        let due = |at: i64| now_us - at > REMOVED_FOR_US;
        let gone: Vec<String> = state.removed.iter().filter(|(_, at)| due(*at)).map(|(name, _)| name.clone()).collect();
        self.lake.delete(&gone).await?;
        state.removed.retain(|(_, at)| !due(*at));
        self.delete_orphans(state, before.saturating_sub(CHECKPOINT_EVERY)).await?;

        let folder = format!("{}/checkpoint", self.root);
        let name = format!("{folder}/{:020}", state.load);
        let bytes = Bytes::from(serde_json::to_vec(state).expect("a state is plain data"));
        self.lake.create(&name, bytes).await?;
        let mut older = self.lake.list(&folder, None).await?;
        // The one before stays: a reader may have listed it and not read it yet.
        older.truncate(older.len().saturating_sub(2));
        // Those that the checkpoint before let go are gone, but where its process ended right there.
        let (from, until) =
            (before.saturating_sub(ENTRIES_KEPT + CHECKPOINT_EVERY), state.load.saturating_sub(ENTRIES_KEPT));
        older.extend((from.max(1)..until.max(1)).map(|n| self.entry_name(n)));
        self.lake.delete(&older).await?;
        state.checkpoint = state.load;
        Ok(())
    }

    /// Files of the loads after `since` that no table has, also under names of tables that never came to be: those loads
    /// failed or were killed. A load that is under way now carries a number above the newest entry's.
    async fn delete_orphans(&self, state: &WarehouseState, since: u64) -> Result<(), WarehouseError> {
        let mut known: HashSet<&str> = state.removed.iter().map(|(name, _)| name.as_str()).collect();
        known.extend(state.tables.values().flat_map(|table| table.files.iter().map(|file| file.name.as_str())));
        let mut orphans = Vec::new();
        for folder in self.lake.folders(&format!("{}/tables", self.root)).await? {
            for name in self.lake.list(&folder, Some(&format!("{folder}/{since:020}"))).await? {
                let number: Option<u64> = name.rsplit('/').next().and_then(|file| file.get(..20)?.parse().ok());
                if !known.contains(name.as_str()) && number.is_some_and(|number| number <= state.load) {
                    orphans.push(name);
                }
            }
        }
        Ok(self.lake.delete(&orphans).await?)
    }

    fn entry_name(&self, load: u64) -> String {
        format!("{}/log/{load:020}", self.root)
    }

    fn parse(&self, name: &str, bytes: &[u8]) -> Result<LoadEntry, WarehouseError> {
        let entry: LoadEntry = serde_json::from_slice(bytes).map_err(|e| unreadable(name, e))?;
        if entry.format > RECORD_FORMAT {
            return Err(WarehouseError::damaged(
                name,
                format!("its format {} is newer than this program", entry.format),
            ));
        }
        Ok(entry)
    }

    async fn read_existing(&self, name: &str) -> Result<Bytes, WarehouseError> {
        self.lake.read(name).await?.ok_or_else(|| WarehouseError::damaged(name, "it is missing"))
    }
}

fn unreadable(object: &str, source: serde_json::Error) -> WarehouseError {
    let reason = "it is not valid JSON of its kind".to_owned();
    WarehouseError::Damaged { object: object.to_owned(), reason, source: Some(Box::new(source)) }
}

#[cfg(test)]
mod tests;
