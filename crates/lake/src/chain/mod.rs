//! A log of immutable, numbered entries, each naming the hash of the previous one.
//!
//! In: records. Out: entries, each created only if its number is free, so that of two writers one detects that the
//! other was first; the same entries read back, with their links verified; checkpoints beside them.
//! Refuses to know what a record contains. The ledger's log, the chain of maintenance and the warehouse's record are
//! such chains. Start at [`Chain::append`]; docs/decisions/0009-one-chain.md has the reasons.

mod append;
mod checkpoints;
mod error;
mod read;
mod record;

use std::marker::PhantomData;

use object_store::path::Path;

pub use crate::framed::{Unreadable, decode as decode_framed, encode as encode_framed};
pub use checkpoints::Checkpoints;
pub use error::ChainError;
pub use record::{Appended, ChainEntry, ChainPosition, ChainRecord, Ownership};

use crate::hash::Hash;
use crate::lake::Lake;

/// One chain of a lake.
#[derive(Debug)]
pub struct Chain<R> {
    lake: Lake,
    name: String,
    folder: Path,
    record: PhantomData<fn() -> R>,
}

impl<R> Clone for Chain<R> {
    fn clone(&self) -> Self {
        Self { lake: self.lake.clone(), name: self.name.clone(), folder: self.folder.clone(), record: PhantomData }
    }
}

impl<R: ChainRecord> Chain<R> {
    /// The chain of the entries in `folder`, below the lake's root. `name` is what its records call it.
    pub fn new(lake: &Lake, name: &str, folder: &str) -> Self {
        Self { lake: lake.clone(), name: name.to_owned(), folder: Path::from(folder), record: PhantomData }
    }

    /// The name of an entry, below the lake's root.
    pub fn entry_name(&self, seq: u64) -> String {
        self.path(seq).to_string()
    }

    /// Deletes entries. Those above the newest checkpoint, and the newest entry, must stay.
    ///
    /// # Errors
    /// The store does not answer or refuses; some may be deleted.
    pub async fn sweep(&self, seqs: std::ops::Range<u64>) -> Result<(), ChainError> {
        let paths: Vec<Path> = seqs.map(|seq| self.path(seq)).collect();
        if paths.is_empty() {
            return Ok(());
        }
        Ok(self.lake.persist(|| self.lake.store().delete(paths.clone())).await?)
    }

    fn path(&self, seq: u64) -> Path {
        Path::from(format!("{}/{seq:020}", self.folder))
    }

    /// The entry that a path in the chain's folder names.
    fn seq_of(path: &Path) -> Option<u64> {
        path.filename().filter(|name| name.len() == 20)?.parse().ok()
    }

    fn decode(&self, seq: u64, bytes: &[u8]) -> Result<ChainEntry<R>, ChainError> {
        let path = self.path(seq);
        let record = R::decode(bytes).map_err(|why| ChainError::unreadable(&path, why))?;
        if let Some(found) = record.chain_name().filter(|found| *found != self.name) {
            let (expected, found) = (self.name.clone(), found.to_owned());
            return Err(ChainError::OtherChain { object: path.to_string(), expected, found });
        }
        if record.seq() != seq {
            return Err(ChainError::corrupt(&path, format!("it claims to be entry {}", record.seq())));
        }
        Ok(ChainEntry { record, position: ChainPosition { seq, sha256: Some(Hash::of(bytes)) } })
    }
}
