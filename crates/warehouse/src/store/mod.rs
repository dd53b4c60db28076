//! The warehouse's own record: what its tables consist of, load by load.
//!
//! In: entries, each with the files that a load made. Out: the state as of the newest one. An entry counts from the
//! moment that its object exists; of two processes that load at once, one finds the name taken.
//! Refuses to know models and queries. Start at [`Store::commit`]; docs/warehouse.md has the format.

mod data;
mod record;
mod state;
mod window_set;

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use turnstile_lake::{Hash, Lake};

pub(crate) use data::{encode, new_name};
pub(crate) use record::{Column, DataFile, Entry, FORMAT, TableDelta, TableHead, name_of, stored};
pub use record::{Run, RunState};
pub(crate) use state::{State, TableState};
pub(crate) use window_set::WindowSet;

use crate::WarehouseError;

/// Entries after which a checkpoint is due: what a start reads, one by one, and a few that a load adds at once.
const CHECKPOINT_EVERY: u64 = 64;

/// Entries that are kept: another database that is further behind is given whole tables.
pub(crate) const ENTRIES_KEPT: u64 = 4096;

/// How long a file stays that no table has any more: readers of an older state may still be at it.
const REMOVED_FOR_US: i64 = 15 * 60 * 1_000_000;

/// The record of one pipeline's warehouse.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    lake: Lake,
    root: String,
}

impl Store {
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
    pub(crate) async fn newest(&self) -> Result<State, WarehouseError> {
        let folder = format!("{}/checkpoint", self.root);
        let mut state = match self.lake.list(&folder, None).await?.pop() {
            Some(name) => {
                let state: State =
                    serde_json::from_slice(&self.must_read(&name).await?).map_err(|e| damaged(&name, e))?;
                State { checkpoint: state.load, ..state }
            }
            None => State::default(),
        };
        self.advance(&mut state).await?;
        Ok(state)
    }

    /// Takes `state` to the newest entry. Whether there was one.
    ///
    /// # Errors
    /// As [`Store::newest`].
    pub(crate) async fn advance(&self, state: &mut State) -> Result<bool, WarehouseError> {
        let before = state.load;
        // An entry's name follows from its number: the next one is asked for, and nothing is listed.
        while let Some(bytes) = self.lake.read(&self.entry_name(state.load + 1)).await? {
            let name = self.entry_name(state.load + 1);
            let entry = self.parse(&name, &bytes)?;
            if entry.load != state.load + 1 || entry.previous != state.hash {
                return Err(damaged(&name, "it does not follow from the entry before it"));
            }
            state.apply(&entry, Hash::of(&bytes), chrono::Utc::now().timestamp_micros());
        }
        Ok(state.load > before)
    }

    /// Writes the entry that follows `state`, and takes `state` on. This is the commit point.
    ///
    /// # Errors
    /// `Moved`: another process was first; `state` is as it was. `Store`: unknown whether it was written; look at the
    /// newest state.
    pub(crate) async fn commit(&self, state: &mut State, entry: &Entry) -> Result<(), WarehouseError> {
        let name = self.entry_name(entry.load);
        let bytes = Bytes::from(serde_json::to_vec(entry).expect("an entry is plain data"));
        if !self.lake.create(&name, bytes.clone()).await? {
            // An answer that was lost: what is there is ours.
            let there = self.lake.read(&name).await?;
            if there.as_ref() != Some(&bytes) {
                return Err(WarehouseError::Moved);
            }
        }
        state.apply(entry, Hash::of(&bytes), chrono::Utc::now().timestamp_micros());
        Ok(())
    }

    /// What the entries after `load` changed; `None` when some of them are no longer kept.
    pub(crate) async fn entries_since(&self, load: u64, newest: u64) -> Result<Option<Vec<Entry>>, WarehouseError> {
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

    /// Writes a checkpoint when it is time, and deletes what nobody needs any more: older checkpoints and entries,
    /// files that tables let go, files of loads that did not come to their end.
    pub(crate) async fn tidy(&self, state: &mut State) -> Result<(), WarehouseError> {
        // Counted from the last one: a load that merges files writes two entries, and may step over any number.
        let before = state.checkpoint;
        if state.load - before < CHECKPOINT_EVERY {
            return Ok(());
        }
        let now_us = chrono::Utc::now().timestamp_micros();
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
    async fn delete_orphans(&self, state: &State, since: u64) -> Result<(), WarehouseError> {
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

    fn parse(&self, name: &str, bytes: &[u8]) -> Result<Entry, WarehouseError> {
        let entry: Entry = serde_json::from_slice(bytes).map_err(|e| damaged(name, e))?;
        if entry.format > FORMAT {
            return Err(damaged(name, format!("its format {} is newer than this program", entry.format)));
        }
        Ok(entry)
    }

    async fn must_read(&self, name: &str) -> Result<Bytes, WarehouseError> {
        self.lake.read(name).await?.ok_or_else(|| damaged(name, "it is missing"))
    }
}

/// A snapshot of the record that readers share.
pub(crate) type Snapshot = Arc<State>;

fn damaged(object: &str, reason: impl ToString) -> WarehouseError {
    WarehouseError::Damaged { object: object.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests;
