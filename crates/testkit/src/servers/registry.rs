//! A schema registry: Apicurio Registry in memory, asked through the interface in which it speaks as
//! Confluent's registry does.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::http::answers;
use super::http_server::HttpServer;
use super::port::free_port;
use super::process::ServerProcess;

const READY_LIMIT: Duration = Duration::from_secs(120);
/// Where its Confluent-compatible interface begins.
const INTERFACE: &str = "/apis/ccompat/v7";

/// A running Apicurio Registry. Dropping it kills it.
#[derive(Debug)]
pub struct RegistryServer {
    server: HttpServer,
}

impl RegistryServer {
    /// Starts the jar `runner` with its log in `dir`.
    ///
    /// # Errors
    /// When it does not come up; the message holds the end of its log.
    pub fn start(runner: &Path, dir: &Path) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new("java");
        command.args(["-Xmx192m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.args(["-Dquarkus.http.host=127.0.0.1", &format!("-Dquarkus.http.port={port}")]);
        command.arg("-jar").arg(runner).current_dir(dir);
        let mut process = ServerProcess::start("Apicurio Registry", &mut command, &dir.join("apicurio.log"))?;
        process.wait_ready(READY_LIMIT, || answers(port, &format!("{INTERFACE}/subjects"), &[200]))?;
        Ok(Self { server: HttpServer::new(process, port) })
    }

    /// `http://127.0.0.1:port/…`: what a client of Confluent's registry takes as its url.
    pub fn url(&self) -> String {
        format!("{}{INTERFACE}", self.server.endpoint())
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
