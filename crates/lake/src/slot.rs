//! One slot of the log: the record of one commit.
//!
//! In: the bytes of `log/<seq>`. Out: a [`Slot`], or why the bytes are not one.
//! Source: docs/ledger.md, "A slot".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use turnstile_message::{Counters, ExcludedMessages, FailedWindow, OffsetRange, PartitionPosition};

use crate::chain::{ChainRecord, Ownership};
use crate::format::names::LEGACY_KEY;
use crate::hash::Hash;

/// The record of one commit, or of a writer's claim to the pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// The pipeline's name.
    pub pipeline: String,
    /// The slot's number, from 1, without holes.
    pub seq: u64,
    /// Counts the writers of this pipeline: each start takes the next one.
    pub epoch: u64,
    /// Tells it apart from any other attempt at this slot.
    pub nonce: String,
    /// SHA-256 of the bytes of the slot before; none for the first.
    pub previous: Option<Hash>,
    /// When it was written, by the writer's clock, microseconds since the epoch, UTC.
    pub committed_at_us: i64,
    /// When the writer claimed the pipeline, by its clock, microseconds since the epoch, UTC.
    pub claimed_at_us: i64,
    /// Who wrote it.
    pub writer: WriterId,
    /// Hash of the plan that the state belongs to.
    pub plan_hash: String,
    /// Whether the writer has let go of the pipeline.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
    /// Topic ids by topic name, where the broker gave them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub topic_ids: BTreeMap<String, String>,
    /// Where reading resumes.
    #[serde(default)]
    pub positions: Vec<PartitionPosition>,
    /// Event time that the pipeline has reached, microseconds since the epoch, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark_us: Option<i64>,
    /// Windows that end up to here are published, microseconds since the epoch, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_until_us: Option<i64>,
    /// Wall-clock time at which a quiet stream's windows were closed, microseconds since the epoch, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_closed_at_us: Option<i64>,
    /// The state that belongs to the positions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<StateRef>,
    /// Files that this commit made part of the lake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<FileEntry>,
    /// Files of earlier commits of which it is not yet known that they are at their final names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<FileEntry>,
    /// Windows of this commit that lack groups which could not be computed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedWindow>,
    /// Late rows and duplicates of this commit, by window; `None`: the writer did not count them so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excluded: Option<Vec<ExcludedMessages>>,
    /// What became of all rows so far.
    #[serde(default)]
    pub counters: Counters,
    /// The key of the folders that windows' files are in, where it was recorded: see [`Slot::partition_key`].
    #[serde(default, rename = "partition_key", skip_serializing_if = "Option::is_none")]
    pub recorded_partition_key: Option<String>,
    /// The newest file of history; slots up to its last one are read from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryRef>,
}

/// The process that writes: for people, so that they know what to stop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterId {
    /// Host name.
    pub host: String,
    /// Process id.
    pub pid: u32,
    /// When the process started, microseconds since the epoch, UTC.
    pub started_at_us: i64,
    /// Whatever else helps to find it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Where a blob of state lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRef {
    /// The object, below the pipeline's ledger folder.
    pub object: String,
    /// Where the blob starts in it, bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start: u64,
    /// The blob's length, bytes.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: Hash,
    /// The caller's word for what it is.
    pub kind: String,
    /// Event time after which nothing in it is needed, microseconds since the epoch, UTC. The ledger
    /// does not act on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_until_us: Option<i64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// The rows of one window, `[start_us, end_us)`.
    Window {
        /// First instant of the window, microseconds since the epoch, UTC.
        start_us: i64,
        /// First instant after it.
        end_us: i64,
        /// 1, or more for a correction: the highest one counts.
        version: u32,
    },
    /// Messages that could not be processed.
    DeadLetters,
}

/// A file of the lake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its final name, below the lake's root.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: Hash,
    /// Its size.
    pub bytes: u64,
    /// Rows in it, without headers.
    pub rows: u64,
    /// What it holds.
    pub kind: FileKind,
    /// The messages that it was made from. Ranges with 0 messages hold some of them, it is not known how many:
    /// [`FileEntry::ranges_are_coarse`].
    pub sources: Vec<OffsetRange>,
    /// The rows of this file by what became of them, in the caller's words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
    /// Where its bytes lie until it is published, below the pipeline's ledger folder. Empty in history.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stage: String,
}

/// A file of history, by its last slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRef {
    /// Number of the last slot in it.
    pub last: u64,
    /// SHA-256 of its bytes.
    pub sha256: Hash,
}

impl FileEntry {
    /// The messages that it was made from.
    pub fn messages(&self) -> u64 {
        let of_ranges = || self.sources.iter().map(|range| range.messages).sum();
        self.counts.get("messages").copied().unwrap_or_else(of_ranges)
    }

    /// Whether its ranges hold its messages among others, and do not say how many of them each holds: a Spark cluster tells no
    /// more.
    pub fn ranges_are_coarse(&self) -> bool {
        !self.sources.is_empty() && self.sources.iter().all(|range| range.messages == 0)
    }
}

