//! What may be given of a server's address, in a URL or setting by setting.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use turnstile_values::{Secret, suggest};

use crate::error::TargetSettingsError;

/// Settings as they are given. What is `None` comes from the URL, or has a default.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// `postgres://USER@HOST:PORT/DATABASE`; a separate setting overrides the same part of it.
    pub url: Option<Secret>,
    /// See [`super::PostgresSettings::host`]; needed.
    pub host: Option<String>,
    /// Default 5432.
    pub port: Option<u16>,
    /// Needed.
    pub database: Option<String>,
    /// Needed.
    pub user: Option<String>,
    /// A file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// Default `turnstile`.
    pub schema: Option<String>,
    /// Default `prefer` on loopback, `verify-full` elsewhere.
    pub sslmode: Option<SslMode>,
    /// See [`super::PostgresSettings::root_certificate`].
    pub root_certificate: Option<PathBuf>,
    /// Default 10 seconds.
    pub connect_timeout: Option<Duration>,
    /// Default 30 minutes.
    pub statement_timeout: Option<Duration>,
    /// Default 1 minute.
    pub lock_timeout: Option<Duration>,
    /// Default `turnstile`.
    pub application_name: Option<String>,
    /// See [`super::PostgresSettings::adopt`].
    pub adopt: Option<String>,
}

/// How TLS is used. The names are libpq's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS if the server supports it; nothing is verified.
    Prefer,
    /// TLS; nothing is verified.
    Require,
    /// TLS with a certificate that the authority signed.
    VerifyCa,
    /// TLS with a certificate that the authority signed for this host.
    VerifyFull,
}

impl SslMode {
    const NAMES: [(&str, SslMode); 5] = [
        ("disable", SslMode::Disable),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-full", SslMode::VerifyFull),
    ];

    pub(super) fn verifies(self) -> bool {
        matches!(self, SslMode::VerifyCa | SslMode::VerifyFull)
    }
}

impl FromStr for SslMode {
    type Err = TargetSettingsError;

    fn from_str(text: &str) -> Result<Self, TargetSettingsError> {
        let known = Self::NAMES.iter().find(|(name, _)| *name == text);
        known.map(|(_, mode)| *mode).ok_or_else(|| {
            let hint = suggest(text, Self::NAMES.map(|(name, _)| name));
            TargetSettingsError::new("sslmode", format!("sslmode cannot be \"{text}\""), hint)
        })
    }
}
