//! One thing to fetch, once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::place;

/// One thing to fetch.
pub(super) struct FetchStep<'a> {
    /// What it is, for people.
    pub(super) what: &'a str,
    /// The client that fetches it, for people.
    pub(super) by: &'a str,
    /// Its folder's name, with the version.
    pub(super) folder: String,
}

impl FetchStep<'_> {
    /// Returns the folder, after filling it with `fill(folder, log)` if that was not done before.
    pub(super) fn once(&self, fill: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<PathBuf> {
        let dir = place::servers().join(&self.folder);
        let stamp = dir.join("complete");
        if stamp.exists() {
            return Ok(dir);
        }
        println!("xtask: fetching {} by {} into {} …", self.what, self.by, dir.display());
        let begin = Instant::now();
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot clear {}", dir.display()))?;
        }
        fs::create_dir_all(&dir)?;
        let logs = place::servers().join("logs");
        fs::create_dir_all(&logs)?;
        let log = logs.join(format!("fetch-{}.log", self.folder));
        // The log of the last try is enough.
        let _ = fs::remove_file(&log);
        fill(&dir, &log).with_context(|| format!("{} was not fetched", self.what))?;
        fs::write(&stamp, "")?;
        println!("xtask: fetched {} in {} s", self.what, begin.elapsed().as_secs());
        Ok(dir)
    }
}
