//! Client settings: librdkafka's keys, where each came from, and how long to wait for a broker.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka_sys::RDKafkaConfRes;

use crate::properties;

/// The properties file that is read when none is named.
pub const DEFAULT_PROPERTIES: &str = "~/.kafka/docker-kafka.properties";

/// How long to look for a broker before giving up, unless set with [`ClientSettings::with_connect_timeout`].
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Settings that cannot be used. Never holds a value that may be secret.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line of the file is not `key=value`.
    #[error("{}:{line}: {reason}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// librdkafka does not know the key.
    #[error("{origin}: unknown Kafka client key `{key}`{hint}")]
    UnknownKey {
        /// Where the key was set: `file:line`, or the name of the map.
        origin: String,
        /// The key.
        key: String,
        /// The nearest known key or what to write instead, with its punctuation; may be empty.
        hint: String,
    },
    /// librdkafka does not take the value.
    #[error("{origin}: `{key}`: {reason}")]
    InvalidValue {
        /// Where the key was set.
        origin: String,
        /// The key.
        key: String,
        /// Why the value is refused.
        reason: String,
    },
    /// No broker is named.
    #[error("{origin}: `bootstrap.servers` is missing")]
    NoServers {
        /// Where it was looked for.
        origin: String,
    },
    /// The keys do not fit together.
    #[error("the Kafka client refused its settings ({origin}): {reason}")]
    Refused {
        /// Where the settings came from.
        origin: String,
        /// librdkafka's reason.
        reason: String,
    },
}

/// How to reach a Kafka cluster. Cloning is cheap enough to do per client.
///
/// `Debug` shows which keys are set, and values only of keys that are known to be harmless.
#[derive(Clone)]
pub struct ClientSettings {
    values: BTreeMap<String, Setting>,
    origin: String,
    connect_timeout: Duration,
    stop: Option<Arc<AtomicBool>>,
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
        let text = std::fs::read_to_string(&file)
            .map_err(|source| SettingsError::Unreadable { file: file.clone(), source })?;
        let entries = properties::parse(&text).map_err(|broken| SettingsError::Line {
            file: file.clone(),
            line: broken.line,
            reason: broken.reason,
        })?;
        let mut settings = Self::empty(file.display().to_string());
        for entry in entries {
            settings.insert(entry.key, entry.value, format!("{}:{}", file.display(), entry.line))?;
        }
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
        settings.check_servers()?;
        Ok(settings)
    }

    /// Settings that name brokers (`host:port`, several apart by commas) and nothing else.
    pub fn from_servers(servers: &str) -> Result<Self, SettingsError> {
        Self::from_map([("bootstrap.servers", servers)], "--bootstrap")
    }

    /// Sets one key, over what was read before. `origin` names its place in errors.
    pub fn with(mut self, key: &str, value: &str, origin: &str) -> Result<Self, SettingsError> {
        self.insert(key.to_owned(), value.to_owned(), origin.to_owned())?;
        Ok(self)
    }

    /// Sets how long to look for a broker before giving up.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Waiting for a broker ends early, as [`crate::ClientError::Stopped`], once `stop` is set.
    pub fn with_stop(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = Some(stop);
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
        self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// librdkafka's configuration: `defaults` give way to what a person set, `forced` do not.
    pub(crate) fn config(&self, defaults: &[(&str, &str)], forced: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (key, value) in defaults {
            config.set(*key, *value);
        }
        for (key, setting) in &self.values {
            config.set(key, &setting.value);
        }
        for (key, value) in forced {
            config.set(*key, *value);
        }
        // librdkafka's lines go to `tracing` at debug level; its state changes are reported by `link`.
        config.set_log_level(RDKafkaLogLevel::Info);
        config
    }

    fn empty(origin: String) -> Self {
        Self { values: BTreeMap::new(), origin, connect_timeout: DEFAULT_CONNECT_TIMEOUT, stop: None }
    }

    fn insert(&mut self, key: String, value: String, origin: String) -> Result<(), SettingsError> {
        if only_java_uses(&key) {
            tracing::debug!(key, origin, "this key configures Java's client only and is left out");
            return Ok(());
        }
        // Both spellings are one setting: the last one wins, as with any key that is set twice.
        let key = if key == "sasl.mechanism" { "sasl.mechanisms".to_owned() } else { key };
        check(&key, &value, &origin)?;
        self.values.insert(key, Setting { value, origin });
        Ok(())
    }

    pub(crate) fn check_servers(&self) -> Result<(), SettingsError> {
        if self.servers().is_empty() {
            return Err(SettingsError::NoServers { origin: self.origin.clone() });
        }
        Ok(())
    }

    /// Where `key` was set, for errors that librdkafka raises later.
    pub(crate) fn origin_of(&self, key: &str) -> &str {
        self.values.get(key).map_or(&self.origin, |setting| &setting.origin)
    }
}

fn expand_home(file: &Path) -> PathBuf {
    match (file.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => file.to_owned(),
    }
}

/// Asks librdkafka whether it knows the key and takes the value.
fn check(key: &str, value: &str, origin: &str) -> Result<(), SettingsError> {
    let unknown = || SettingsError::UnknownKey { origin: origin.to_owned(), key: key.to_owned(), hint: hint_for(key) };
    if JAVA_NAMES.iter().any(|(java, _)| *java == key) {
        return Err(unknown());
    }
    match ClientConfig::new().set(key, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => Err(unknown()),
        Err(error) => {
            // librdkafka's text repeats the value; it is passed on only where the value cannot be a secret.
            let reason = match error {
                KafkaError::ClientConfig(_, reason, ..) if !may_be_secret(key) => reason,
                _ => "librdkafka does not take this value".to_owned(),
            };
            Err(SettingsError::InvalidValue { origin: origin.to_owned(), key: key.to_owned(), reason })
        }
    }
}

