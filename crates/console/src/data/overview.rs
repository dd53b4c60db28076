//! The state of a pipeline at a glance.

use std::time::Duration;

use turnstile_message::Counters;

use super::partitions::WatermarkHolder;

/// The state of a pipeline at a glance.
#[derive(Debug, Clone, Default)]
pub struct PipelineOverview {
    /// Whether it runs.
    pub activity: PipelineActivity,
    /// How fast it reads; `None` while nothing runs.
    pub throughput: Option<ThroughputSummary>,
    /// How far it is behind, where the broker tells.
    pub lag: Option<LagSummary>,
    /// The watermark: windows that end before it are closed.
    pub watermark_us: Option<i64>,
    /// The partition that holds the watermark back, if one does.
    pub holder: Option<WatermarkHolder>,
    /// Windows that are open.
    pub open_windows: Option<u64>,
    /// The window that closes next.
    pub next_close: Option<NextClose>,
    /// Memory; `None` while nothing runs.
    pub memory: Option<MemoryUse>,
    /// What became of all messages since the pipeline began.
    pub counters: Counters,
    /// What is wrong with the counters; `None` if read = aggregated + filtered + duplicate + late + dead-lettered +
    /// tombstones.
    pub imbalance: Option<String>,
    /// The newest commit.
    pub last_commit: Option<CommitSummary>,
    /// The newest files, newest first; at most 10 are shown.
    pub files: Vec<RecentFile>,
    /// Errors, alerts and notes, newest first; at most 20 are shown.
    pub notes: Vec<ConsoleNote>,
    /// The warehouse and the databases that receive its tables; `None`: not known.
    pub targets: Option<Vec<TargetOverview>>,
}

/// Whether a pipeline runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PipelineActivity {
    /// It never ran.
    #[default]
    NeverRun,
    /// Partitions are being assigned, state is being read.
    Starting {
        /// Since when.
        since_us: i64,
    },
    /// It reads.
    Running {
        /// Since when.
        since_us: i64,
        /// Its process: `batch-2, process 4711`.
        process: String,
    },
    /// It has read everything and no messages arrive.
    Quiet {
        /// Since when.
        since_us: i64,
    },
    /// It runs, and waits for something: a broker, a store.
    Waiting {
        /// Since when.
        since_us: i64,
        /// For what, in one sentence without a period.
        why: String,
    },
    /// It ended as it should.
    Stopped {
        /// When.
        at_us: i64,
    },
    /// It ended with an error.
    Failed {
        /// When.
        at_us: i64,
        /// Why, in one sentence without a period.
        why: String,
    },
    /// Its process ended without releasing the pipeline, or no longer commits.
    Crashed {
        /// When it was last seen.
        seen_at_us: i64,
    },
}

/// How fast a pipeline reads.
#[derive(Debug, Clone, Default)]
pub struct ThroughputSummary {
    /// Messages a second, now.
    pub messages_per_second: f64,
    /// Bytes of keys and values a second, now.
    pub bytes_per_second: Option<f64>,
    /// Messages a second of the last minutes, oldest first.
    pub history: Vec<HistoryPoint>,
}

/// One value of a short history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HistoryPoint {
    /// When.
    pub at_us: i64,
    /// How much.
    pub value: f64,
}

/// How far a pipeline is behind its topic.
#[derive(Debug, Clone, Default)]
pub struct LagSummary {
    /// Messages that are not read yet.
    pub records: Option<u64>,
    /// Age of the oldest message that is not read yet, in seconds.
    pub seconds: Option<f64>,
    /// When it will have caught up, in seconds from now; `None` if unknown or never.
    pub catch_up_seconds: Option<f64>,
    /// Records of the last minutes, oldest first.
    pub history: Vec<HistoryPoint>,
}

/// The window that closes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextClose {
    /// Its first instant.
    pub start_us: i64,
    /// The first instant after it: it closes when the watermark passes this.
    pub end_us: i64,
}

/// Memory of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryUse {
    /// Bytes that windows and dedup hold in memory.
    pub state_bytes: u64,
    /// Their limit, `[stream] memory`.
    pub limit_bytes: Option<u64>,
    /// Bytes that they hold on disk.
    pub spilled_bytes: Option<u64>,
    /// Resident memory of the process.
    pub process_bytes: Option<u64>,
}

/// One commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitSummary {
    /// Its number.
    pub seq: u64,
    /// When.
    pub at_us: i64,
    /// From the cut to its last file at its final name.
    pub took: Option<Duration>,
}

/// A file that was published.
#[derive(Debug, Clone)]
pub struct RecentFile {
    /// Name below the lake's root.
    pub name: String,
    /// Where a browser can open it, if anywhere; only `http` and `https` become links.
    pub url: Option<String>,
    /// When it was published.
    pub at_us: i64,
    /// Rows, or dead letters.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// First instant of its window; `None` for dead letters.
    pub window_start_us: Option<i64>,
}

/// Something that a person should know.
#[derive(Debug, Clone)]
pub struct ConsoleNote {
    /// Since when.
    pub at_us: i64,
    /// How much it matters.
    pub severity: NoteSeverity,
    /// In one sentence.
    pub text: String,
    /// What a person can do.
    pub hint: Option<String>,
    /// When it ended, for what can end, such as an alert.
    pub resolved_at_us: Option<i64>,
}

/// How much a note matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteSeverity {
    /// As planned.
    Info,
    /// A person may want to act.
    Warning,
    /// Something failed.
    Error,
}

/// The warehouse, or a database that receives its tables.
#[derive(Debug, Clone)]
pub struct TargetOverview {
    /// `embedded`, `postgres`, `bigquery`.
    pub name: String,
    /// The commit up to which it is loaded.
    pub seq: Option<u64>,
    /// Commits that have windows it does not have yet.
    pub commits_behind: Option<u64>,
    /// When the last load that succeeded ended; its age is shown.
    pub loaded_at_us: Option<i64>,
    /// How long that load took.
    pub took: Option<Duration>,
    /// Why loads fail now, in one line; `None` if the last one succeeded.
    pub failing: Option<String>,
    /// When the next load begins, if that is known.
    pub next_at_us: Option<i64>,
    /// Tests of the models that failed in the last load.
    pub tests_failed: u64,
}
