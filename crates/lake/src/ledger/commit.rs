//! What a commit is given and gives back.

use std::collections::BTreeMap;

use bytes::Bytes;
use turnstile_message::OffsetRange;

use crate::slot::{FileKind, Slot, StateRef};
use turnstile_message::{Counters, ExcludedMessages, FailedWindow, PartitionPosition};

/// A consistent cut through the pipeline: offsets read, state kept, files to publish, all as of
/// one moment.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Where reading resumes, for every partition that was ever read.
    pub positions: Vec<PartitionPosition>,
    /// Topic ids by topic name, where the broker gives them.
    pub topic_ids: BTreeMap<String, String>,
    /// Event time that the pipeline has reached, microseconds since the epoch, UTC.
    pub watermark_us: Option<i64>,
    /// Windows that end up to here are published, microseconds since the epoch, UTC.
    pub published_until_us: Option<i64>,
    /// Wall-clock time at which a quiet stream's windows were closed, microseconds since the epoch, UTC.
    pub quiet_closed_at_us: Option<i64>,
    /// State of earlier commits that is still needed, as those returned it.
    pub kept: Vec<StateRef>,
    /// State that is new.
    pub state: Vec<NewState>,
    /// Files to publish. No empty ones.
    pub publish: Vec<NewFile>,
    /// Windows that lack groups which could not be computed.
    pub failed: Vec<FailedWindow>,
    /// Late rows and duplicates since the commit before, by window, where the writer counts them so.
    pub excluded: Option<Vec<ExcludedMessages>>,
    /// What became of all rows since the pipeline began.
    pub counters: Counters,
    /// The key of the folders that windows' files are in; without it, that of the commit before.
    pub partition_key: Option<String>,
    /// Whether the writer releases the pipeline with this commit.
    pub released: bool,
}

/// A blob of state to keep.
#[derive(Debug, Clone)]
pub struct NewState {
    /// The caller's word for what it is.
    pub kind: String,
    /// Event time after which nothing in it is needed, microseconds since the epoch, UTC.
    pub live_until_us: Option<i64>,
    /// The blob.
    pub bytes: Bytes,
}

/// A file to publish.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// Final name below the lake's root: [`crate::window_name`], [`crate::dead_letters_name`].
    pub name: String,
    /// The file.
    pub bytes: Bytes,
    /// Rows in it, without headers.
    pub rows: u64,
    /// What it holds.
    pub kind: FileKind,
    /// The messages that it was made from.
    pub sources: Vec<OffsetRange>,
    /// Its rows by what became of them.
    pub counts: BTreeMap<String, u64>,
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// The slot.
    pub seq: u64,
    /// When it was written, microseconds since the epoch, UTC.
    pub committed_at_us: i64,
    /// References to the new blobs of state, in the order given.
    pub state: Vec<StateRef>,
    /// Files that are now at their final names, those of earlier commits included.
    pub published: Vec<String>,
    /// Files that are committed but not yet at their final names, because the store failed; the next
    /// commit or start publishes them.
    pub pending: Vec<String>,
}

/// What a start found: the last commit of the writer before.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovered {
    /// The newest slot before this writer's claim: positions, watermarks, state, counters.
    pub slot: Slot,
    /// Files that the writer before had committed and that are published now.
    pub published: Vec<String>,
}
