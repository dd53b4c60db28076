//! Client settings: librdkafka's keys, where each came from, and how long to wait for a broker.
//!
//! In: a Java-style properties file, a pipeline's table, the environment; keys by librdkafka's names or Java's.
//! Out: librdkafka's keys and values, each with its place. Start at [`ClientSettings::insert`], which every key passes.

mod checks;
mod environment;
mod error;
mod jaas;
mod java;
mod keys;
mod properties;
mod to_java;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use tokio_util::sync::CancellationToken;

use crate::pause::pause;
use error::WrongValue;

pub use error::SettingsError;
pub use keys::is_secret;
pub use to_java::JavaSettings;

/// The properties file that is read when none is named.
pub const DEFAULT_PROPERTIES: &str = "~/.kafka/docker-kafka.properties";

/// How long to look for a broker before giving up, unless set with [`ClientSettings::with_connect_timeout`].
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How to reach a Kafka cluster. Cloning is cheap enough to do per client.
///
/// `Debug` shows which keys are set, and values only of keys that are known to be harmless.
#[derive(Clone)]
pub struct ClientSettings {
    values: BTreeMap<String, Setting>,
    /// Keys that only a Java program uses, with their places.
    ignored: BTreeMap<String, String>,
    origin: String,
    connect_timeout: Duration,
    shutdown: Option<CancellationToken>,
}

#[derive(Clone)]
struct Setting {
    value: String,
    origin: String,
}

/// The only keys whose values are ever shown.
const SHOWN: [&str; 6] =
    ["bootstrap.servers", "security.protocol", "sasl.mechanisms", "sasl.mechanism", "client.id", "group.id"];

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (key, setting) in &self.values {
            map.entry(key, &if SHOWN.contains(&key.as_str()) { setting.value.as_str() } else { "(not shown)" });
        }
        map.finish()
    }
}

