//! What a chain is made of: records, their places, and who may append.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::framed::{self, FORMAT, Unreadable};
use crate::hash::Hash;

/// A place in a chain: after entry `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChainPosition {
    /// The entry; 0 before the first.
    pub seq: u64,
    /// SHA-256 of its bytes; none before the first.
    pub sha256: Option<Hash>,
}

/// What it means when another writer's entry stands above one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// One writer owns the chain until another claims it: any higher entry fences it.
    Exclusive,
    /// Writers take turns: a higher entry that builds on one's own does not fence.
    Shared,
}

/// The content of one kind of entry, and the rules of its chain.
pub trait ChainRecord: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The first word of an entry.
    const MAGIC: &'static str;
    /// Format version that is written, and the newest that is read.
    const FORMAT: u32 = FORMAT;
    /// Who may append.
    const OWNERSHIP: Ownership;

    /// The entry's number, from 1, without holes.
    fn seq(&self) -> u64;

    /// SHA-256 of the bytes of the entry before; none for the first.
    fn previous(&self) -> Option<Hash>;

    /// The name of the chain that it belongs to, where the record says so.
    fn chain_name(&self) -> Option<&str> {
        None
    }

    /// The entry's bytes: a header line with format version, checksum and length, then one line of JSON.
    fn encode(&self) -> Vec<u8> {
        framed::encode(Self::MAGIC, Self::FORMAT, self)
    }

    /// Reads what [`ChainRecord::encode`] wrote, and checks that it arrived whole. A chain whose earlier entries have
    /// another form reads them here.
    ///
    /// # Errors
    /// The bytes are damaged, or of a newer format.
    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        framed::decode(Self::MAGIC, Self::FORMAT, bytes)
    }
}

/// A record that was read, and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct ChainEntry<R> {
    /// The record.
    pub record: R,
    /// The place after it.
    pub position: ChainPosition,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq)]
pub enum Appended<R> {
    /// The entry is part of the chain, for ever.
    Committed(ChainPosition),
    /// Another writer was first; its entry, where it can still be read. Read the newest entry and begin again from
    /// there. When the chain has moved on by more entries than are kept, one's own may be among those before.
    Raced(Option<Box<ChainEntry<R>>>),
}
