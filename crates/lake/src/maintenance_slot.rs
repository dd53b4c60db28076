//! One slot of the maintenance chain: what was compacted, retired and deleted.
//!
//! Source: docs/ledger.md, "Maintenance".

use serde::{Deserialize, Serialize};

use crate::chain::{ChainRecord, Ownership};
use crate::day::day_of;
use crate::hash::Hash;
use crate::slot::WriterId;

/// The record of one act of maintenance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MaintenanceSlot {
    /// The pipeline's name.
    pub pipeline: String,
    /// The slot's number, from 1, without holes.
    pub seq: u64,
    /// Tells it apart from any other attempt at this slot.
    pub nonce: String,
    /// SHA-256 of the bytes of the slot before; none for the first.
    pub previous: Option<Hash>,
    /// When it was written, by its writer's clock, microseconds since the epoch, UTC. Retired objects are deleted a
    /// while after it.
    pub committed_at_us: i64,
    /// Who wrote it.
    pub writer: WriterId,
    /// The commit of the ledger up to which it was planned: what it names was published by then.
    pub ledger_seq: u64,
    /// Objects that it made part of the lake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compacted: Vec<Compacted>,
    /// Objects of dead letters that it made part of the lake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub letters: Vec<CompactedLetters>,
    /// Objects that readers no longer need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<Retired>,
    /// Names of objects retired earlier that are known to be deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<String>,
}

/// An object that holds the rows of several windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    /// Its name, below the lake's root.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: Hash,
    /// Its size.
    pub bytes: u64,
    /// Rows in it, without headers.
    pub rows: u64,
    /// Whose rows they are, in their order in the object.
    pub parts: Vec<CompactedWindow>,
}

/// The rows of one version of one window within a compacted object. The messages that they were made from are in the
/// commit that published them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactedWindow {
    /// First instant of the window, microseconds since the epoch, UTC.
    pub start_us: i64,
    /// First instant after it.
    pub end_us: i64,
    /// The window's version.
    pub version: u32,
    /// How many rows.
    pub rows: u64,
    /// The commit that published them.
    pub seq: u64,
    /// SHA-256 of the file that was published.
    pub sha256: Hash,
}

/// An object that holds the dead letters of several commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactedLetters {
    /// Its name, below the lake's root.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: Hash,
    /// Its size.
    pub bytes: u64,
    /// Messages in it.
    pub rows: u64,
    /// When the newest of these commits was written, microseconds since the epoch, UTC.
    pub until_us: i64,
    /// Which commits' dead letters they are, in their order in the object.
    pub parts: Vec<LettersPart>,
}

/// The dead letters of one commit within a compacted object. Where they come from is in that commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LettersPart {
    /// The commit that published them.
    pub seq: u64,
    /// How many messages.
    pub rows: u64,
    /// SHA-256 of the file that was published.
    pub sha256: Hash,
}

/// An object that readers no longer need, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// Its name, below the lake's root.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Why, for people.
    pub reason: String,
}

impl CompactedWindow {
    /// The UTC day on which the window starts, since the epoch.
    pub(crate) fn day(&self) -> i64 {
        day_of(self.start_us)
    }
}

impl ChainRecord for MaintenanceSlot {
    const MAGIC: &'static str = "turnstile-maintenance";
    const OWNERSHIP: Ownership = Ownership::Shared;

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
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_read_back_as_it_was_written_and_no_changed_byte_goes_unseen() {
        let part = CompactedWindow { start_us: 0, end_us: 1, version: 2, rows: 3, seq: 4, sha256: Hash::of(b"p") };
        let slot = MaintenanceSlot {
            pipeline: "mta".into(),
            seq: 1,
            nonce: "n".into(),
            previous: None,
            committed_at_us: 9,
            writer: WriterId::default(),
            ledger_seq: 4,
            compacted: vec![Compacted {
                name: "c".into(),
                sha256: Hash::of(b"c"),
                bytes: 1,
                rows: 3,
                parts: vec![part],
            }],
            letters: vec![CompactedLetters {
                name: "l".into(),
                sha256: Hash::of(b"l"),
                bytes: 1,
                rows: 2,
                until_us: 8,
                parts: vec![LettersPart { seq: 3, rows: 2, sha256: Hash::of(b"q") }],
            }],
            retired: vec![Retired { name: "r".into(), bytes: 1, reason: "old".into() }],
            deleted: vec!["d".into()],
        };
        let bytes = slot.encode();
        assert_eq!(MaintenanceSlot::decode(&bytes).unwrap(), slot);
        assert!(bytes.starts_with(b"turnstile-maintenance 1 crc32c="));
        let mut changed = bytes.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(MaintenanceSlot::decode(&changed).is_err());
    }
}
