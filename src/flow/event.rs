//! The events of a flow, as listeners receive them.

use std::time::Duration;

use turnstile_lake::{FileKind, NewFile};

use super::loaded::Loaded;
use super::rejections::RejectedShare;

/// Something that happened in a flow.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Partitions are assigned and reading has begun.
    Ready {
        /// The topics, as the pipeline names them.
        topics: String,
        /// How many partitions.
        partitions: usize,
        /// Whether it resumes from an earlier commit, and from which.
        resumed_at: Option<u64>,
        /// From start to here.
        took: Duration,
    },
    /// A window's file is at its final name.
    Published {
        /// Name below the lake's root.
        name: String,
        /// Rows in it.
        rows: u64,
        /// Messages that are part of it.
        messages: u64,
        /// 1, or more for a correction.
        version: u32,
    },
    /// Messages went to the dead letters.
    DeadLetters {
        /// Name of the file, below the lake's root.
        name: String,
        /// How many.
        count: u64,
        /// Where the first one stands and why it was rejected.
        first: String,
    },
    /// The state of things, about once a second.
    Status(Status),
    /// The warehouse or a target holds more than before.
    Loaded(Loaded),
    /// A load or a delivery failed and is tried again: why, in one line.
    NotLoaded(String),
    /// Something a person should know.
    Note(String),
}

impl Event {
    /// A file is committed. `first` describes the first of the commit's dead letters.
    pub(super) fn of_file(file: &NewFile, first: &str) -> Self {
        match file.kind {
            FileKind::Window { version, .. } => Self::Published {
                name: file.name.clone(),
                rows: file.rows,
                messages: file.counts.get("messages").copied().unwrap_or_default(),
                version,
            },
            FileKind::DeadLetters => {
                Self::DeadLetters { name: file.name.clone(), count: file.rows, first: first.to_owned() }
            }
        }
    }
}

/// Counts of one run, since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RunCounts {
    /// Messages read.
    pub(crate) read: u64,
    /// Windows' files published.
    pub(crate) files: u64,
    /// Messages in the dead letters.
    pub(crate) dead_lettered: u64,
    /// Messages that came late.
    pub(crate) late: u64,
}

/// The state of a flow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Status {
    /// Messages read since the pipeline began.
    pub(crate) read: u64,
    /// Messages a second since the last status.
    pub(crate) rate: f64,
    /// Messages in the topic that are not read yet.
    pub(crate) lag: Option<u64>,
    /// The watermark, microseconds since the epoch.
    pub(crate) watermark_us: Option<i64>,
    /// Windows that are open.
    pub(crate) open_windows: usize,
    /// Messages in the dead letters since the pipeline began.
    pub(crate) dead_lettered: u64,
    /// Messages that came late since the pipeline began.
    pub(crate) late: u64,
    /// Number of the last commit.
    pub(crate) seq: u64,
    /// What this run has done since its start.
    pub(crate) run: RunCounts,
    /// At the end of a run: what it rejected.
    pub(crate) rejected: Option<RejectedShare>,
}
