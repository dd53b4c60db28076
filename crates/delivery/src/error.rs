//! Why a target did not take a delivery; variants differ in what the caller does.

use std::error::Error;

use crate::Position;

/// Why a target did not take a delivery.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It does not answer, or answered that it cannot now: wait and send the same again.
    #[error("{target} is not reachable")]
    Unreachable {
        /// Which target, with host or project and without secrets.
        target: String,
        /// What was said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It will answer the same again until a person changes something.
    #[error("{target} refused: {reason}")]
    Refused {
        /// Which target.
        target: String,
        /// What it refused, with table and column where there is one.
        reason: String,
        /// What a person can do.
        hint: String,
        /// What was said, when it was the target that said it.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// It is at another position than the delivery begins at.
    #[error("{target} is at another position than the delivery begins at")]
    Moved {
        /// Which target.
        target: String,
        /// Where it is.
        at: Option<Position>,
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
