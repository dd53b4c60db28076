//! The connection settings of a server.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use turnstile_values::{SECOND_US, Secret, duration, nearest};

use super::password::PostgresPassword;
use super::url::{self, Url};

/// Every key of [`PostgresSettings::from_pairs`].
pub const KEYS: [&str; 14] = [
    "url",
    "host",
    "port",
    "database",
    "user",
    "password_file",
    "schema",
    "sslmode",
    "root_certificate",
    "connect_timeout",
    "statement_timeout",
    "lock_timeout",
    "application_name",
    "adopt",
];

/// The environment variable that may hold a URL with a password in it.
pub const URL_VARIABLE: &str = "TURNSTILE_POSTGRES_URL";

const DEFAULT_PORT: u16 = 5432;
const DEFAULT_SCHEMA: &str = "turnstile";
const DEFAULT_APPLICATION: &str = "turnstile";
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A first delivery is one COPY, and some million rows take minutes.
const DEFAULT_STATEMENT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(60);
/// PostgreSQL's limits: milliseconds in 31 bits, and 0 would mean none.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);
const LONGEST_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);
/// PostgreSQL truncates longer names without an error.
pub(super) const NAME_BYTES: usize = 63;

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
    const WORDS: [(&str, SslMode); 5] = [
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

/// An invalid setting. Never contains a secret.
#[derive(Debug, thiserror::Error)]
#[error("postgres setting `{key}`: {reason}\nhint:  {hint}")]
pub struct PostgresSettingsError {
    /// The key, or the environment variable.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
    /// What to write instead.
    pub hint: String,
}

fn wrong(key: &str, reason: impl Into<String>, hint: impl Into<String>) -> PostgresSettingsError {
    PostgresSettingsError { key: key.into(), reason: reason.into(), hint: hint.into() }
}

impl PostgresSettings {
    /// Reads keys and values as a settings file has them, and what `environment` adds: `TURNSTILE_POSTGRES_URL` (may
    /// hold a password), `PGPASSWORD`, `PGPASSFILE`. A key given by itself prevails over the same part of the URL.
    ///
    /// # Errors
    /// Names the key: unknown (with the nearest known one), given twice, missing, a value that is not taken, or a
    /// password where others could read it.
    pub fn from_pairs<K: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (K, V)>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, PostgresSettingsError> {
        let mut given = Given::default();
        for (key, value) in pairs {
            given.add(key.as_ref(), value.as_ref())?;
        }
        let secret_in_url = given.add_urls(&environment)?;
        let host = given.required("host")?;
        let sslmode = given.sslmode(&host)?;
        let root_certificate = given.root_certificate(sslmode)?;
        let schema = given.take("schema").unwrap_or(DEFAULT_SCHEMA.into());
        check_schema(&schema)?;
        Ok(Self {
            port: given.port()?,
            database: given.required("database")?,
            user: given.required("user")?,
            password: password(given.take("password_file"), secret_in_url, &environment),
            schema,
            sslmode,
            root_certificate,
            connect_timeout: given.duration("connect_timeout", DEFAULT_CONNECT_TIMEOUT)?,
            statement_timeout: given.duration("statement_timeout", DEFAULT_STATEMENT_TIMEOUT)?,
            lock_timeout: given.duration("lock_timeout", DEFAULT_LOCK_TIMEOUT)?,
            application_name: given.take("application_name").unwrap_or(DEFAULT_APPLICATION.into()),
            adopt: given.take("adopt"),
            host,
        })
    }

    /// Whether the server is reached through a file rather than a network.
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

/// What was given, by key.
#[derive(Default)]
struct Given(Vec<(String, String)>);

impl Given {
    fn add(&mut self, key: &str, value: &str) -> Result<(), PostgresSettingsError> {
        if key == "password" {
            let hint = "set PGPASSWORD, or name a file: password_file = \"/run/secrets/postgres\"";
            return Err(wrong(key, "a password is not written here, where others can read it", hint));
        }
        if !KEYS.contains(&key) {
            let hint = match nearest(key, KEYS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known: {}", KEYS.join(", ")),
            };
            return Err(wrong(key, "unknown key", hint));
        }
        if self.0.iter().any(|(known, _)| known == key) {
            return Err(wrong(key, "given twice", "keep one of them"));
        }
        self.0.push((key.into(), value.into()));
        Ok(())
    }

    /// Spreads the given URL, or the environment's, over the keys that were not given; its password.
    fn add_urls(
        &mut self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Secret>, PostgresSettingsError> {
        let (origin, text) = match (self.take("url"), environment(URL_VARIABLE)) {
            (Some(text), _) => ("url", text),
            (None, Some(text)) => (URL_VARIABLE, text),
            (None, None) => return Ok(None),
        };
        let Url { parts, password } = url::parse(&text).map_err(|(reason, hint)| wrong(origin, reason, hint))?;
        if password.is_some() && origin == "url" {
            let hint = format!("leave the password out and set PGPASSWORD, or set {URL_VARIABLE} in the environment");
            return Err(wrong(origin, "it holds a password, where others can read it", hint));
        }
        for (key, value) in parts {
            if !self.0.iter().any(|(known, _)| known == key) {
                self.0.push((key.into(), value));
            }
        }
        Ok(password)
    }

    fn take(&mut self, key: &str) -> Option<String> {
        let found = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.swap_remove(found).1)
    }

    fn required(&mut self, key: &str) -> Result<String, PostgresSettingsError> {
        let hint = || format!("{key} = \"…\", or url = \"postgres://USER@HOST/DATABASE\"");
        self.take(key).filter(|value| !value.is_empty()).ok_or_else(|| wrong(key, "missing", hint()))
    }

    fn port(&mut self) -> Result<u16, PostgresSettingsError> {
        let Some(text) = self.take("port") else { return Ok(DEFAULT_PORT) };
        let port = text.parse().ok().filter(|port| *port > 0);
        port.ok_or_else(|| wrong("port", format!("\"{text}\" is not a port"), "a number from 1 to 65535"))
    }

    fn sslmode(&mut self, host: &str) -> Result<SslMode, PostgresSettingsError> {
        let Some(text) = self.take("sslmode") else {
            // On one's own machine there is nobody on the line, and certificates are rare.
            return Ok(if is_loopback(host) { SslMode::Prefer } else { SslMode::VerifyFull });
        };
        let known = SslMode::WORDS.iter().find(|(word, _)| *word == text);
        let words = SslMode::WORDS.map(|(word, _)| word);
        known.map(|(_, mode)| *mode).ok_or_else(|| {
            let hint = match nearest(&text, words.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("one of {}", words.join(", ")),
            };
            wrong("sslmode", format!("\"{text}\" is not a mode"), hint)
        })
    }

    fn root_certificate(&mut self, sslmode: SslMode) -> Result<Option<PathBuf>, PostgresSettingsError> {
        let file = self.take("root_certificate").map(PathBuf::from);
        if file.is_some() && !sslmode.verifies() {
            let hint = "sslmode = \"verify-full\", or \"verify-ca\" where the certificate is for another name";
            return Err(wrong("root_certificate", "this sslmode verifies nothing, so it would not be used", hint));
        }
        if file.is_none() && sslmode == SslMode::VerifyCa {
            let hint = "name the authority's certificate, or take sslmode = \"verify-full\"";
            // Any of the system's authorities would do for any host: that proves nothing.
            return Err(wrong("root_certificate", "verify-ca needs the authority that signed", hint));
        }
        Ok(file)
    }

    fn duration(&mut self, key: &str, default: Duration) -> Result<Duration, PostgresSettingsError> {
        let Some(text) = self.take(key) else { return Ok(default) };
        // A number alone is seconds, as libpq has it.
        let taken = duration::parse_us_or_number(&text, SECOND_US).ok().map(duration::from_us);
        let taken = taken.filter(|time| (SHORTEST_TIMEOUT..=LONGEST_TIMEOUT).contains(time));
        taken.ok_or_else(|| {
            let hint = "a number and a unit: \"500 ms\", \"30 seconds\", \"5 minutes\", \"1 hour\"";
            wrong(key, format!("\"{text}\" is not a duration from 1 ms to 24 days"), hint)
        })
    }
}

fn password(
    file: Option<String>,
    in_url: Option<Secret>,
    environment: impl Fn(&str) -> Option<String>,
) -> PostgresPassword {
    let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
    if let Some(file) = file {
        PostgresPassword::File(file.into())
    } else if let Some(secret) = in_url.or_else(|| variable("PGPASSWORD").map(Secret::new)) {
        PostgresPassword::Given(secret)
    } else if let Some(file) = variable("PGPASSFILE") {
        PostgresPassword::PassFile(file.into())
    } else {
        PostgresPassword::None
    }
}

fn check_schema(schema: &str) -> Result<(), PostgresSettingsError> {
    let error = if schema.is_empty() || schema.contains('\0') {
        "it is not a name"
    } else if schema.len() > NAME_BYTES {
        "it is longer than PostgreSQL's 63 bytes"
    } else if schema.starts_with("pg_") || schema == "information_schema" {
        "it belongs to PostgreSQL itself"
    } else {
        return Ok(());
    };
    Err(wrong("schema", format!("\"{schema}\": {error}"), format!("for example \"{DEFAULT_SCHEMA}\"")))
}

fn is_loopback(host: &str) -> bool {
    host.starts_with('/')
        || host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: [(&str, &str); 3] = [("host", "127.0.0.1"), ("database", "mta"), ("user", "loader")];

    fn read(more: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<PostgresSettings, String> {
        let find = |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned());
        PostgresSettings::from_pairs(more.iter().copied(), find).map_err(|error| error.to_string())
    }

    fn with_place(more: &[(&str, &str)]) -> Result<PostgresSettings, String> {
        read(&[&PLACE[..], more].concat(), &[])
    }

    #[test]
    fn a_place_and_a_user_are_enough() {
        let settings = with_place(&[]).unwrap();
        assert_eq!((settings.port, settings.schema.as_str(), settings.sslmode), (5432, "turnstile", SslMode::Prefer));
        assert_eq!(settings.to_string(), "PostgreSQL 127.0.0.1:5432/mta (schema turnstile)");
    }

    #[test]
    fn beyond_loopback_the_certificate_is_verified_unless_told_otherwise() {
        let far = [("url", "postgres://loader@db.example.com/mta")];
        assert_eq!(read(&far, &[]).unwrap().sslmode, SslMode::VerifyFull);
        let told = [("url", "postgres://loader@db.example.com/mta?sslmode=require")];
        assert_eq!(read(&told, &[]).unwrap().sslmode, SslMode::Require);
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_known_one() {
        let error = with_place(&[("sslmod", "require")]).unwrap_err();
        assert_eq!(error, "postgres setting `sslmod`: unknown key\nhint:  did you mean `sslmode`?");
        assert!(with_place(&[("colour", "red")]).unwrap_err().contains("known: url, host, port"));
    }

    #[test]
    fn a_password_is_taken_from_the_environment_and_refused_elsewhere() {
        let error = with_place(&[("password", "hush")]).unwrap_err();
        assert!(error.contains("PGPASSWORD") && !error.contains("hush"), "{error}");
        let url = "postgres://loader:hush@127.0.0.1/mta";
        let error = read(&[("url", url)], &[]).unwrap_err();
        assert!(error.contains("holds a password") && !error.contains("hush"), "{error}");

        for environment in [(URL_VARIABLE, url), ("PGPASSWORD", "hush")] {
            let place: &[_] = if environment.0 == URL_VARIABLE { &[] } else { &PLACE };
            let settings = read(place, &[environment]).unwrap();
            assert_eq!(settings.password.read(&settings).unwrap().unwrap().expose(), "hush");
            assert!(!format!("{settings:?} {settings}").contains("hush"), "{settings:?}");
        }
    }

    #[test]
    fn a_key_prevails_over_the_url() {
        let url = ("url", "postgres://loader@127.0.0.1:6000/mta?connect_timeout=3&application_name=x");
        let settings = read(&[url, ("database", "other")], &[]).unwrap();
        assert_eq!((settings.database.as_str(), settings.port), ("other", 6000));
        assert_eq!(settings.connect_timeout, Duration::from_secs(3));
        assert_eq!(settings.application_name, "x");
    }

    #[test]
    fn values_that_are_not_taken_say_what_is() {
        for (key, value, said) in [
            ("port", "70000", "a number from 1 to 65535"),
            ("sslmode", "verify_full", "did you mean \"verify-full\"?"),
            ("statement_timeout", "soon", "\"5 minutes\""),
            ("statement_timeout", "0 ms", "\"5 minutes\""),
            ("schema", "pg_catalog", "belongs to PostgreSQL"),
            ("root_certificate", "ca.pem", "verifies nothing"),
        ] {
            let error = with_place(&[(key, value)]).unwrap_err();
            assert!(error.contains(said) && error.contains(key), "{error}");
        }
        assert!(with_place(&[("sslmode", "verify-ca")]).unwrap_err().contains("root_certificate"));
        assert!(with_place(&[("host", "x")]).unwrap_err().contains("given twice"));
        assert!(read(&PLACE[..2], &[]).unwrap_err().contains("`user`: missing"));
    }
}
