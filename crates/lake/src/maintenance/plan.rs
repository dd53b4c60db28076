//! What maintenance would do: objects to make, to retire and to delete, each with its reason.
//!
//! Made by [`super::plan`], done by [`super::apply`].

use serde::Serialize;

use crate::format::FileEncoding;
use crate::hash::Hash;
use crate::maintenance_slot::{CompactedWindow, LettersPart, Retired};
use crate::read::CatalogPosition;

/// What maintenance would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MaintenancePlan {
    /// The pipeline.
    pub pipeline: String,
    /// The position of the catalog that it was made from.
    pub at: CatalogPosition,
    /// Objects to make.
    pub compact: Vec<CompactionBatch>,
    /// Objects of dead letters to make.
    pub letters: Vec<LettersBatch>,
    /// Objects to retire because their time has come.
    pub retire: Vec<Retired>,
    /// Objects to delete, retired earlier.
    pub delete: Vec<Retired>,
    /// Objects that would go but for something that still needs them.
    pub keep: Vec<Retired>,
    /// Days (since the epoch, UTC) on which leftovers of crashed compactions are looked for.
    #[serde(skip)]
    pub(crate) sweep: Vec<i64>,
    /// Whether they are looked for among the dead letters.
    #[serde(skip)]
    pub(crate) sweep_letters: bool,
}

/// One object to make from several.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompactionBatch {
    /// The key of its folder: that of the objects that its rows come from.
    pub key: String,
    /// The UTC date on which its windows start.
    pub date: String,
    /// Its format, and that of the objects that its rows come from.
    pub format: FileEncoding,
    /// Whose rows it will hold, in this order.
    pub parts: Vec<CompactionInput>,
    /// Objects that are no longer needed once it is there.
    pub replaces: Vec<Retired>,
}

/// One object to make from several files of dead letters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LettersBatch {
    /// The UTC date of its commits.
    pub date: String,
    /// When the newest of its commits was written, microseconds since the epoch, UTC.
    pub until_us: i64,
    /// Which commits' dead letters it will hold, in this order.
    pub parts: Vec<LettersInput>,
    /// Objects that are no longer needed once it is there.
    pub replaces: Vec<Retired>,
}

/// The dead letters of one commit, where they lie now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LettersInput {
    /// Which they are.
    #[serde(flatten)]
    pub part: LettersPart,
    /// The object that holds them.
    pub object: String,
    /// SHA-256 of its bytes.
    pub object_sha256: Hash,
    /// Messages of it before them.
    pub first_row: u64,
}

/// Rows of one window, where they lie now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompactionInput {
    /// Whose rows they are.
    #[serde(flatten)]
    pub part: CompactedWindow,
    /// The object that holds them.
    pub object: String,
    /// SHA-256 of its bytes.
    pub object_sha256: Hash,
    /// Rows of it before them.
    pub first_row: u64,
}

impl MaintenancePlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        let nothing_new = self.compact.is_empty() && self.letters.is_empty();
        let nothing_old = self.retire.is_empty() && self.delete.is_empty();
        nothing_new && nothing_old && self.sweep.is_empty() && !self.sweep_letters
    }
}

impl LettersBatch {
    /// Messages that it will hold.
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|source| source.part.rows).sum()
    }
}

impl CompactionBatch {
    /// Rows that it will hold.
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|source| source.part.rows).sum()
    }
}
