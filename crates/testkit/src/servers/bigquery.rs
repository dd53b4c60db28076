//! BigQuery: bqemulator, which keeps tables in DuckDB.
//!
//! It loads `gs://bucket/x` from a folder, and its DuckDB finds extensions below its home, so that nothing is asked of
//! the internet. It is started by `one_at_a_time.py`, which says why.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::http::answers;
use super::http_server::HttpServer;
use super::port::free_port;
use super::process::ServerProcess;
use crate::address::BIGQUERY_PROJECT;

/// Seconds on a quiet machine: Python imports a few hundred modules.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// Where bqemulator is installed.
#[derive(Debug, Clone)]
pub struct BigQueryHome {
    /// The Python of its environment.
    pub python: PathBuf,
    /// A home folder with DuckDB's spatial extension, without which it does not start.
    pub home: PathBuf,
}

/// A running bqemulator. Dropping it kills it.
#[derive(Debug)]
pub struct BigQueryEmulator {
    server: HttpServer,
    storage: PathBuf,
}

impl BigQueryEmulator {
    /// Starts it with its log in `dir`, and `dir/gcs` standing for Cloud Storage.
    ///
    /// # Errors
    /// When it does not come up; the message holds the end of its log.
    pub fn start(home: &BigQueryHome, dir: &Path) -> Result<Self> {
        let storage = dir.join("gcs");
        std::fs::create_dir_all(&storage)?;
        let (port, grpc) = (free_port()?, free_port()?);
        let mut command = Command::new(&home.python);
        command.args(["-c", include_str!("one_at_a_time.py")]);
        command.args(["start", "--rest-port", &port.to_string(), "--grpc-port", &grpc.to_string()]);
        command.args(["--project", BIGQUERY_PROJECT]);
        command.env("HOME", &home.home).env("BQEMU_GCS_LOCAL_ROOT", &storage).current_dir(dir);
        let mut process = ServerProcess::start("bqemulator", &mut command, &dir.join("bqemulator.log"))?;
        process.wait_ready(READY_LIMIT, || answers(port, "/", &[404]))?;
        Ok(Self { server: HttpServer::new(process, port), storage })
    }

    /// The folder that stands for Cloud Storage.
    pub fn storage(&self) -> &Path {
        &self.storage
    }

    /// The server: its address, its process.
    pub fn server(&self) -> &HttpServer {
        &self.server
    }

    /// The server, to ask whether it still runs.
    pub fn server_mut(&mut self) -> &mut HttpServer {
        &mut self.server
    }
}
