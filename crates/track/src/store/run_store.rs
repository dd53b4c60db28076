//! Opens a store; what it keeps.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::RunStoreError;
use super::schema;

/// How long a call waits for another process that writes.
pub const BUSY_WAIT: Duration = Duration::from_secs(3);

/// What a store keeps. Runs that have not ended are always kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionLimits {
    /// Runs that ended longer ago are deleted, with their tasks and logs. 30 days by default.
    pub max_age: Duration,
    /// Ended runs beyond this number are deleted, the oldest first. 1,000 by default.
    pub max_runs: u64,
    /// Task runs of one flow run beyond this number are deleted, the oldest first. 200,000 by default: a window every
    /// five minutes for seven months.
    pub max_tasks_per_run: u64,
    /// Log lines of one flow run beyond this number are deleted, the oldest first. 10,000 by default.
    pub max_log_lines_per_run: u64,
}

impl Default for RetentionLimits {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(30 * 24 * 3_600),
            max_runs: 1_000,
            max_tasks_per_run: 200_000,
            max_log_lines_per_run: 10_000,
        }
    }
}

/// An open store.
#[derive(Debug)]
pub struct RunStore {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) limits: RetentionLimits,
}

impl RunStore {
    /// Opens the file at `path`, or creates it with its folder.
    ///
    /// # Errors
    /// `Locked`: try again; `Damaged`: [`RunStore::open_or_replace`] moves it aside; `Newer`, `Foreign`: use another
    /// file; `Io`, `Sqlite`: no permission or no space.
    pub fn open(path: &Path, limits: &RetentionLimits) -> Result<Self, RunStoreError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let made = std::fs::create_dir_all(folder);
            made.map_err(|source| RunStoreError::Io { path: path.to_path_buf(), source })?;
        }
        let failed = |e| RunStoreError::of(path, e);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_WAIT).map_err(failed)?;
        // Before anything is written: a database of another program stays as it is.
        schema::check(&connection, path)?;
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
        tracing::debug!(path = %path.display(), %mode, "opened the run store");
        // A crash of the machine may cost the last seconds; a crash of the process costs nothing.
        connection.execute_batch("PRAGMA synchronous = NORMAL").map_err(failed)?;
        schema::migrate(&mut connection, path)?;
        Ok(Self { connection, path: path.to_path_buf(), limits: limits.clone() })
    }

    /// Opens a file that exists, to read it. It is never created or changed.
    ///
    /// # Errors
    /// `Missing`: no run was stored yet; otherwise as [`RunStore::open`].
    pub fn open_read_only(path: &Path) -> Result<Self, RunStoreError> {
        if !path.exists() {
            return Err(RunStoreError::Missing { path: path.to_path_buf() });
        }
        let failed = |e| RunStoreError::of(path, e);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_WAIT).map_err(failed)?;
        if schema::check(&connection, path)? == 0 {
            return Err(RunStoreError::Missing { path: path.to_path_buf() });
        }
        Ok(Self { connection, path: path.to_path_buf(), limits: RetentionLimits::default() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn failed(&self, source: rusqlite::Error) -> RunStoreError {
        RunStoreError::of(&self.path, source)
    }
}
