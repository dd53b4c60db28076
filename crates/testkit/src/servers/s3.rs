//! S3: versitygw over a folder. Of the S3 servers tried it is the one whose create-if-absent is atomic.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::http::answers;
use super::http_server::HttpServer;
use super::port::free_port;
use super::process::ServerProcess;
use crate::address::{BUCKET, S3_ACCESS_KEY, S3_SECRET_KEY};

const READY_LIMIT: Duration = Duration::from_secs(30);

/// Starts `program` with one bucket, with its data and log in `dir`, whose file system must have extended attributes.
///
/// # Errors
/// When it does not come up; the message holds the end of its log.
pub fn start_versity(program: &Path, dir: &Path) -> Result<HttpServer> {
    // A bucket is a folder there.
    fs::create_dir_all(dir.join("data").join(BUCKET))?;
    let port = free_port()?;
    let mut command = Command::new(program);
    command.args(["--port", &format!("127.0.0.1:{port}"), "--health", "/health", "--quiet"]);
    command.args(["posix".as_ref(), dir.join("data").as_os_str()]);
    // In the environment, not in the arguments: a secret is a secret in a test, too.
    command.env("ROOT_ACCESS_KEY", S3_ACCESS_KEY).env("ROOT_SECRET_KEY", S3_SECRET_KEY);
    let mut process = ServerProcess::start("versitygw", &mut command, &dir.join("versitygw.log"))?;
    process.wait_ready(READY_LIMIT, || answers(port, "/health", &[200]))?;
    Ok(HttpServer::new(process, port))
}
