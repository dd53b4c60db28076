//! Where things are: the workspace, the target folder, the servers in it.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    // Cargo sets it for `cargo xtask`; a binary started by hand knows where it was built.
    let xtask = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&xtask).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// The target folder, absolute.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        // A relative one is relative to where cargo was called: the current folder.
        Some(dir) if !dir.is_empty() => std::path::absolute(&dir).unwrap_or(dir.into()),
        _ => root().join("target"),
    }
}

/// The folder of fetched servers: kept, so that a second run fetches nothing.
pub(crate) fn servers() -> PathBuf {
    target().join("servers")
}

/// The folder with the MTA's weekly files: what `TURNSTILE_WEEKS` names, or `shared/data` beside the project.
pub(crate) fn weeks() -> Option<PathBuf> {
    let named = env::var_os("TURNSTILE_WEEKS").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| root().join("../shared/data"));
    let folder = folder.canonicalize().ok()?;
    ["240106.csv.gz", "turnstile_230603.csv.gz"].iter().all(|week| folder.join(week).is_file()).then_some(folder)
}

/// A new folder for the files of one run, deleted when the value is dropped.
pub(crate) fn scratch() -> Result<tempfile::TempDir> {
    let runs = servers().join("run");
    fs::create_dir_all(&runs).with_context(|| format!("cannot make {}", runs.display()))?;
    forget_dead_runs(&runs);
    let prefix = format!("{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(&runs).context("cannot make a folder for this run")
}

/// A run that was killed left its folder behind; its name starts with the process's id.
fn forget_dead_runs(runs: &Path) {
    let Ok(entries) = fs::read_dir(runs) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|n| n.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // What cannot be deleted now is deleted by the next run.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Holds the servers' folder against another xtask until dropped.
pub(crate) fn lock() -> Result<File> {
    let dir = servers();
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let file = File::create(dir.join("lock"))?;
    if file.try_lock().is_err() {
        println!("xtask: waiting for another xtask that fetches servers …");
        file.lock()?;
    }
    Ok(file)
}
