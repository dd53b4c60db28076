//! Prefect: its own server, with SQLite below it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::http::answers;
use super::http_server::HttpServer;
use super::port::free_port;
use super::process::ServerProcess;

/// Seconds on a quiet machine: Python imports a thousand modules and creates the tables.
const READY_LIMIT: Duration = Duration::from_secs(180);

/// Where Prefect is installed, and how a server is to be.
#[derive(Debug, Clone)]
pub struct PrefectHome {
    python: PathBuf,
    auth: Option<String>,
    csrf: bool,
}

impl PrefectHome {
    /// The Python of its environment; a server without a password.
    pub fn at(python: &Path) -> Self {
        Self { python: python.to_path_buf(), auth: None, csrf: false }
    }

    /// The same with `user:password`, which every request has to send.
    #[must_use]
    pub fn auth(self, auth: &str) -> Self {
        Self { auth: Some(auth.to_owned()), ..self }
    }

    /// The same with protection against forged requests.
    #[must_use]
    pub fn csrf(self) -> Self {
        Self { csrf: true, ..self }
    }
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct PrefectServer {
    home: PrefectHome,
    dir: PathBuf,
    port: u16,
    server: HttpServer,
}

impl PrefectServer {
    /// Starts it with its data and its log in `dir`.
    ///
    /// # Errors
    /// When it does not come up; the message holds the end of its log.
    pub fn start(home: &PrefectHome, dir: &Path) -> Result<Self> {
        let port = free_port()?;
        Ok(Self { home: home.clone(), dir: dir.to_path_buf(), port, server: start(home, dir, port)? })
    }

    /// `http://127.0.0.1:port/api`.
    pub fn api(&self) -> String {
        format!("{}/api", self.server.endpoint())
    }

    /// Kills it (SIGKILL). Safe to repeat.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill9(&mut self) -> Result<()> {
        self.server.process_mut().kill9()
    }

    /// Starts it again on its port, with the data that it had.
    ///
    /// # Errors
    /// As [`PrefectServer::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.kill9()?;
        self.server = start(&self.home, &self.dir, self.port)?;
        Ok(())
    }

    /// The process, to ask whether it still runs.
    pub fn process_mut(&mut self) -> &mut ServerProcess {
        self.server.process_mut()
    }
}

fn start(home: &PrefectHome, dir: &Path, port: u16) -> Result<HttpServer> {
    let mut command = Command::new(&home.python);
    command.args(["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", &port.to_string()]);
    command.current_dir(dir).env("PREFECT_HOME", dir);
    // It sends nothing to anyone, and needs no pages.
    command.env("PREFECT_SERVER_ANALYTICS_ENABLED", "false").env("DO_NOT_TRACK", "1");
    command.env("PREFECT_SERVER_UI_ENABLED", "false");
    // A run that a schedule made is there within a second.
    command.env("PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS", "1");
    if let Some(auth) = &home.auth {
        command.env("PREFECT_SERVER_API_AUTH_STRING", auth);
    }
    if home.csrf {
        command.env("PREFECT_SERVER_CSRF_PROTECTION_ENABLED", "true");
    }
    let mut process = ServerProcess::start("Prefect", &mut command, &dir.join("prefect.log"))?;
    process.wait_ready(READY_LIMIT, || answers(port, "/api/health", &[200]))?;
    Ok(HttpServer::new(process, port))
}