fn may_be_secret(key: &str) -> bool {
    ["password", "secret", "token", "pem", "username", "oauthbearer", "key"].iter().any(|part| key.contains(part))
}

/// Keys of a properties file that serves Java programs too and that mean nothing to this client.
fn only_java_uses(key: &str) -> bool {
    matches!(key, "key.serializer" | "value.serializer" | "key.deserializer" | "value.deserializer")
        || key.starts_with("schema.registry.")
        || key.starts_with("basic.auth.")
}

/// Java's keys that have another name or form in librdkafka.
const JAVA_NAMES: [(&str, &str); 5] = [
    ("sasl.jaas.config", "set `sasl.username` and `sasl.password`"),
    ("ssl.truststore.location", "set `ssl.ca.location` to a PEM file"),
    ("ssl.truststore.password", "set `ssl.ca.location` to a PEM file"),
    ("ssl.truststore.type", "set `ssl.ca.location` to a PEM file"),
    ("max.poll.records", "it has no counterpart in librdkafka"),
];

const COMMON_KEYS: [&str; 34] = [
    "acks",
    "allow.auto.create.topics",
    "batch.size",
    "bootstrap.servers",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.type",
    "connections.max.idle.ms",
    "debug",
    "enable.idempotence",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.wait.max.ms",
    "group.id",
    "isolation.level",
    "linger.ms",
    "message.max.bytes",
    "message.timeout.ms",
    "queued.max.messages.kbytes",
    "receive.message.max.bytes",
    "sasl.mechanisms",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "session.timeout.ms",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
];

fn hint_for(key: &str) -> String {
    if let Some((_, instead)) = JAVA_NAMES.iter().find(|(java, _)| *java == key) {
        return format!("; {instead}");
    }
    let nearest = COMMON_KEYS.iter().map(|known| (distance(key, known), *known)).min();
    match nearest {
        Some((far, known)) if far <= 3 => format!("; did you mean `{known}`?"),
        _ => String::new(),
    }
}

/// Levenshtein distance: how many letters to change, add or leave out.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_cloud_properties_file_of_the_original_is_taken_as_it_is() {
        let file = file(
            "# Required connection configs\nbootstrap.servers=pkc-1.cloud:9092\nsecurity.protocol=SASL_SSL\n\
             sasl.mechanism=PLAIN\nsasl.username=user-1\nsasl.password=pa=ss:w rd\nschema.registry.url=http://r\n\
             value.deserializer=org.apache.kafka.X\n",
        );
        let settings = ClientSettings::from_properties(file.path()).unwrap();
        assert_eq!(settings.servers(), "pkc-1.cloud:9092");
        let config = settings.config(&[], &[]);
        assert_eq!(config.get("sasl.mechanisms"), Some("PLAIN"));
        assert_eq!(config.get("sasl.password"), Some("pa=ss:w rd"));
    }

    #[test]
    fn secrets_are_in_no_debug_text_and_in_no_error() {
        let settings = ClientSettings::from_map(
            [
                ("bootstrap.servers", "h:1"),
                ("sasl.username", "joe"),
                ("sasl.password", "hush-1"),
                ("ssl.key.pem", "hush-2"),
            ],
            "test",
        )
        .unwrap();
        let debug = format!("{settings:?} {settings:#?}");
        assert!(debug.contains("sasl.password") && debug.contains("h:1"));
        for secret in ["hush", "joe"] {
            assert!(!debug.contains(secret), "{debug}");
        }
        for key in ["sasl.pasword", "ssl.key.pasword", "nonsense", "sasl.oauthbearer.method"] {
            let error = ClientSettings::from_map([("bootstrap.servers", "h:1"), (key, "hush-3")], "test").unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_file_line_and_the_nearest_known_key() {
        let file = file("bootstrap.servers=h:1\nsasl.pasword=x\n");
        let error = ClientSettings::from_properties(file.path()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{}:2: unknown Kafka client key `sasl.pasword`; did you mean `sasl.password`?",
                file.path().display()
            )
        );
        let error = ClientSettings::from_map([("sasl.jaas.config", "x")], "[source] kafka").unwrap_err();
        assert_eq!(
            error.to_string(),
            "[source] kafka: unknown Kafka client key `sasl.jaas.config`; set `sasl.username` and `sasl.password`"
        );
    }

    #[test]
    fn a_broken_line_a_wrong_value_and_a_missing_broker_are_named() {
        let broken = file("bootstrap.servers=h:1\n\nacks\n");
        let error = ClientSettings::from_properties(broken.path()).unwrap_err().to_string();
        assert!(error.ends_with(":3: `acks` has no value; write `acks=value`"), "{error}");
        let wrong = ClientSettings::from_map([("bootstrap.servers", "h:1"), ("linger.ms", "soon")], "m").unwrap_err();
        assert!(wrong.to_string().starts_with("m: `linger.ms`: "), "{wrong}");
        let none = ClientSettings::from_map([("acks", "all")], "m").unwrap_err();
        assert_eq!(none.to_string(), "m: `bootstrap.servers` is missing");
        let later = file("acks=all\n");
        let settings = ClientSettings::from_properties(later.path()).unwrap();
        assert!(settings.check_servers().is_err());
        assert!(settings.with("bootstrap.servers", "h:1", "--bootstrap").unwrap().check_servers().is_ok());
        let absent = ClientSettings::from_properties("/nowhere/at.all").unwrap_err();
        assert!(absent.to_string().starts_with("/nowhere/at.all: cannot be read"), "{absent}");
    }
}
