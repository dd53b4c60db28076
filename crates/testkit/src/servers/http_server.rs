//! A running server that speaks HTTP on loopback.

use super::process::ServerProcess;

/// A process and the port on which it serves. Dropping it kills the process.
#[derive(Debug)]
pub struct HttpServer {
    process: ServerProcess,
    port: u16,
}

impl HttpServer {
    /// The server that `process` is, ready on `port`.
    pub(super) fn new(process: ServerProcess, port: u16) -> Self {
        Self { process, port }
    }

    /// `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The process: its id, its log.
    pub fn process(&self) -> &ServerProcess {
        &self.process
    }

    /// The process, to ask whether it still runs.
    pub fn process_mut(&mut self) -> &mut ServerProcess {
        &mut self.process
    }
}
