//! Why a chain cannot be read or extended.

use turnstile_values::BoxError;

use crate::framed::Unreadable;
use crate::store::StoreError;

/// A chain that cannot be read or extended.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The store refused or did not answer; the same call may be sent again, with the same record.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry is missing, damaged, or does not follow from the one before.
    #[error("{object} is damaged")]
    Corrupt {
        /// The entry, below the lake's root.
        object: String,
        /// What is wrong with it.
        #[source]
        reason: BoxError,
    },
    /// An entry was written by a newer program.
    #[error("{object} has format {found}; this program reads up to {known}")]
    Newer {
        /// The entry, below the lake's root.
        object: String,
        /// Its format version.
        found: u32,
        /// The newest that this program reads.
        known: u32,
    },
    /// An entry names another chain.
    #[error("{object} belongs to {found:?}, not to {expected:?}")]
    OtherChain {
        /// The entry, below the lake's root.
        object: String,
        /// The chain that was opened.
        expected: String,
        /// The chain that the entry names.
        found: String,
    },
}

impl ChainError {
    pub(crate) fn corrupt(object: impl ToString, reason: impl Into<BoxError>) -> Self {
        Self::Corrupt { object: object.to_string(), reason: reason.into() }
    }

    /// Why the object cannot be read.
    pub(crate) fn unreadable(object: impl ToString, why: Unreadable) -> Self {
        match why {
            Unreadable::Damaged(reason) => Self::corrupt(object, reason),
            Unreadable::Newer { found, known } => Self::Newer { object: object.to_string(), found, known },
        }
    }

    /// The name is taken, and nothing can be read there.
    pub(crate) fn undecided(path: impl ToString) -> Self {
        let source = "the name is taken, but no object can be read there".into();
        StoreError { operation: "create", path: path.to_string(), retriable: true, source }.into()
    }
}
