//! Why a ledger cannot continue: one variant per action of the caller.

use object_store::path::Path;
use std::fmt;

use turnstile_values::{BoxError, human};

use crate::chain::ChainError;
use crate::hash::Hash;
use crate::store::StoreError;

/// A commit, or the start of a ledger, that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another writer owns the pipeline. Stop; nothing was lost, it continues from the last commit.
    #[error("{}", fenced(pipeline, lake, *window_start_us))]
    Fenced {
        /// The pipeline.
        pipeline: String,
        /// The lake's URL.
        lake: String,
        /// Start of the first window that was not published because of it, microseconds since the
        /// epoch, UTC; none when the commit held no window.
        window_start_us: Option<i64>,
        /// Who owns it now.
        #[source]
        owner: Owner,
    },
    /// The store refused or did not answer. When it is retriable, call `Ledger::retry`, or open the
    /// ledger again; when it is not, a person must change something first. Nothing was lost.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object of the ledger is not what was written. Stop; see docs/ledger.md, "Repair".
    #[error("{object} of the ledger is damaged")]
    Corrupt {
        /// The slot or other object, below the lake's root.
        object: String,
        /// What is wrong with it.
        #[source]
        reason: BoxError,
    },
    /// The ledger's state belongs to another plan than the pipeline file's.
    #[error(
        "the plan of {pipeline:?} has changed since slot {seq}: its state belongs to plan {recorded}, the file now has plan {given}"
    )]
    PlanChanged {
        /// The pipeline.
        pipeline: String,
        /// The newest slot.
        seq: u64,
        /// The plan that the state belongs to.
        recorded: String,
        /// The plan that was given.
        given: String,
    },
    /// The ledger was written by a newer program. Use that one.
    #[error("{object} of the ledger has format {found}; this program reads up to {known}")]
    NewerVersion {
        /// The slot.
        object: String,
        /// Its format version.
        found: u32,
        /// The newest that this program reads.
        known: u32,
    },
    /// The slot in this pipeline's folder names another pipeline.
    #[error("{object} belongs to the pipeline {found:?}, not to {expected:?}")]
    OtherPipeline {
        /// The slot.
        object: String,
        /// The pipeline that was opened.
        expected: String,
        /// The pipeline that the slot names.
        found: String,
    },
    /// A file that the ledger is about to publish exists with other content. The commit is safe in
    /// the ledger; the file is published once the foreign one is moved away and the ledger opened again.
    #[error("{name} in the lake is not the file that was committed: expected SHA-256 {expected}, found {found}")]
    FileChanged {
        /// The file.
        name: String,
        /// The hash in the ledger.
        expected: Hash,
        /// The hash of what is there.
        found: Hash,
    },
    /// The commit contradicts itself or the one before. Refused; this is a fault of the program.
    #[error("commit {seq} of {pipeline:?} was refused: {reason}")]
    Unbalanced {
        /// The pipeline.
        pipeline: String,
        /// The slot that it would have been.
        seq: u64,
        /// What does not hold.
        reason: String,
    },
    /// An earlier commit is unfinished. Call `Ledger::retry` first.
    #[error("commit {seq} of {pipeline:?} is unfinished")]
    Unfinished {
        /// The pipeline.
        pipeline: String,
        /// The slot of the earlier commit.
        seq: u64,
    },
    /// The pipeline's name cannot be part of a file name.
    #[error("{name:?} is not a valid pipeline name: use letters, digits, '-', '_' and '.', and do not begin with '.'")]
    Name {
        /// The name.
        name: String,
    },
}

impl From<ChainError> for LedgerError {
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::Store(error) => Self::Store(error),
            ChainError::Corrupt { object, reason } => Self::Corrupt { object, reason },
            ChainError::Newer { object, found, known } => Self::NewerVersion { object, found, known },
            ChainError::OtherChain { object, expected, found } => Self::OtherPipeline { object, expected, found },
        }
    }
}

/// The writer that owns a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Owner {
    /// When it claimed the pipeline, by its clock, microseconds since the epoch, UTC.
    pub since_us: i64,
    /// Its epoch.
    pub epoch: u64,
    /// Its host.
    pub host: String,
    /// Its process id.
    pub pid: u32,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = chrono::DateTime::from_timestamp_micros(self.since_us).unwrap_or_default();
        write!(
            f,
            "another process owns this pipeline since {} (epoch {}, host {}, process {})",
            since.format("%Y-%m-%dT%H:%M:%SZ"),
            self.epoch,
            self.host,
            self.pid
        )
    }
}

fn fenced(pipeline: &str, lake: &str, window_start_us: Option<i64>) -> String {
    match window_start_us {
        Some(start) => {
            format!("window {} of {pipeline:?} was not published to {lake}", human::short_instant(start))
        }
        None => format!("this process no longer owns {pipeline:?} in {lake}"),
    }
}

/// What is in the ledger at `path` cannot be: `reason` says why.
pub(crate) fn corrupt(path: &Path, reason: impl Into<BoxError>) -> LedgerError {
    LedgerError::Corrupt { object: path.to_string(), reason: reason.into() }
}
