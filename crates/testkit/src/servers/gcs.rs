//! Google Cloud Storage: fake-gcs-server, in memory. It speaks the JSON API; `object_store` speaks the
//! XML API, so the lake's tests put a translator in front.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::http::{answers, status};
use super::http_server::HttpServer;
use super::port::free_port;
use super::process::ServerProcess;
use crate::address::BUCKET;

const READY_LIMIT: Duration = Duration::from_secs(30);

/// Starts `program` with one bucket, with its log in `dir`.
///
/// # Errors
/// When it does not come up; the message holds the end of its log.
pub fn start_fake_gcs(program: &Path, dir: &Path) -> Result<HttpServer> {
    let port = free_port()?;
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new(program);
    command.args(["-scheme", "http", "-host", "127.0.0.1", "-port", &port.to_string(), "-backend", "memory"]);
    command.args(["-public-host", &address, "-external-url", &format!("http://{address}"), "-log-level", "warn"]);
    let mut process = ServerProcess::start("fake-gcs-server", &mut command, &dir.join("fake-gcs-server.log"))?;
    process.wait_ready(READY_LIMIT, || answers(port, "/_internal/healthcheck", &[200]))?;
    let made = status(port, "POST", "/storage/v1/b?project=test", &format!(r#"{{"name":"{BUCKET}"}}"#))?;
    ensure!(made == 200, "fake-gcs-server answered {made} when asked to make the bucket {BUCKET}");
    Ok(HttpServer::new(process, port))
}
