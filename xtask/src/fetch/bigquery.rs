//! bqemulator, which stands for BigQuery, and the DuckDB extension that it loads at its start.
//!
//! DuckDB would fetch the extension from the internet; PyPI has the same file, for the version of DuckDB pinned here.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use turnstile_testkit::servers::BigQueryHome;

use super::python;
use super::step::FetchStep;

const DUCKDB: &str = "1.5.5";
/// Where DuckDB looks for an extension, below the home folder.
const EXTENSIONS: &str = ".duckdb/extensions";

/// The installed emulator.
pub(super) fn emulator() -> Result<BigQueryHome> {
    let python = python::bigquery(DUCKDB)?;
    let step = FetchStep { what: "DuckDB's extension for it", by: "a copy", folder: format!("bigquery-home-{DUCKDB}") };
    let home = step.once(|home, _| {
        let extension = find(python.parent().and_then(Path::parent).unwrap_or(&python), "spatial.duckdb_extension")
            .context("the package duckdb-extension-spatial holds no extension")?;
        let folder = home.join(EXTENSIONS).join(format!("v{DUCKDB}")).join(platform());
        fs::create_dir_all(&folder)?;
        fs::copy(&extension, folder.join("spatial.duckdb_extension"))?;
        Ok(())
    })?;
    Ok(BigQueryHome { python, home })
}

/// DuckDB's name for this machine.
fn platform() -> &'static str {
    if cfg!(target_arch = "aarch64") { "linux_arm64" } else { "linux_amd64" }
}

/// The first file called `name` below `folder`. Links are not followed.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).ok()?.flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(_) if path.file_name().is_some_and(|found| found == name) => return Some(path),
                _ => {}
            }
        }
    }
    None
}
