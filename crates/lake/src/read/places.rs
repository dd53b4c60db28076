//! Where the rows of published files are now, after maintenance.

use std::collections::HashMap;

use serde::Serialize;

use crate::chain::ChainPosition;
use crate::error::LedgerError;
use crate::lake::Lake;
use crate::ledger::LedgerFolder;
use crate::maintenance_slot::{Compacted, CompactedLetters, MaintenanceSlot};
use crate::slot::{FileEntry, FileKind};

/// Where the rows of a published file lie now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RowLocation {
    /// In the file that was published.
    Own,
    /// In a compacted object. The file is retired.
    Compacted {
        /// The object, below the lake's root.
        object: String,
        /// Rows of the object before them.
        first_row: u64,
    },
    /// Nowhere, or in an object that is about to be deleted: they are retired.
    Retired {
        /// When, microseconds since the epoch, UTC.
        since_us: i64,
        /// Why.
        reason: String,
    },
}

/// All that maintenance did.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The newest slot of maintenance.
    pub(super) newest: u64,
    /// Compacted objects, by name.
    pub(super) compacted: HashMap<String, Compacted>,
    /// Retired objects, by name: since when, and why.
    pub(super) retired: HashMap<String, (i64, String)>,
    /// Objects that hold the dead letters of several commits, by name.
    pub(super) letters: HashMap<String, CompactedLetters>,
    /// Which compacted object took the rows of a window's version last, and after how many rows.
    moved: HashMap<(i64, i64, u32), (String, u64)>,
    /// The same for a commit's dead letters.
    moved_letters: HashMap<u64, (String, u64)>,
}

impl Places {
    /// Reads the chain of maintenance.
    pub(super) async fn read(lake: &Lake, pipeline: &str) -> Result<Self, LedgerError> {
        let folder = LedgerFolder::of(pipeline, lake.segment())?;
        let chain = folder.maintenance_chain(lake);
        let newest = chain.newest_after(0).await?.unwrap_or(0);
        let mut places = Self::default();
        chain
            .walk(ChainPosition::default(), newest, |slot| {
                places.take(slot);
                Ok::<_, LedgerError>(true)
            })
            .await?;
        Ok(places)
    }

    fn take(&mut self, slot: MaintenanceSlot) {
        self.newest = slot.seq;
        for object in slot.compacted {
            let mut first_row = 0;
            for part in &object.parts {
                self.moved.insert((part.start_us, part.end_us, part.version), (object.name.clone(), first_row));
                first_row += part.rows;
            }
            self.compacted.insert(object.name.clone(), object);
        }
        for object in slot.letters {
            let mut first_row = 0;
            for part in &object.parts {
                self.moved_letters.insert(part.seq, (object.name.clone(), first_row));
                first_row += part.rows;
            }
            self.letters.insert(object.name.clone(), object);
        }
        let since_us = slot.committed_at_us;
        self.retired.extend(slot.retired.into_iter().map(|retired| (retired.name, (since_us, retired.reason))));
    }

    /// Where the rows of a file that commit `seq` published lie now.
    pub(super) fn of(&self, seq: u64, file: &FileEntry) -> RowLocation {
        let moved = match file.kind {
            FileKind::Window { start_us, end_us, version } => self.moved.get(&(start_us, end_us, version)),
            FileKind::DeadLetters => self.moved_letters.get(&seq),
        };
        let object = moved.map_or(&file.name, |(object, _)| object);
        match (self.retired.get(object), moved) {
            (Some((since_us, reason)), _) => RowLocation::Retired { since_us: *since_us, reason: reason.clone() },
            (None, Some((object, first_row))) => {
                RowLocation::Compacted { object: object.clone(), first_row: *first_row }
            }
            (None, None) => RowLocation::Own,
        }
    }
}
