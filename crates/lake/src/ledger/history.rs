//! History: old slots rolled up, so that the log stays short and provenance stays whole.
//!
//! A history file has a header and one line per slot: what was published, from which messages, and the counters. Each
//! file names the hash of the previous one; the newest slot names the last one. Source: docs/ledger.md, "History".

use std::collections::BTreeMap;
use std::io::{Read, Write};

use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use serde::{Deserialize, Serialize};
use turnstile_values::{BoxError, caused};

use crate::hash::Hash;
use crate::slot::{FileEntry, Slot};
use turnstile_message::{Counters, ExcludedMessages, FailedWindow};

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
    /// Windows of the commit that lack groups which could not be computed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedWindow>,
    /// Late rows and duplicates of the commit, by window; `None`: its writer did not count them so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excluded: Option<Vec<ExcludedMessages>>,
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
            failed: slot.failed.clone(),
            excluded: slot.excluded.clone(),
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

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BoxError> {
        let mut text = String::new();
        GzDecoder::new(bytes).read_to_string(&mut text).map_err(|e| caused("it cannot be decompressed", e))?;
        let mut lines = text.lines();
        let header: HistoryHeader = serde_json::from_str(lines.next().unwrap_or_default())
            .map_err(|e| caused("its first line cannot be read", e))?;
        let lines: Vec<CommitRecord> = lines
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .map_err(|e| caused("one of its lines cannot be read", e))?;
        let whole = lines.iter().map(|line| line.seq).eq(header.first..=header.last);
        if whole { Ok(Self { header, lines }) } else { Err("it does not contain the expected slots".into()) }
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
