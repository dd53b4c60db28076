//! What a catalog is made of.

use std::sync::Arc;

use crate::format::FileEncoding;
use crate::hash::Hash;
use crate::maintenance_slot::CompactedLetters;

/// The rows of one version of one window, and where they lie: a whole file, or a run of rows in a compacted one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// First instant of the window, microseconds since the epoch, UTC.
    pub start_us: i64,
    /// First instant after it.
    pub end_us: i64,
    /// 1, or more for a correction.
    pub version: u32,
    /// The commit that published it.
    pub seq: u64,
    /// How many rows.
    pub rows: u64,
    /// SHA-256 of the file that was published, also when the rows have moved into a compacted object since.
    pub sha256: Hash,
    /// The object in which the rows lie.
    pub object: Arc<LakeObject>,
    /// How many rows of the object come before them.
    pub first_row: u64,
    /// Whether readers read it: it is the window's highest version, and not gone.
    pub current: bool,
    /// Whether its object was retired: it may no longer exist.
    pub gone: bool,
}

/// A file with rows of windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeObject {
    /// Its name, below the lake's root.
    pub name: Arc<str>,
    /// SHA-256 of its bytes.
    pub sha256: Hash,
    /// Its size.
    pub bytes: u64,
    /// Rows in it, without headers.
    pub rows: u64,
    /// Its format; none where the name has no known ending.
    pub format: Option<FileEncoding>,
    /// How many of its extents are current. Those that are not are rows that a reader skips.
    pub windows: u32,
    /// Whether maintenance made it from several files.
    pub compacted: bool,
}

/// A file of dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLettersFile {
    /// Its name, below the lake's root.
    pub name: Arc<str>,
    /// The commit that published it.
    pub seq: u64,
    /// When that was, by its writer's clock, microseconds since the epoch, UTC.
    pub committed_at_us: i64,
    /// Messages in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: Hash,
    /// Whether it was retired: it may no longer exist.
    pub gone: bool,
}

/// An object that maintenance made of several files of dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LettersObject {
    /// What it holds.
    pub letters: CompactedLetters,
    /// Whether it was retired: it may no longer exist.
    pub gone: bool,
}

/// A retired object of which it is not known that it is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// Its name, below the lake's root.
    pub name: Arc<str>,
    /// Its size.
    pub bytes: u64,
    /// When it was retired, microseconds since the epoch, UTC.
    pub since_us: i64,
}
