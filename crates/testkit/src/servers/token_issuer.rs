//! A fake OpenID Connect token issuer: `token_issuer.py`. It knows one client, and signs with a key that it generates.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::http::answers;
use super::port::free_port;
use super::process::ServerProcess;

const READY_LIMIT: Duration = Duration::from_secs(60);

/// A running issuer. Dropping it kills it.
#[derive(Debug)]
pub(super) struct TokenIssuer {
    port: u16,
    _process: ServerProcess,
}

impl TokenIssuer {
    /// Starts it with its key and log in `dir`. It gives tokens to `client`, when that knows `secret`.
    pub(super) fn start(dir: &Path, client: &str, secret: &str) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(crate::python());
        command.args(["-c", include_str!("token_issuer.py"), &port.to_string()]).arg(dir).args([client, secret]);
        let mut process = ServerProcess::start("token issuer", &mut command, &dir.join("issuer.log"))?;
        process.wait_ready(READY_LIMIT, || answers(port, "/keys", &[200]))?;
        Ok(Self { port, _process: process })
    }

    /// Where clients ask for tokens.
    pub(super) fn tokens(&self) -> String {
        format!("http://127.0.0.1:{}/token", self.port)
    }

    /// Where brokers find the key that tokens are signed with.
    pub(super) fn keys(&self) -> String {
        format!("http://127.0.0.1:{}/keys", self.port)
    }
}
