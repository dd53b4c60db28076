//! One row of `load_runs`.

use serde::{Deserialize, Serialize};

/// The name of this warehouse among the targets of `load_runs`.
pub const EMBEDDED: &str = "embedded";

/// How a load or a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadRunState {
    /// The tables hold it.
    Succeeded,
    /// Nothing was changed; `error` says why.
    Failed,
}

/// One load of the embedded warehouse, or one delivery to another database: a row of `load_runs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadRun {
    /// Number of the warehouse's entry that records it.
    pub load: u64,
    /// `embedded`, `postgres`, `bigquery`.
    pub target: String,
    /// How it ended.
    pub state: LoadRunState,
    /// When it began, microseconds since the epoch, UTC.
    pub started_at_us: i64,
    /// When it ended.
    pub ended_at_us: i64,
    /// The ledger's commit that was loaded before.
    pub from_seq: u64,
    /// The ledger's commit that it went up to.
    pub to_seq: u64,
    /// Windows that were new or corrected.
    pub windows: u64,
    /// Rows of the lake that were read.
    pub rows_in: u64,
    /// Rows that tables received.
    pub rows_out: u64,
    /// Tests that passed.
    pub tests_passed: u64,
    /// Tests that did not: the load changed nothing, unless they only warn.
    pub tests_failed: u64,
    /// What went wrong, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl LoadRun {
    /// A successful run of the embedded warehouse that moved nothing; the caller sets what it did.
    pub(crate) fn embedded(started_at_us: i64, ended_at_us: i64, from_seq: u64) -> Self {
        Self {
            load: 0,
            target: EMBEDDED.to_owned(),
            state: LoadRunState::Succeeded,
            started_at_us,
            ended_at_us,
            from_seq,
            to_seq: from_seq,
            windows: 0,
            rows_in: 0,
            rows_out: 0,
            tests_passed: 0,
            tests_failed: 0,
            error: None,
        }
    }
}
