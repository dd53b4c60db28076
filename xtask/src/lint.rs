//! Formatting and clippy.

use anyhow::Result;

use crate::command::{cargo, shown};

/// Runs both over `packages` (all when empty), the second even if the first found something.
pub(crate) fn run(packages: &[String]) -> Result<bool> {
    let mut format = cargo();
    format.arg("fmt");
    let mut clippy = cargo();
    clippy.arg("clippy");
    if packages.is_empty() {
        format.arg("--all");
        clippy.arg("--workspace");
    }
    for package in packages {
        format.args(["-p", package]);
        clippy.args(["-p", package]);
    }
    format.arg("--check");
    clippy.args(["--all-targets", "--", "-D", "warnings"]);
    let formatted = shown(&mut format)?;
    let linted = shown(&mut clippy)?;
    Ok(formatted && linted)
}
