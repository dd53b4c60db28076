//! One difference that an audit found, and how it reads.

use std::fmt;

use serde::Serialize;

use crate::Hash;

/// A difference between what was committed and what is there.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "finding")]
pub enum Finding {
    /// A link of the ledger does not hold.
    Ledger {
        /// The slot or file of history.
        object: String,
        /// What is wrong.
        reason: String,
    },
    /// Rows are in no term, a counter went down, or a file's counts are not those of the commit.
    Unbalanced {
        /// The commit.
        seq: u64,
        /// What does not hold.
        reason: String,
    },
    /// A published file is not there.
    Missing {
        /// The file.
        name: String,
        /// The commit that published it.
        seq: u64,
    },
    /// A published file has other bytes.
    Changed {
        /// The file.
        name: String,
        /// The commit that published it.
        seq: u64,
        /// Size and hash that were committed.
        expected: (u64, Hash),
        /// Size and hash of what is there.
        found: (u64, Hash),
    },
    /// A published file has another number of rows than the ledger says.
    Rows {
        /// The file.
        name: String,
        /// Rows in the ledger.
        expected: u64,
        /// Rows in the file, or why they cannot be counted.
        found: Result<u64, String>,
    },
    /// A name was published by two commits.
    Twice {
        /// The file.
        name: String,
        /// Both commits.
        seqs: (u64, u64),
    },
    /// A file in a data folder that no ledger of the lake knows. Readers of the folder count it.
    Foreign {
        /// The file.
        name: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ledger { object, reason } => write!(f, "ledger: {object}: {reason}"),
            Self::Unbalanced { seq, reason } => write!(f, "unbalanced: commit {seq}: {reason}"),
            Self::Missing { name, seq } => write!(f, "missing: {name}, published by commit {seq}"),
            Self::Changed { name, seq, expected, found } => write!(
                f,
                "changed: {name}, published by commit {seq} with {} bytes and SHA-256 {}, has {} bytes and SHA-256 {}",
                expected.0, expected.1, found.0, found.1
            ),
            Self::Rows { name, expected, found: Ok(found) } => {
                write!(f, "rows: {name} has {found} rows, the ledger says {expected}")
            }
            Self::Rows { name, found: Err(reason), .. } => write!(f, "rows: {name} cannot be counted: {reason}"),
            Self::Twice { name, seqs } => write!(f, "twice: {name} was published by commits {} and {}", seqs.0, seqs.1),
            Self::Foreign { name } => write!(f, "foreign: {name} is in no ledger of this lake"),
        }
    }
}
