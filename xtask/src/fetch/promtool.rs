//! promtool, which checks Prometheus' rules, out of Debian's package.
//!
//! The package is unpacked rather than installed: installed, it would start a Prometheus as a service.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::step::FetchStep;
use crate::command::logged;

/// The program.
pub(super) fn program() -> Result<PathBuf> {
    let step = FetchStep { what: "promtool", by: "apt-get", folder: "promtool-1".into() };
    let dir = step.once(|dir, log| {
        let download = || logged(Command::new("apt-get").args(["-q", "download", "prometheus"]).current_dir(dir), log);
        if download().is_err() {
            // The lists of packages may never have been fetched; only root may do that.
            logged(Command::new("apt-get").args(["-q", "update"]), log)?;
            download()?;
        }
        let package = fs::read_dir(dir)?.flatten().map(|entry| entry.path());
        let package = package.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
        let package = package.context("apt-get left no package")?;
        logged(Command::new("dpkg-deb").arg("-x").arg(&package).arg(dir), log)?;
        fs::remove_file(package)?;
        // The server itself is a hundred megabytes.
        fs::remove_file(dir.join("usr/bin/prometheus"))?;
        Ok(())
    })?;
    Ok(dir.join("usr/bin/promtool"))
}
