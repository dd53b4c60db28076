//! The connection settings of a server.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use turnstile_values::Secret;

use super::options::{PostgresOptions, SslMode};
use super::url;
use crate::error::TargetSettingsError;

/// The environment variable that may hold a URL with a password in it.
pub const URL_VARIABLE: &str = "TURNSTILE_POSTGRES_URL";

const DEFAULT_PORT: u16 = 5432;
const DEFAULT_SCHEMA: &str = "turnstile";
const DEFAULT_APPLICATION: &str = "turnstile";
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A first delivery is one COPY, and some million rows take minutes.
const DEFAULT_STATEMENT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(60);
/// PostgreSQL truncates longer names without an error.
pub(super) const NAME_BYTES: usize = 63;

/// The connection settings of a server. `Debug` shows no password.
#[derive(Debug, Clone)]
pub struct PostgresSettings {
    /// A name, an address, or the folder of a Unix socket (it begins with `/`).
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database; it must exist.
    pub database: String,
    /// The user.
    pub user: String,
    /// Where the password comes from. It is read for each connection, so it may change.
    pub password: PostgresPassword,
    /// The schema of all tables; created if missing. One schema holds one warehouse.
    pub schema: String,
    /// How TLS is used. Default: `prefer` on loopback, `verify-full` elsewhere.
    pub sslmode: SslMode,
    /// The authority's certificate (PEM). Without it, `verify-full` trusts the system's authorities.
    pub root_certificate: Option<PathBuf>,
    /// How long a connection may take, with TLS and login.
    pub connect_timeout: Duration,
    /// How long one statement may take; loading one table's rows is one statement.
    pub statement_timeout: Duration,
    /// How long to wait for another session's locks.
    pub lock_timeout: Duration,
    /// The name shown in `pg_stat_activity`.
    pub application_name: String,
    /// Another warehouse whose rows in the schema may be replaced by this one's.
    pub adopt: Option<String>,
}

/// Where the password comes from.
#[derive(Debug, Clone)]
pub enum PostgresPassword {
    /// None: the server trusts us, or identifies us by the user of the socket.
    None,
    /// From the environment.
    Given(Secret),
    /// A file whose first line is the password, as orchestrators mount secrets.
    File(PathBuf),
    /// A file in libpq's form, `host:port:database:user:password` a line. Others must not be able to read it.
    PassFile(PathBuf),
}

impl PostgresSettings {
    /// Completes what was given by the URL, by `environment` (`TURNSTILE_POSTGRES_URL`, which may hold a password,
    /// `PGPASSWORD`, `PGPASSFILE`) and by defaults. A given setting overrides the same part of the URL.
    ///
    /// # Errors
    /// Names the setting: missing, not usable, or a password where others could read it.
    pub fn new(
        mut given: PostgresOptions,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, TargetSettingsError> {
        let (url, password_in_url) = read_url(given.url.take(), &environment)?;
        let host = required("host", given.host.or(url.host))?;
        // Nothing can listen on the line within this machine, and certificates are rare.
        let default_mode = if is_loopback(&host) { SslMode::Prefer } else { SslMode::VerifyFull };
        let sslmode = given.sslmode.or(url.sslmode).unwrap_or(default_mode);
        let root_certificate = given.root_certificate.or(url.root_certificate);
        check_root_certificate(root_certificate.is_some(), sslmode)?;
        let schema = given.schema.unwrap_or(DEFAULT_SCHEMA.into());
        check_schema(&schema)?;
        Ok(Self {
            port: given.port.or(url.port).unwrap_or(DEFAULT_PORT),
            database: required("database", given.database.or(url.database))?,
            user: required("user", given.user.or(url.user))?,
            password: find_password(given.password_file, password_in_url, &environment),
            schema,
            sslmode,
            root_certificate,
            connect_timeout: given.connect_timeout.or(url.connect_timeout).unwrap_or(DEFAULT_CONNECT_TIMEOUT),
            statement_timeout: given.statement_timeout.unwrap_or(DEFAULT_STATEMENT_TIMEOUT),
            lock_timeout: given.lock_timeout.unwrap_or(DEFAULT_LOCK_TIMEOUT),
            application_name: given.application_name.or(url.application_name).unwrap_or(DEFAULT_APPLICATION.into()),
            adopt: given.adopt,
            host,
        })
    }

    /// Whether the server is reached through a socket's file instead of a network.
    pub(super) fn is_local_socket(&self) -> bool {
        self.host.starts_with('/')
    }
}

/// The server's name in messages: without user or password.
impl fmt::Display for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {}:{}/{} (schema {})", self.host, self.port, self.database, self.schema)
    }
}

