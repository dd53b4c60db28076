//! Why maintenance did not do a part of its plan.

use crate::error::LedgerError;
use crate::format::FormatError;
use crate::hash::Hash;
use crate::store::StoreError;

/// Maintenance that did not come to its end. What was done stays done; all else is as it was.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// The ledger or the chain of maintenance cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// An object whose rows were to be compacted is not what was published. Nothing was made of it.
    #[error("{name} in the lake is not the file that was published: expected SHA-256 {expected}, found {}",
        found.map_or("no file".to_owned(), |hash| hash.to_string()))]
    Changed {
        /// The object.
        name: String,
        /// The hash in the ledger.
        expected: Hash,
        /// The hash of what is there; none when nothing is.
        found: Option<Hash>,
    },
    /// Rows that cannot be put into one object. They stay where they are.
    #[error("the files of {date} cannot be merged")]
    Rows {
        /// The UTC date.
        date: String,
        /// The object that does not fit.
        name: String,
        /// Why.
        #[source]
        source: FormatError,
    },
}

impl From<StoreError> for MaintenanceError {
    fn from(error: StoreError) -> Self {
        Self::Ledger(error.into())
    }
}
