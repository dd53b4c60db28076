//! Old slots into a file of history, once enough slots follow them.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::Ledger;
use super::history::{HistoryHeader, HistorySegment};
use super::rollup::RecentSlot;
use crate::error::{LedgerError, corrupt};
use crate::failpoint::reach;
use crate::hash::Hash;
use crate::slot::HistoryRef;
use crate::store::{Creation, StoreError};

/// The log keeps this many slots after a segment before the segment is rolled up.
const KEPT: u64 = 16;

/// Old slots that one commit reads back, after a restart, to roll them up.
const READS_PER_COMMIT: usize = 32;

/// Old slots read at the same time.
const READS_AT_ONCE: usize = 8;

impl Ledger {
    /// Rolls the oldest segment of the log up, once enough slots follow it.
    pub(super) async fn roll_up(&mut self) -> Result<(), LedgerError> {
        let segment = self.lake.segment();
        self.roll.bound(4 * segment as usize);
        let first = self.newest.history.map_or(1, |history| history.last + 1);
        let last = first + segment - 1;
        if self.roll.written.is_some() || self.newest.seq < last + KEPT.min(segment) {
            return Ok(());
        }
        if !self.read_back(first).await? {
            return Ok(());
        }
        let slots: Vec<&RecentSlot> = self.roll.recent.iter().take_while(|recent| recent.line.seq <= last).collect();
        let header = HistoryHeader {
            format: crate::framed::FORMAT,
            pipeline: self.pipeline().to_owned(),
            first,
            last,
            previous_history: self.newest.history.map(|history| history.sha256),
            previous_slot: slots.first().and_then(|recent| recent.previous),
            last_slot: slots.last().map_or(self.newest_hash, |recent| recent.hash),
        };
        let lines = slots.into_iter().map(|recent| recent.line.clone()).collect();
        let sha256 = self.write_history(HistorySegment { header, lines }).await?;
        self.roll.written = Some(HistoryRef { last, sha256 });
        reach("commit-after-history");
        Ok(())
    }

    /// Reads some slots before those in memory, and says whether all from `first` on are there.
    async fn read_back(&mut self, first: u64) -> Result<bool, LedgerError> {
        let Some(have) = self.roll.recent.front().map(|recent| recent.line.seq) else { return Ok(false) };
        let from = first.max(have.saturating_sub(READS_PER_COMMIT as u64));
        let (lake, folder) = (&self.lake, &self.folder);
        let log = &folder.log_chain(lake);
        let read: Vec<Option<RecentSlot>> = futures::stream::iter(from..have)
            .map(|seq| async move {
                let found = log.get(seq).await?;
                Ok::<_, LedgerError>(found.map(|entry| {
                    let hash = entry.position.sha256.unwrap_or(Hash::of(b""));
                    RecentSlot::of(&entry.record, hash)
                }))
            })
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await?;
        for (back, recent) in read.into_iter().rev().enumerate() {
            let seq = have - 1 - back as u64;
            let after = self.roll.recent.front().and_then(|recent| recent.previous);
            match recent {
                Some(recent) if Some(recent.hash) == after => self.roll.recent.push_front(recent),
                // Another writer has rolled the segment up: the next commit will find that it owns the
                // pipeline. Anything else is damage.
                _ if lake.persist(|| lake.store().exists(&folder.history(seq))).await? => return Ok(false),
                Some(_) => return Err(corrupt(&folder.slot(seq), "it is not the slot that the next one names")),
                None => return Err(corrupt(&folder.slot(seq), "it is missing and not in history")),
            }
        }
        Ok(from == first)
    }

    /// Creates the file. One that exists was written by a writer before, from the same slots.
    async fn write_history(&self, segment: HistorySegment) -> Result<Hash, LedgerError> {
        let (store, path) = (self.lake.store(), self.folder.history(segment.header.last));
        let bytes = Bytes::from(segment.encode());
        if self.lake.persist(|| store.create(&path, bytes.clone())).await? == Creation::Made {
            return Ok(Hash::of(&bytes));
        }
        match self.lake.persist(|| store.get(&path)).await? {
            // Another release may pack the same lines into other bytes.
            Some(found) if found == bytes || HistorySegment::decode(&found).is_ok_and(|found| found == segment) => {
                Ok(Hash::of(&found))
            }
            Some(_) => Err(corrupt(&path, "its slots differ from those in the log")),
            None => {
                let source = "the name is taken, but no object can be read there".into();
                Err(StoreError { operation: "create", path: path.to_string(), retriable: true, source }.into())
            }
        }
    }
}