/// The parts of the given URL, or of the environment's, which alone may hold a password.
fn read_url(
    given: Option<Secret>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<(PostgresOptions, Option<Secret>), TargetSettingsError> {
    let (key, text) = match (given, environment(URL_VARIABLE)) {
        (Some(text), _) => ("url", text),
        (None, Some(text)) => (URL_VARIABLE, Secret::new(text)),
        (None, None) => return Ok(Default::default()),
    };
    let (options, password) = url::parse(key, text.expose())?;
    if password.is_some() && key == "url" {
        let hint = format!("leave the password out and set PGPASSWORD, or set {URL_VARIABLE} in the environment");
        return Err(TargetSettingsError::new(key, "it holds a password, where others can read it", hint));
    }
    Ok((options, password))
}

fn required(key: &'static str, value: Option<String>) -> Result<String, TargetSettingsError> {
    let missing = || {
        TargetSettingsError::new(key, "missing", format!("{key} = \"…\", or url = \"postgres://USER@HOST/DATABASE\""))
    };
    value.filter(|value| !value.is_empty()).ok_or_else(missing)
}

fn check_root_certificate(is_given: bool, sslmode: SslMode) -> Result<(), TargetSettingsError> {
    let wrong = |reason: &str, hint: &str| Err(TargetSettingsError::new("root_certificate", reason, hint));
    match is_given {
        true if !sslmode.verifies() => wrong(
            "this sslmode verifies nothing, so it would not be used",
            "sslmode = \"verify-full\", or \"verify-ca\" if the certificate is for another name",
        ),
        // Any of the system's authorities would do for any host: that proves nothing.
        false if sslmode == SslMode::VerifyCa => wrong(
            "verify-ca needs the authority that signed the server's certificate",
            "name the authority's certificate, or use sslmode = \"verify-full\"",
        ),
        _ => Ok(()),
    }
}

fn find_password(
    file: Option<PathBuf>,
    in_url: Option<Secret>,
    environment: impl Fn(&str) -> Option<String>,
) -> PostgresPassword {
    let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
    if let Some(file) = file {
        PostgresPassword::File(file)
    } else if let Some(secret) = in_url.or_else(|| variable("PGPASSWORD").map(Secret::new)) {
        PostgresPassword::Given(secret)
    } else if let Some(file) = variable("PGPASSFILE") {
        PostgresPassword::PassFile(file.into())
    } else {
        PostgresPassword::None
    }
}

fn check_schema(schema: &str) -> Result<(), TargetSettingsError> {
    let reason = if schema.is_empty() || schema.contains('\0') {
        "it is not a name"
    } else if schema.len() > NAME_BYTES {
        "it is longer than PostgreSQL's 63 bytes"
    } else if schema.starts_with("pg_") || schema == "information_schema" {
        "it is reserved by PostgreSQL"
    } else {
        return Ok(());
    };
    let hint = format!("for example \"{DEFAULT_SCHEMA}\"");
    Err(TargetSettingsError::new("schema", format!("\"{schema}\": {reason}"), hint))
}

fn is_loopback(host: &str) -> bool {
    host.starts_with('/')
        || host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> PostgresOptions {
        PostgresOptions {
            host: Some("127.0.0.1".into()),
            database: Some("mta".into()),
            user: Some("loader".into()),
            ..PostgresOptions::default()
        }
    }

    fn by_url(url: &str) -> PostgresOptions {
        PostgresOptions { url: Some(Secret::new(url)), ..PostgresOptions::default() }
    }

    fn complete(given: PostgresOptions) -> Result<PostgresSettings, TargetSettingsError> {
        PostgresSettings::new(given, |_| None)
    }

    #[test]
    fn host_database_and_user_are_enough() {
        let settings = complete(local()).unwrap();
        assert_eq!((settings.port, settings.schema.as_str(), settings.sslmode), (5432, "turnstile", SslMode::Prefer));
        assert_eq!(settings.to_string(), "PostgreSQL 127.0.0.1:5432/mta (schema turnstile)");
    }

    #[test]
    fn beyond_loopback_the_certificate_is_verified_by_default() {
        let far = by_url("postgres://loader@db.example.com/mta");
        assert_eq!(complete(far).unwrap().sslmode, SslMode::VerifyFull);
        let explicit = by_url("postgres://loader@db.example.com/mta?sslmode=require");
        assert_eq!(complete(explicit).unwrap().sslmode, SslMode::Require);
    }

    #[test]
    fn a_password_is_taken_from_the_environment_and_refused_in_the_url() {
        let url = "postgres://loader:hush@127.0.0.1/mta";
        let error = complete(by_url(url)).unwrap_err();
        assert!(error.reason.contains("holds a password"), "{error}");
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");

        for (variable, value) in [(URL_VARIABLE, url), ("PGPASSWORD", "hush")] {
            let given = if variable == URL_VARIABLE { PostgresOptions::default() } else { local() };
            let settings = PostgresSettings::new(given, |name| (name == variable).then(|| value.into())).unwrap();
            assert_eq!(settings.password.read(&settings).unwrap().unwrap().expose(), "hush");
            assert!(!format!("{settings:?} {settings}").contains("hush"), "{settings:?}");
        }
    }

    #[test]
    fn a_setting_overrides_the_url() {
        let url = by_url("postgres://loader@127.0.0.1:6000/mta?connect_timeout=3&application_name=x");
        let settings = complete(PostgresOptions { database: Some("other".into()), ..url }).unwrap();
        assert_eq!((settings.database.as_str(), settings.port), ("other", 6000));
        assert_eq!(settings.connect_timeout, Duration::from_secs(3));
        assert_eq!(settings.application_name, "x");
    }

    #[test]
    fn unusable_values_are_named_with_what_would_do() {
        let refused = |given| complete(given).unwrap_err();
        let error = refused(PostgresOptions { schema: Some("pg_catalog".into()), ..local() });
        assert!(error.key == "schema" && error.reason.contains("reserved by PostgreSQL"), "{error}");
        let error = refused(PostgresOptions { root_certificate: Some("ca.pem".into()), ..local() });
        assert!(error.key == "root_certificate" && error.reason.contains("verifies nothing"), "{error}");
        let error = refused(PostgresOptions { sslmode: Some(SslMode::VerifyCa), ..local() });
        assert_eq!(error.key, "root_certificate");
        let error = refused(PostgresOptions { user: None, ..local() });
        assert_eq!((error.key, error.reason.as_str()), ("user", "missing"));
        let error = refused(by_url("postgres://u@h/d?sslmode=verify_full"));
        assert!(error.key == "url" && error.hint.contains("verify-full"), "{error} {}", error.hint);
    }
}
