//! Azure Blob Storage: azurite, run by the Node that is installed with it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::http::answers;
use super::http_server::HttpServer;
use super::port::free_port;
use super::process::ServerProcess;
use crate::address::{AZURE_ACCOUNT, AZURE_KEY, BUCKET};

/// Seconds on a quiet machine: Node loads some thousand files.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// Where azurite is installed.
#[derive(Debug, Clone)]
pub struct Azurite {
    /// The Node program.
    pub node: PathBuf,
    /// The script that serves blobs.
    pub script: PathBuf,
}

/// Starts azurite with one container, with its data and log in `dir`.
///
/// # Errors
/// When it does not come up; the message holds the end of its log.
pub fn start_azurite(azurite: &Azurite, dir: &Path) -> Result<HttpServer> {
    std::fs::create_dir_all(dir.join("data"))?;
    let port = free_port()?;
    let mut command = Command::new(&azurite.node);
    command.arg(&azurite.script);
    command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--location"]);
    command.arg(dir.join("data")).args(["--silent", "--skipApiVersionCheck", "--disableTelemetry"]);
    let mut process = ServerProcess::start("azurite", &mut command, &dir.join("azurite.log"))?;
    // A GET that names no account is a bad request: the answer of a server that is there.
    process.wait_ready(READY_LIMIT, || answers(port, "/", &[400]))?;
    make_container(&azurite.node, port)?;
    Ok(HttpServer::new(process, port))
}

/// `object_store` cannot make a container, and the request must be signed; the Node that is here anyway
/// has what that takes.
fn make_container(node: &Path, port: u16) -> Result<()> {
    let mut command = Command::new(node);
    command.args(["-e", include_str!("make_container.js")]);
    command.env("ENDPOINT", format!("http://127.0.0.1:{port}")).env("CONTAINER", BUCKET);
    command.env("ACCOUNT", AZURE_ACCOUNT).env("ACCOUNT_KEY", AZURE_KEY);
    let out = command.output().with_context(|| format!("cannot start {}", node.display()))?;
    ensure!(
        out.status.success(),
        "azurite did not make the container {BUCKET}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(())
}
