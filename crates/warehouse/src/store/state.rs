//! The warehouse as of one entry: its tables' files and its newest runs.

use std::collections::{BTreeMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};
use turnstile_lake::Hash;
use turnstile_lake::chain::{ChainPosition, Unreadable, encode_framed};

use super::load_run::LoadRun;
use super::record::{DataFile, LoadEntry, RECORD_FORMAT, TableHead, decode};
use super::window_set::WindowSet;

/// Runs that are remembered, the newest. `load_runs` shows no older ones.
pub(crate) const RUNS: usize = 2000;

/// The first word of a checkpoint.
const MAGIC: &str = "turnstile-warehouse-checkpoint";

/// The warehouse as of one entry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct WarehouseState {
    /// The warehouse's UUID; empty before the first entry.
    pub(crate) warehouse: String,
    /// The newest entry.
    pub(crate) load: u64,
    /// SHA-256 of its bytes.
    pub(crate) hash: Option<Hash>,
    pub(crate) ledger_seq: u64,
    /// The entry that the newest checkpoint is of, as far as this process knows; 0 before the first.
    #[serde(default)]
    pub(crate) checkpoint: u64,
    pub(crate) tables: BTreeMap<String, TableState>,
    pub(crate) runs: VecDeque<LoadRun>,
    /// Files that tables no longer have, and when they were let go, microseconds since the epoch, UTC.
    pub(crate) removed: Vec<(String, i64)>,
}

/// A table as of one entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TableState {
    pub(crate) head: TableHead,
    /// The entry that built it: rows of earlier ones are not in it.
    pub(crate) made_at: u64,
    /// The entry that changed its rows last.
    pub(crate) changed_at: u64,
    pub(crate) files: Vec<DataFile>,
}

impl WarehouseState {
    /// The bytes of a checkpoint: framed as an entry is.
    pub(super) fn encode(&self) -> Vec<u8> {
        encode_framed(MAGIC, RECORD_FORMAT, self)
    }

    /// Reads a checkpoint.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let state: Self = decode(MAGIC, bytes)?;
        Ok(Self { checkpoint: state.load, ..state })
    }

    /// The place in the record after the newest entry.
    pub(super) fn position(&self) -> ChainPosition {
        ChainPosition { seq: self.load, sha256: self.hash }
    }

    /// Those of `files` that no table has, and none had lately.
    pub(super) fn without_known(&self, mut files: Vec<String>) -> Vec<String> {
        let mut known: HashSet<&str> = self.removed.iter().map(|(name, _)| name.as_str()).collect();
        known.extend(self.tables.values().flat_map(|table| table.files.iter().map(|file| file.name.as_str())));
        files.retain(|name| !known.contains(name.as_str()));
        files
    }

    /// The entry after this state, which changes nothing yet. The first one names the warehouse.
    pub(crate) fn next_entry(&self) -> LoadEntry {
        let warehouse = match self.warehouse.as_str() {
            "" => uuid::Uuid::new_v4().to_string(),
            known => known.to_owned(),
        };
        LoadEntry {
            warehouse,
            load: self.load + 1,
            previous: self.hash,
            ledger_seq: self.ledger_seq,
            windows: WindowSet::default(),
            tables: BTreeMap::new(),
            dropped: Vec::new(),
            run: None,
        }
    }

    /// The state after `entry`, at `position`. `now_us` dates what it lets go.
    pub(super) fn apply(&mut self, entry: &LoadEntry, position: ChainPosition, now_us: i64) {
        self.warehouse.clone_from(&entry.warehouse);
        (self.load, self.hash, self.ledger_seq) = (position.seq, position.sha256, entry.ledger_seq);
        for name in &entry.dropped {
            self.remove_table(name, now_us);
        }
        for (name, delta) in &entry.tables {
            if let Some(head) = &delta.made {
                self.remove_table(name, now_us);
                let (made_at, changed_at) = (entry.load, entry.load);
                self.tables
                    .insert(name.clone(), TableState { head: head.clone(), made_at, changed_at, files: Vec::new() });
            }
            let Some(table) = self.tables.get_mut(name) else { continue };
            table.files.retain(|file| !delta.remove.contains(&file.name));
            table.files.extend(delta.add.iter().cloned());
            if !delta.same_rows {
                table.changed_at = entry.load;
            }
            self.removed.extend(delta.remove.iter().map(|name| (name.clone(), now_us)));
        }
        if let Some(run) = &entry.run {
            self.runs.push_back(run.clone());
            while self.runs.len() > RUNS {
                self.runs.pop_front();
            }
        }
    }

    fn remove_table(&mut self, name: &str, now_us: i64) {
        let files = self.tables.remove(name).map(|table| table.files).unwrap_or_default();
        self.removed.extend(files.into_iter().map(|file| (file.name, now_us)));
    }
}
