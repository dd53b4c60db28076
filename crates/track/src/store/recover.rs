//! Moves a damaged store aside and begins a new one.

use std::path::{Path, PathBuf};

use super::error::RunStoreError;
use super::run_store::{RetentionLimits, RunStore};

/// A store, and what became of the file that was there before.
#[derive(Debug)]
pub struct OpenedStore {
    /// The store.
    pub store: RunStore,
    /// Where the damaged file was moved to, with the error that was found in it.
    pub replaced: Option<(PathBuf, RunStoreError)>,
}

impl RunStore {
    /// Opens the file at `path`; a damaged one is moved aside, to `<name>.damaged-<time>`, and a new one begun. `now_us`:
    /// microseconds since the epoch, UTC, for that name.
    ///
    /// # Errors
    /// As [`RunStore::open`], but for `Damaged`.
    pub fn open_or_replace(path: &Path, limits: &RetentionLimits, now_us: i64) -> Result<OpenedStore, RunStoreError> {
        let error = match Self::open(path, limits) {
            Ok(store) => return Ok(OpenedStore { store, replaced: None }),
            Err(error @ RunStoreError::Damaged { .. }) => error,
            Err(error) => return Err(error),
        };
        let aside = move_aside(path, now_us)?;
        Ok(OpenedStore { store: Self::open(path, limits)?, replaced: Some((aside, error)) })
    }
}

/// Renames the file and its journals; the new path of the file.
pub(super) fn move_aside(path: &Path, now_us: i64) -> Result<PathBuf, RunStoreError> {
    let suffixed = |path: &Path, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = suffixed(path, &format!(".damaged-{}", now_us / 1_000_000));
    std::fs::rename(path, &aside).map_err(|source| RunStoreError::Io { path: path.to_path_buf(), source })?;
    for journal in ["-wal", "-shm"] {
        // Neither is there after an orderly end.
        let _ = std::fs::rename(suffixed(path, journal), suffixed(&aside, journal));
    }
    Ok(aside)
}