impl ClientSettings {
    /// Reads a properties file; `~/` at its start is the home folder. Brokers may be named later, with
    /// [`ClientSettings::with`]; a client without any is refused when it is opened.
    ///
    /// # Errors
    /// Names file and line of what cannot be read or is unknown to librdkafka.
    pub fn from_properties(file: impl AsRef<Path>) -> Result<Self, SettingsError> {
        let file = expand_home(file.as_ref());
        let bytes = std::fs::read(&file).map_err(|source| SettingsError::Unreadable { file: file.clone(), source })?;
        // Java reads such files byte by byte as Latin-1, everybody else as UTF-8.
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect::<String>());
        let broken = |line, reason| SettingsError::Line { file: file.clone(), line, reason };
        let entries = properties::parse(&text).map_err(|found| broken(found.line, found.reason))?;
        let mut settings = Self::empty(file.display().to_string());
        for entry in entries {
            let properties::PropertyEntry { line, key, value } = entry;
            if value.is_empty() && matches!(java::translate(&key, ""), Ok(java::TranslatedKey::Same) | Err(_)) {
                return Err(broken(line, format!("`{key}` has no value; write `{key}=value`")));
            }
            settings.insert(key, value, format!("{}:{line}", file.display()))?;
        }
        settings.note_ignored();
        Ok(settings)
    }

    /// Takes librdkafka keys, as a pipeline's `[source] kafka = { … }` gives them. `origin` names their place in errors.
    ///
    /// # Errors
    /// Names the key that librdkafka does not know or whose value it does not take.
    pub fn from_map<K, V>(entries: impl IntoIterator<Item = (K, V)>, origin: &str) -> Result<Self, SettingsError>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let mut settings = Self::empty(origin.to_owned());
        for (key, value) in entries {
            settings.insert(key.into(), value.into(), origin.to_owned())?;
        }
        settings.note_ignored();
        settings.check_servers()?;
        Ok(settings)
    }

    /// Settings that name brokers (`host:port`, several apart by commas) and nothing else.
    pub fn from_servers(servers: &str) -> Result<Self, SettingsError> {
        Self::from_map([("bootstrap.servers", servers)], "the broker addresses")
    }

    /// Sets one key, over what was read before. `origin` names its place in errors.
    pub fn with(mut self, key: &str, value: &str, origin: &str) -> Result<Self, SettingsError> {
        self.insert(key.to_owned(), value.to_owned(), origin.to_owned())?;
        Ok(self)
    }

    /// Puts `other`'s settings over these.
    pub fn over(mut self, other: Self) -> Self {
        self.values.extend(other.values);
        self.ignored.extend(other.ignored);
        self
    }

    /// librdkafka's keys and values, by key. They hold secrets: pass them on, do not show them.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(key, setting)| (key.as_str(), setting.value.as_str()))
    }

    /// The value of a key that is no secret.
    pub fn shown(&self, key: &str) -> Option<&str> {
        self.values.get(key).filter(|_| SHOWN.contains(&key)).map(|setting| setting.value.as_str())
    }

    /// Keys that were left out because only Java programs use them.
    pub fn ignored(&self) -> impl Iterator<Item = &str> {
        self.ignored.keys().map(String::as_str)
    }

    /// Sets how long to look for a broker before giving up.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Waiting for a broker ends early, as [`crate::ClientError::Stopped`], once `shutdown` is cancelled.
    pub fn with_shutdown(mut self, shutdown: CancellationToken) -> Self {
        self.shutdown = Some(shutdown);
        self
    }

    /// The brokers to start from, as set.
    pub fn servers(&self) -> &str {
        self.values.get("bootstrap.servers").map_or("", |setting| &setting.value)
    }

    /// How long to look for a broker before giving up.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// The consumer group, when one is set.
    pub fn group(&self) -> Option<&str> {
        self.values.get("group.id").map(|setting| setting.value.as_str())
    }

    pub(crate) fn stopped(&self) -> bool {
        self.shutdown.as_ref().is_some_and(CancellationToken::is_cancelled)
    }

    /// Sleeps for `time`, or until the process is to end.
    pub(crate) fn pause(&self, time: Duration) {
        match &self.shutdown {
            Some(shutdown) => drop(pause(time, shutdown)),
            None => std::thread::sleep(time),
        }
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// librdkafka's configuration: `defaults` give way to what a person set, `forced` do not.
    pub(crate) fn config(&self, defaults: &[(&str, &str)], forced: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (key, value) in defaults {
            config.set(keys::canonical(key), *value);
        }
        for (key, setting) in &self.values {
            config.set(key, &setting.value);
        }
        for (key, value) in forced {
            config.set(keys::canonical(key), *value);
        }
        // librdkafka's lines go to `tracing` at debug level; its state changes are reported by `link`.
        config.set_log_level(RDKafkaLogLevel::Info);
        config
    }

    fn empty(origin: String) -> Self {
        let (values, ignored) = (BTreeMap::new(), BTreeMap::new());
        Self { values, ignored, origin, connect_timeout: DEFAULT_CONNECT_TIMEOUT, shutdown: None }
    }

    /// Takes one key by librdkafka's name or Java's. The last one wins, also over another spelling of the same key.
    fn insert(&mut self, key: String, value: String, origin: String) -> Result<(), SettingsError> {
        let refused = |wrong: WrongValue| wrong.at(&origin, &key);
        if let Some(held) = keys::held_in_file(&key) {
            let secret = secret_in(&value).map_err(refused)?;
            return self.insert(held.to_owned(), secret, origin);
        }
        match java::translate(&key, &value).map_err(refused)? {
            java::TranslatedKey::Same => self.set(&key, value, &origin),
            java::TranslatedKey::Keys(keys) => {
                keys.into_iter().try_for_each(|(key, value)| self.set(key, value, &origin))
            }
            java::TranslatedKey::Ignored => {
                self.ignored.insert(key, origin);
                Ok(())
            }
        }
    }

    fn set(&mut self, key: &str, value: String, origin: &str) -> Result<(), SettingsError> {
        keys::check(key, &value, origin)?;
        self.values.insert(keys::canonical(key).to_owned(), Setting { value, origin: origin.to_owned() });
        Ok(())
    }

    /// One note for all keys that were left out.
    fn note_ignored(&self) {
        if !self.ignored.is_empty() {
            let keys = self.ignored().collect::<Vec<_>>().join(", ");
            tracing::warn!("{}: these keys only concern Java programs and are ignored: {keys}", self.origin);
        }
    }

    fn check_servers(&self) -> Result<(), SettingsError> {
        if self.servers().is_empty() {
            return Err(SettingsError::NoServers { origin: self.origin.clone() });
        }
        Ok(())
    }

    /// Where `key` was set; where the settings come from, when it was not.
    pub fn origin_of(&self, key: &str) -> &str {
        self.values.get(key).map_or(&self.origin, |setting| &setting.origin)
    }
}

fn expand_home(file: &Path) -> PathBuf {
    match (file.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => file.to_owned(),
    }
}

/// The secret that a file holds, without the line's end that editors leave behind.
fn secret_in(file: &str) -> Result<String, WrongValue> {
    let path = expand_home(Path::new(file));
    let text = std::fs::read_to_string(&path).map_err(|error| WrongValue::unreadable(file, error))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{file} is empty").into()),
        secret => Ok(secret.to_owned()),
    }
}

#[cfg(test)]
mod tests;
