//! The events of a flow, as listeners receive them.

use std::sync::Arc;
use std::time::Duration;

use turnstile_engine::OpenWindowSummary;
use turnstile_lake::{FileKind, NewFile, Slot};
use turnstile_message::{Counters, TopicPartition};
use turnstile_values::MILLISECOND_US;

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
        /// The counts of that commit; zeros where there is none.
        counters: Counters,
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
    /// A cut is committed. Its files came before, each as an event.
    Committed(CommitEvent),
    /// A commit is tried again.
    Retried {
        /// Why, in one line.
        cause: String,
        /// How long it waits.
        wait: Duration,
    },
    /// The state of things, about once a second.
    Status(Status),
    /// The warehouse or a target holds more than before.
    Loaded(Loaded),
    /// A load or a delivery failed and is tried again.
    NotLoaded {
        /// `embedded`, or the database's name.
        target: String,
        /// Why, in one line.
        error: String,
    },
    /// A round of maintenance has changed the lake.
    Maintained(MaintenanceRound),
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

/// One commit.
#[derive(Debug, Clone)]
pub(crate) struct CommitEvent {
    /// What the ledger holds of it.
    pub(crate) slot: Arc<Slot>,
    /// When the cut before it was taken, or reading began, microseconds since the epoch, UTC.
    pub(crate) read_from_us: i64,
    /// When its own cut was taken.
    pub(crate) cut_at_us: i64,
    /// When the ledger's commit began.
    pub(crate) commit_began_at_us: i64,
    /// When the last of its files was in its place, or known to have to wait.
    pub(crate) published_at_us: i64,
    /// How many windows are still open.
    pub(crate) open_windows: usize,
    /// The first of them.
    pub(crate) first_open: Vec<OpenWindowSummary>,
    /// Bytes of memory that windows, dedup and last readings take.
    pub(crate) memory_bytes: usize,
}

impl CommitEvent {
    /// From the cut to the last of its files.
    pub(crate) fn took(&self) -> Duration {
        Duration::from_micros((self.published_at_us - self.cut_at_us).max(0) as u64)
    }
}

/// A round of maintenance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MaintenanceRound {
    /// What was done, in one line.
    pub(crate) summary: String,
    /// When it began, microseconds since the epoch, UTC.
    pub(crate) started_at_us: i64,
    pub(crate) ended_at_us: i64,
    /// Windows whose files were merged.
    pub(crate) windows: u64,
    /// Files that readers no longer see, or that were deleted.
    pub(crate) files: u64,
}

/// How far a partition was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionProgress {
    pub(crate) partition: TopicPartition,
    /// Offset of the next message to read.
    pub(crate) next_offset: i64,
    /// The offset after the last message, while the broker tells.
    pub(crate) end_offset: Option<i64>,
    /// The latest event time, microseconds since the epoch.
    pub(crate) event_us: Option<i64>,
    /// The last message's own timestamp, milliseconds since the epoch.
    pub(crate) timestamp_ms: Option<i64>,
}

impl PartitionProgress {
    /// Seconds between the last message read and `now_us`; 0 at the end of the partition, none while its end is not known.
    pub(crate) fn lag_seconds(&self, now_us: i64) -> Option<f64> {
        if self.end_offset? <= self.next_offset {
            return Some(0.0);
        }
        let read_us = self.timestamp_ms?.checked_mul(MILLISECOND_US)?;
        Some((now_us - read_us).max(0) as f64 / 1e6)
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
    /// Bytes of keys and values that this run has read.
    pub(crate) read_bytes: u64,
    /// Bytes of memory that windows, dedup and last readings took at the last cut.
    pub(crate) memory_bytes: usize,
    /// How far each partition was read.
    pub(crate) partitions: Vec<PartitionProgress>,
    /// What this run has done since its start.
    pub(crate) run: RunCounts,
    /// At the end of a run: what it rejected.
    pub(crate) rejected: Option<RejectedShare>,
}
