//! How a server is configured.
//!
//! In: plain values, from flags, a file or the environment. Out: values that fit together ([`ServeSettings::check`]).
//! Reads nothing itself; keeps the password out of Debug output. Start at [`ServeSettings`].

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::error::WireError;

/// How to serve.
#[derive(Debug, Clone)]
pub struct ServeSettings {
    /// Where to listen; port 0 selects a free one. Default: 127.0.0.1:5433, beside a local PostgreSQL.
    pub listen: SocketAddr,
    /// Who may connect. Default: no password, which is allowed on loopback only.
    pub credentials: Option<WireCredentials>,
    /// Certificate and key. Default: no TLS. With TLS, clients from beyond loopback must use it.
    pub tls: Option<TlsFiles>,
    /// How long one message's statements may run, sending included. A connection may set less by
    /// `SET statement_timeout`, never more. Default: 5 minutes.
    pub statement_timeout: Duration,
    /// How many rows one statement may return, else it ends with an error (SQLSTATE 54000), so that a truncated
    /// result is never mistaken for a complete one. Default: no limit.
    pub max_rows: Option<u64>,
    /// How many clients may be connected; further ones are refused (SQLSTATE 53300). Default: 64.
    pub max_connections: usize,
    /// How long running statements may continue after [`crate::WireServer::stop`]. Default: 5 seconds.
    pub stop_grace: Duration,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 5433)),
            credentials: None,
            tls: None,
            statement_timeout: Duration::from_secs(300),
            max_rows: None,
            max_connections: 64,
            stop_grace: Duration::from_secs(5),
        }
    }
}

impl ServeSettings {
    /// Refuses settings that contradict each other.
    ///
    /// # Errors
    /// `Settings`, with the key at fault.
    pub(crate) fn check(&self) -> Result<(), WireError> {
        let refuse = |key, reason: String| Err(WireError::Settings { key, reason });
        if !self.listen.ip().is_loopback() && self.credentials.is_none() {
            let reason = format!("{} can be reached from other machines, and no password is required", self.listen);
            return refuse("listen", reason);
        }
        if let Some(WireCredentials { user, password }) = &self.credentials
            && (user.is_empty() || password.0.is_empty())
        {
            return refuse("credentials", "the user or the password is empty".into());
        }
        if self.max_connections == 0 {
            return refuse("max_connections", "max_connections = 0 lets no client connect".into());
        }
        if self.statement_timeout.is_zero() {
            return refuse("statement_timeout", "with statement_timeout = 0 no statement could end in time".into());
        }
        Ok(())
    }
}

/// The one user who may connect.
#[derive(Debug, Clone)]
pub struct WireCredentials {
    /// The name that the client gives.
    pub user: String,
    /// The password.
    pub password: WirePassword,
}

/// A password that Debug output does not show.
#[derive(Clone)]
pub struct WirePassword(pub(crate) String);

impl WirePassword {
    /// Wraps a password from the environment or a file, never from the command line.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }
}

impl fmt::Debug for WirePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate, then its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_key(settings: &ServeSettings) -> &'static str {
        match settings.check() {
            Err(WireError::Settings { key, .. }) => key,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn the_defaults_are_allowed() {
        ServeSettings::default().check().unwrap();
    }

    #[test]
    fn beyond_loopback_a_password_is_required() {
        let open = ServeSettings { listen: "0.0.0.0:5433".parse().unwrap(), ..ServeSettings::default() };
        assert_eq!(refused_key(&open), "listen");
        let credentials = WireCredentials { user: "reader".into(), password: WirePassword::new("s3cret") };
        ServeSettings { credentials: Some(credentials), ..open }.check().unwrap();
    }

    #[test]
    fn an_empty_password_is_refused() {
        let credentials = WireCredentials { user: "reader".into(), password: WirePassword::new("") };
        let settings = ServeSettings { credentials: Some(credentials), ..ServeSettings::default() };
        assert_eq!(refused_key(&settings), "credentials");
    }

    #[test]
    fn a_password_is_not_shown() {
        let credentials = WireCredentials { user: "reader".into(), password: WirePassword::new("s3cret") };
        let shown = format!("{:?}", ServeSettings { credentials: Some(credentials), ..ServeSettings::default() });
        assert!(shown.contains("reader") && !shown.contains("s3cret"), "{shown}");
    }
}
