//! A browser, and what drives and judges it: Debian's Chromium, puppeteer-core and axe-core by npm.
//!
//! The browser comes from the system (see `debian`): by npm it would lack the libraries below it.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::step::FetchStep;
use crate::command::logged;

const PUPPETEER: &str = "24.43.1";
const AXE: &str = "4.14.1";

/// The browser's path: puppeteer takes no bare name.
pub(super) fn chromium() -> Result<PathBuf> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&folders).map(|folder| folder.join("chromium")).find(|path| path.is_file());
    found.context("there is no chromium in PATH")
}

/// The folder in which Node finds the packages.
pub(super) fn modules() -> Result<PathBuf> {
    let what = format!("puppeteer-core {PUPPETEER} and axe-core {AXE}");
    let folder = format!("browser-{PUPPETEER}-{AXE}");
    let step = FetchStep { what: &what, by: "npm", folder };
    let dir = step.once(|dir, log| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--prefix"]).arg(dir);
        npm.args([format!("puppeteer-core@{PUPPETEER}"), format!("axe-core@{AXE}")]).current_dir(dir);
        logged(&mut npm, log)
    })?;
    Ok(dir.join("node_modules"))
}
