//! What a flow tells those that track it: plain values.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use turnstile_message::{Counters, OffsetRange, PartitionPosition, TopicPartition};

/// Something that happened in a flow.
#[derive(Debug, Clone)]
pub enum TrackEvent {
    /// Partitions are assigned and reading has begun.
    Ready {
        /// The topics, as the pipeline names them.
        topics: String,
        /// How many partitions.
        partitions: usize,
        /// The commit that it resumes from, if any.
        resumed_at: Option<u64>,
        /// From start to here.
        took: Duration,
        /// Cumulative, at the commit that it resumes from; zeros where there is none.
        counters: Counters,
    },
    /// A cut is committed and its files are published.
    Committed(CommitReport),
    /// The state of things, about once a second.
    Status(StatusReport),
    /// A load of the warehouse or of a target has succeeded.
    Loaded(LoadReport),
    /// A load or a delivery failed; it is tried again.
    LoadFailed {
        /// `embedded`, `postgres`, `bigquery`.
        target: String,
        /// Why, in one line.
        error: String,
    },
    /// Old windows and files were removed, or the day's files merged.
    Retained(RetainReport),
    /// How many messages a flow of [`MessageMove`](crate::MessageMove) has moved, about once a second.
    Moved(MoveReport),
    /// Something was tried again.
    Retried {
        /// What: `publish`, `commit`.
        action: &'static str,
        /// Why, in one line.
        cause: String,
    },
    /// Something a person should know.
    Log {
        /// How much it matters.
        level: LogLevel,
        /// One line.
        text: String,
    },
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// As planned.
    Info,
    /// Somebody may want to act.
    Warning,
    /// Something failed.
    Error,
}

impl LogLevel {
    /// Every level, the least important first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Error];

    /// Its name: `info`, `warning`, `error`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// The level of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(text))
    }

    /// Its number in Python's `logging`, which Prefect and the store use: 20, 30, 40.
    pub const fn number(self) -> u8 {
        match self {
            Self::Info => 20,
            Self::Warning => 30,
            Self::Error => 40,
        }
    }
}

/// One commit.
#[derive(Debug, Clone, Default)]
pub struct CommitReport {
    /// Its number.
    pub seq: u64,
    /// When it was committed, microseconds since the epoch, UTC.
    pub committed_at_us: i64,
    /// From the cut to its last file at its final name.
    pub took: Duration,
    /// Cumulative, since the pipeline began.
    pub counters: Counters,
    /// Next offsets and event times.
    pub positions: Vec<PartitionPosition>,
    /// The watermark, microseconds since the epoch, UTC.
    pub watermark_us: Option<i64>,
    /// Windows that are still open.
    pub open_windows: usize,
    /// Bytes of the state that the commit refers to.
    pub state_bytes: u64,
    /// Windows and dead letters that it published.
    pub files: Vec<FileReport>,
    /// When its steps began and ended, where the flow measures that.
    pub phases: Option<CommitPhases>,
}

/// When the steps of one commit happened; all in microseconds since the epoch, UTC, in this order.
/// `CommitReport::committed_at_us` lies between the last two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommitPhases {
    /// Reading of what it commits began: the cut before, or the run's first message.
    pub read_from_us: i64,
    /// The flow asked its workers for their parts.
    pub cut_at_us: i64,
    /// The watermark was found to be past the ends of the windows that it publishes; the cut, unless the flow knew earlier.
    pub closed_at_us: i64,
    /// All parts were there and the windows' files encoded: the ledger's commit began.
    pub commit_began_at_us: i64,
    /// The last file was at its final name.
    pub published_at_us: i64,
}

/// A file of a commit.
#[derive(Debug, Clone)]
pub struct FileReport {
    /// Name below the lake's root.
    pub name: String,
    /// Where it can be opened, when the lake has such addresses.
    pub url: Option<String>,
    /// What it holds.
    pub content: FileContent,
    /// Rows, or dead letters.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The offsets that it was made from.
    pub sources: Vec<OffsetRange>,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileContent {
    /// One version of a window.
    Window {
        /// First instant, microseconds since the epoch, UTC.
        start_us: i64,
        /// First instant after it.
        end_us: i64,
        /// 1, or more for a correction.
        version: u32,
        /// Messages that are part of it.
        messages: u64,
    },
    /// Messages that could not be processed: how many by reason.
    DeadLetters(BTreeMap<String, u64>),
}

/// The state of a flow at one moment.
#[derive(Debug, Clone, Default)]
pub struct StatusReport {
    /// Messages read since the pipeline began.
    pub read: u64,
    /// Bytes of keys and values read since this run began.
    pub read_bytes: u64,
    /// Messages a second since the last report.
    pub rate: f64,
    /// Whether the brokers do not answer.
    pub brokers_silent: bool,
    /// Messages that are not read yet, by partition, where the broker tells.
    pub lag: Vec<(TopicPartition, u64)>,
    /// The watermark, microseconds since the epoch, UTC.
    pub watermark_us: Option<i64>,
    /// Windows that are open.
    pub open_windows: usize,
    /// Bytes of memory that windows and dedup hold.
    pub state_memory_bytes: u64,
    /// Messages read since this run began.
    pub run_read: u64,
    /// Age of the next message to be read, in seconds, by partition, where it is known; 0 if none waits.
    pub lag_seconds: Vec<(TopicPartition, f64)>,
}

/// A load of the warehouse, or a delivery to another database.
#[derive(Debug, Clone)]
pub struct LoadReport {
    /// `embedded`, `postgres`, `bigquery`.
    pub target: String,
    /// Its number.
    pub load: u64,
    /// When it began, microseconds since the epoch, UTC.
    pub started_at_us: i64,
    /// When it ended.
    pub ended_at_us: i64,
    /// The commit up to which it loaded.
    pub to_seq: u64,
    /// Windows that were new or corrected.
    pub windows: u64,
    /// Rows that tables received.
    pub rows: u64,
    /// Tests that passed.
    pub tests_passed: u64,
    /// Tests that did not, and only warn.
    pub tests_failed: u64,
}

/// One round of the lake's maintenance that changed something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetainReport {
    /// When it began, microseconds since the epoch, UTC.
    pub started_at_us: i64,
    /// When it ended.
    pub ended_at_us: i64,
    /// Windows that readers no longer see.
    pub windows: u64,
    /// Files that were deleted.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
}

/// How many messages a flow has moved to or from a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MoveReport {
    /// Messages that the broker acknowledged, or that were read, since the run began.
    pub messages: u64,
    /// Messages that the broker did not take.
    pub failed: u64,
}
