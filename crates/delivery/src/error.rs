//! Why a target did not take a delivery; the variants differ in what the caller does.

use std::error::Error;

use crate::LoadPosition;

/// Why a target did not take a delivery.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It did not answer, or cannot serve the request now: wait and send the same delivery again.
    #[error("{target} is not reachable")]
    Unreachable {
        /// Which target, with host or project and without secrets.
        target: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It will refuse again until a person changes something.
    #[error("{target} refused: {reason}")]
    Refused {
        /// Which target.
        target: String,
        /// What it refused, with table and column where there is one.
        reason: String,
        /// What a person can do.
        hint: String,
        /// The target's own error, if it was the target that refused.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Its position is not the one that the delivery starts from.
    #[error("{target} is not at the position that the delivery starts from")]
    Moved {
        /// Which target.
        target: String,
        /// Its position.
        at: Option<LoadPosition>,
    },
    /// The rows to deliver could not be read.
    #[error("the rows for table {table} could not be read")]
    Rows {
        /// The table.
        table: String,
        /// Why, with the file's name.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}
