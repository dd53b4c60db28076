//! What can go wrong with a store of runs.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// An error of a store. Each names the file.
#[derive(Debug, thiserror::Error)]
pub enum RunStoreError {
    /// Another process holds the file; try again later.
    #[error("the run store {} is locked by another process", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The file is no database, or its pages contradict each other; it can be moved aside.
    #[error("the run store {} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// A newer turnstile wrote it; use that one, or another file.
    #[error("the run store {} has version {found}; this turnstile knows versions up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The file is a database of another program; use another file.
    #[error("{} is a database, but not a run store", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// There is no such file, and it was to be read only.
    #[error("there is no run store {}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file or its folder could not be made, moved, read or written: see the cause.
    #[error("the run store {} cannot be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Anything else that SQLite said: no space, no permission.
    #[error("the run store {} cannot be used", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
}

impl RunStoreError {
    /// The error of SQLite on the file at `path`.
    pub(super) fn of(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked { path, source },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged { path, source },
            _ => match source {
                // A value that this program never writes.
                rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..) => {
                    Self::Damaged { path, source }
                }
                source => Self::Sqlite { path, source },
            },
        }
    }
}