impl Slot {
    /// Files of which the ledger does not say yet that they are at their final names: a writer may still publish them.
    pub(crate) fn unconfirmed(&self) -> impl Iterator<Item = &FileEntry> {
        self.publish.iter().chain(&self.carried)
    }

    /// The key of the folders that the pipeline's files are in, `<key>=YYYY-MM-DD/`. `None`: none was chosen yet, and no
    /// window was published.
    pub fn partition_key(&self) -> Option<&str> {
        // Releases that recorded no key wrote this one; what they published stays in its folders.
        self.recorded_partition_key.as_deref().or(self.published_until_us.is_some().then_some(LEGACY_KEY))
    }
}

impl ChainRecord for Slot {
    const MAGIC: &'static str = "turnstile-ledger";
    const OWNERSHIP: Ownership = Ownership::Exclusive;

    fn seq(&self) -> u64 {
        self.seq
    }

    fn previous(&self) -> Option<Hash> {
        self.previous
    }

    fn chain_name(&self) -> Option<&str> {
        Some(&self.pipeline)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use turnstile_message::{FailedGroup, TopicPartition};

    use super::*;
    use crate::chain::Unreadable;

    pub(crate) fn slot() -> Slot {
        Slot {
            pipeline: "mta".into(),
            seq: 7,
            epoch: 2,
            nonce: "abc".into(),
            previous: Some(Hash::of(b"before")),
            committed_at_us: 5,
            claimed_at_us: 4,
            writer: WriterId { host: "batch-2".into(), pid: 9, started_at_us: 3, note: String::new() },
            plan_hash: "p1".into(),
            released: false,
            topic_ids: BTreeMap::from([("t".into(), "id".into())]),
            positions: vec![PartitionPosition {
                partition: TopicPartition::new("t", 3),
                next_offset: 42,
                leader_epoch: Some(1),
                max_event_us: Some(-1),
                idle: true,
                fingerprint: Some(u64::MAX),
            }],
            watermark_us: Some(1),
            published_until_us: Some(0),
            quiet_closed_at_us: None,
            state: vec![StateRef {
                object: "state/1".into(),
                start: 0,
                bytes: 1,
                sha256: Hash::of(b"s"),
                kind: "windows".into(),
                live_until_us: None,
            }],
            publish: vec![FileEntry {
                name: "date=1970-01-01/f.csv.gz".into(),
                sha256: Hash::of(b"f"),
                bytes: 1,
                rows: 1,
                kind: FileKind::Window { start_us: 0, end_us: 1, version: 1 },
                sources: vec![OffsetRange { partition: TopicPartition::new("t", 3), first: 1, last: 41, messages: 40 }],
                counts: BTreeMap::new(),
                stage: "stage/1".into(),
            }],
            carried: vec![],
            failed: vec![FailedWindow {
                start_us: 0,
                end_us: 1,
                version: 1,
                groups: 2,
                shown: vec![FailedGroup { key: "STATION = A".into(), reason: "it does not fit".into() }],
                messages: 40,
                sources: vec![],
            }],
            excluded: Some(vec![ExcludedMessages { start_us: 0, end_us: 1, late: 1, duplicates: 0 }]),
            counters: Counters { read: 41, aggregated: 41, ..Counters::default() },
            recorded_partition_key: None,
            history: None,
        }
    }

    #[test]
    fn a_pipeline_that_published_before_keys_were_recorded_stays_in_its_folders() {
        assert_eq!(slot().partition_key(), Some("date"));
        assert_eq!(
            Slot { recorded_partition_key: Some("window_date".into()), ..slot() }.partition_key(),
            Some("window_date")
        );
        assert_eq!(Slot { published_until_us: None, ..slot() }.partition_key(), None);
    }

    #[test]
    fn a_slot_is_read_back_as_it_was_written() {
        assert_eq!(Slot::decode(&slot().encode()).unwrap(), slot());
    }

    #[test]
    fn a_slot_is_two_lines_of_text() {
        let bytes = slot().encode();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.starts_with("turnstile-ledger 1 crc32c="), "{text}");
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn no_single_changed_or_missing_byte_goes_unseen() {
        let bytes = slot().encode();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            // A flipped letter case in the checksum's digits is the same checksum.
            if let Ok(read) = Slot::decode(&changed) {
                assert_eq!(read, slot(), "byte {at}");
            }
            assert!(Slot::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_newer_format_is_not_damage() {
        let newer = String::from_utf8(slot().encode()).unwrap().replacen("ledger 1 ", "ledger 2 ", 1);
        assert!(matches!(Slot::decode(newer.as_bytes()), Err(Unreadable::Newer { found: 2, known: 1 })));
        assert!(matches!(Slot::decode(b""), Err(Unreadable::Damaged(_))));
        assert!(matches!(Slot::decode(b"\n{}"), Err(Unreadable::Damaged(_))));
    }
}
