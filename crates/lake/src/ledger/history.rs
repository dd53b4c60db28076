//! History: old slots rolled up, so that the log stays short and provenance stays whole.
//!
//! A file of history holds a header and one line a slot: what was published, from which messages,
//! and how many rows became what. Each file names the hash of the one before; the newest slot names
//! the last one. Source: docs/ledger.md, "History".

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};

use bytes::Bytes;
use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::{Ledger, corrupt};
use crate::failpoint::reach;
use crate::slot::{FileEntry, HistoryRef, Slot};
use crate::store::Creation;
use crate::{Counters, Hash, LedgerError};

/// The log keeps this many slots after a segment before the segment is rolled up.
const KEPT: u64 = 16;

/// Old slots that one commit reads back, after a restart, to roll them up.
const READS_PER_COMMIT: usize = 32;

/// Old slots read at the same time.
const READS_AT_ONCE: usize = 8;

/// What history says of a file before its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HistoryHeader {
    pub(crate) format: u32,
    pub(crate) pipeline: String,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Hash of the file of history before.
    pub(crate) previous_history: Option<Hash>,
    /// Hash of the slot before the first.
    pub(crate) previous_slot: Option<Hash>,
    /// Hash of the last slot: the slot after it names the same.
    pub(crate) last_slot: Hash,
}

/// One commit or claim, as long as the lake lasts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// The slot.
    pub seq: u64,
    /// The writer's epoch.
    pub epoch: u64,
    /// When it was written, microseconds since the epoch, UTC.
    pub committed_at_us: i64,
    /// The writer's host.
    pub host: String,
    /// What became of all rows so far.
    pub counters: Counters,
    /// Next offsets, by topic and partition.
    pub next: BTreeMap<String, BTreeMap<i32, i64>>,
    /// Topic ids by topic name, where the broker gave them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub topic_ids: BTreeMap<String, String>,
    /// Files that the commit made part of the lake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileEntry>,
}

impl CommitRecord {
    /// What lasts of a slot.
    pub(crate) fn of(slot: &Slot) -> Self {
        let mut next: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
        for position in &slot.positions {
            let partitions = next.entry(position.partition.topic.to_string()).or_default();
            partitions.insert(position.partition.partition, position.next_offset);
        }
        let lasting = |file: &FileEntry| FileEntry { stage: String::new(), ..file.clone() };
        Self {
            seq: slot.seq,
            epoch: slot.epoch,
            committed_at_us: slot.committed_at_us,
            host: slot.writer.host.clone(),
            counters: slot.counters.clone(),
            next,
            topic_ids: slot.topic_ids.clone(),
            files: slot.publish.iter().map(lasting).collect(),
        }
    }
}

/// A file of history, read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HistorySegment {
    pub(crate) header: HistoryHeader,
    pub(crate) lines: Vec<CommitRecord>,
}

impl HistorySegment {
    /// Gzip of one JSON object a line, the header first. The same slots give the same bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::new(6));
        let mut line = |json: Vec<u8>| gzip.write_all(&json).and_then(|()| gzip.write_all(b"\n"));
        let plain = "history is plain data, written to memory";
        line(serde_json::to_vec(&self.header).expect(plain)).expect(plain);
        for one in &self.lines {
            line(serde_json::to_vec(one).expect(plain)).expect(plain);
        }
        gzip.finish().expect(plain)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut text = String::new();
        GzDecoder::new(bytes).read_to_string(&mut text).map_err(|e| format!("it cannot be unpacked: {e}"))?;
        let mut lines = text.lines();
        let header: HistoryHeader = serde_json::from_str(lines.next().unwrap_or_default())
            .map_err(|e| format!("its first line cannot be read: {e}"))?;
        let lines: Vec<CommitRecord> = lines
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .map_err(|e| format!("one of its lines cannot be read: {e}"))?;
        let whole = lines.iter().map(|line| line.seq).eq(header.first..=header.last);
        if whole { Ok(Self { header, lines }) } else { Err("it does not hold the slots that it should".to_owned()) }
    }
}

/// Slots on their way into history.
#[derive(Debug, Default)]
pub(super) struct Rollup {
    /// The newest slots without a hole, oldest first.
    recent: VecDeque<RecentSlot>,
    /// A file of history that is written and that no committed slot names yet.
    written: Option<HistoryRef>,
}

#[derive(Debug, Clone)]
struct RecentSlot {
    line: CommitRecord,
    hash: Hash,
    previous: Option<Hash>,
}

impl RecentSlot {
    fn of(slot: &Slot, hash: Hash) -> Self {
        Self { line: CommitRecord::of(slot), hash, previous: slot.previous }
    }
}

impl Rollup {
    pub(super) fn written(&self) -> Option<HistoryRef> {
        self.written
    }

    /// Takes a slot that is now the newest.
    pub(super) fn committed(&mut self, slot: &Slot, hash: Hash) {
        self.recent.push_back(RecentSlot::of(slot, hash));
        if slot.history == self.written {
            self.written = None;
        }
        let rolled_up = slot.history.map_or(0, |history| history.last);
        while self.recent.front().is_some_and(|recent| recent.line.seq <= rolled_up) {
            self.recent.pop_front();
        }
    }

    /// Keeps memory bounded when the store takes no history for long: what is let go is read back.
    fn bound(&mut self, slots: usize) {
        while self.recent.len() > slots {
            self.recent.pop_front();
        }
    }
}

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
                Some(_) => return Err(corrupt(&folder.slot(seq), "it is not the slot that the one after it names")),
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
            Some(found) if found == bytes || HistorySegment::decode(&found).as_ref() == Ok(&segment) => {
                Ok(Hash::of(&found))
            }
            Some(_) => Err(corrupt(&path, "it does not hold the slots that are in the log")),
            None => {
                let source = "the name is taken, and nothing can be read there".into();
                Err(crate::StoreError { operation: "create", path: path.to_string(), retriable: true, source }.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::tests::slot;

    #[test]
    fn history_is_reproducible_and_read_back_as_it_was_written() {
        let header = HistoryHeader {
            format: 1,
            pipeline: "mta".into(),
            first: 7,
            last: 7,
            previous_history: None,
            previous_slot: None,
            last_slot: Hash::of(b"x"),
        };
        let segment = HistorySegment { header, lines: vec![CommitRecord::of(&slot())] };
        assert_eq!(segment.encode(), segment.encode());
        assert_eq!(HistorySegment::decode(&segment.encode()).unwrap(), segment);
        assert!(segment.lines[0].files[0].stage.is_empty());
    }

    #[test]
    fn a_history_with_a_missing_line_is_refused() {
        let mut segment = HistorySegment {
            header: HistoryHeader {
                format: 1,
                pipeline: "mta".into(),
                first: 7,
                last: 8,
                previous_history: None,
                previous_slot: None,
                last_slot: Hash::of(b"x"),
            },
            lines: vec![CommitRecord::of(&slot())],
        };
        assert!(HistorySegment::decode(&segment.encode()).is_err());
        segment.header.last = 7;
        assert!(HistorySegment::decode(&segment.encode()).is_ok());
    }
}
