//! Client settings: librdkafka's keys, where each came from, and how long to wait for a broker.
//!
//! In: a Java-style properties file, a pipeline's table, the environment; keys by librdkafka's names or Java's.
//! Out: librdkafka's keys and values, each with its place. Start at [`ClientSettings::insert`], which every key passes.

mod environment;
mod jaas;
mod java;
mod keys;
mod properties;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use tokio_util::sync::CancellationToken;

pub use keys::is_secret;

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
    /// librdkafka does not accept the value.
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
    /// A key is missing that another one needs.
    #[error("{origin}: `{key}` is missing: {reason}")]
    Missing {
        /// Where it was looked for.
        origin: String,
        /// The key.
        key: String,
        /// Why it is needed.
        reason: String,
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

    /// The settings in the environment: `TURNSTILE_KAFKA_SASL_PASSWORD` is `sasl.password`, and
    /// `TURNSTILE_KAFKA_SASL_PASSWORD_FILE` names the file that holds it. Empty when there are none.
    ///
    /// # Errors
    /// Names the variable whose key is unknown or whose value is not taken.
    pub fn from_environment() -> Result<Self, SettingsError> {
        environment::read(std::env::vars_os())
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
        let refused = |reason| SettingsError::InvalidValue { origin: origin.clone(), key: key.clone(), reason };
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

    /// Refuses what librdkafka would retry for ever, or report less clearly.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        self.check_servers()?;
        let value = |key: &str| self.values.get(key).map(|setting| setting.value.as_str());
        let protocol = value("security.protocol").unwrap_or_default().to_uppercase();
        if !protocol.starts_with("SASL") {
            return Ok(());
        }
        let missing = |key: &str, reason: String| SettingsError::Missing {
            origin: self.origin_of("security.protocol").to_owned(),
            key: key.to_owned(),
            reason,
        };
        let Some(mechanism) = value("sasl.mechanisms") else {
            let all = keys::MECHANISMS.join(", ");
            return Err(missing("sasl.mechanism", format!("security.protocol={protocol} needs one of {all}")));
        };
        let needed: &[&str] = match mechanism {
            "OAUTHBEARER" if value("enable.sasl.oauthbearer.unsecure.jwt") == Some("true") => &[],
            "OAUTHBEARER" if value("sasl.oauthbearer.method") == Some("oidc") => &[],
            "OAUTHBEARER" => {
                let reason = "sasl.mechanism=OAUTHBEARER needs it: `oidc`, with sasl.oauthbearer.token.endpoint.url";
                return Err(missing("sasl.oauthbearer.method", reason.to_owned()));
            }
            _ => &["sasl.username", "sasl.password"],
        };
        match needed.iter().find(|key| value(key).is_none_or(|value| value.is_empty() || value == "false")) {
            Some(key) => Err(missing(key, format!("sasl.mechanism={mechanism} needs it"))),
            None => Ok(()),
        }
    }

    /// A key that was set and contradicts idempotence, with its place; `None` where idempotence was set
    /// explicitly. Source: KafkaProducer's configuration in Apache Kafka's documentation, `enable.idempotence`.
    pub(crate) fn against_idempotence(&self) -> Option<(&'static str, &str)> {
        if self.values.contains_key("enable.idempotence") {
            return None;
        }
        let contradicts = |key: &'static str, named: &'static str, wrong: fn(&str) -> bool| {
            self.values.get(key).filter(|set| wrong(set.value.trim())).map(|set| (named, set.origin.as_str()))
        };
        contradicts("request.required.acks", "acks", |acks| !matches!(acks, "all" | "-1"))
            .or_else(|| contradicts("message.send.max.retries", "retries", |retries| retries == "0"))
            .or_else(|| {
                let key = "max.in.flight.requests.per.connection";
                contradicts(key, key, |most| most.parse::<u64>().is_ok_and(|most| most > 5))
            })
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
fn secret_in(file: &str) -> Result<String, String> {
    let path = expand_home(Path::new(file));
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{file} cannot be read: {error}"))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{file} is empty")),
        secret => Ok(secret.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    #[test]
    fn the_later_of_two_spellings_wins_over_defaults_too() {
        let set = |entries: &[(&str, &str)]| {
            let mut settings = ClientSettings::from_servers("h:1").unwrap();
            for (key, value) in entries {
                settings = settings.with(key, value, "test").unwrap();
            }
            settings
        };
        let value_of = |settings: &ClientSettings, key: &str| {
            let config = settings.config(&[("fetch.message.max.bytes", "7000"), ("linger.ms", "5")], &[]);
            config.create_native_config().unwrap().get(key).unwrap()
        };
        // A map without order would be right half of the time.
        for _ in 0..20 {
            let java = set(&[("max.partition.fetch.bytes", "9000"), ("queue.buffering.max.ms", "70")]);
            assert_eq!(value_of(&java, "fetch.message.max.bytes"), "9000");
            assert_eq!(value_of(&java, "linger.ms"), "70");
            let both = set(&[("fetch.message.max.bytes", "8000"), ("max.partition.fetch.bytes", "9000")]);
            assert_eq!(value_of(&both, "fetch.message.max.bytes"), "9000");
            assert_eq!(value_of(&set(&[("metadata.broker.list", "other:1")]), "bootstrap.servers"), "other:1");
        }
        assert_eq!(set(&[("metadata.broker.list", "other:1")]).servers(), "other:1");
    }

    #[test]
    fn keys_that_contradict_idempotence_are_reported_unless_it_is_set_explicitly() {
        let against = |entries: &[(&str, &str)]| {
            let entries = [("bootstrap.servers", "h:1")].into_iter().chain(entries.iter().copied());
            let settings = ClientSettings::from_map(entries, "test").unwrap();
            settings.against_idempotence().map(|(key, _)| key)
        };
        assert_eq!(against(&[("acks", "1")]), Some("acks"));
        assert_eq!(against(&[("retries", "0")]), Some("retries"));
        assert_eq!(against(&[("acks", "all"), ("retries", "5")]), None);
        assert_eq!(against(&[("acks", "1"), ("enable.idempotence", "false")]), None);
    }

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
        assert!(settings.check().is_err());
        assert!(settings.with("bootstrap.servers", "h:1", "--bootstrap").unwrap().check().is_ok());
        let absent = ClientSettings::from_properties("/nowhere/at.all").unwrap_err();
        assert!(absent.to_string().starts_with("/nowhere/at.all: cannot be read"), "{absent}");
    }

    #[test]
    fn a_java_client_s_file_is_translated_and_what_only_java_needs_is_listed() {
        let file = file(
            "bootstrap.servers=h:1\nsecurity.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n\
             sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n\
             \x20  username=\"joe\" \\\n  password=\"hush\";\n\
             ssl.endpoint.identification.algorithm=\nkey.deserializer=x.Y\nmax.poll.records=10\n",
        );
        let settings = ClientSettings::from_properties(file.path()).unwrap();
        settings.check().unwrap();
        let config = settings.config(&[], &[]);
        assert_eq!((config.get("sasl.username"), config.get("sasl.password")), (Some("joe"), Some("hush")));
        assert_eq!(config.get("ssl.endpoint.identification.algorithm"), Some("none"));
        assert_eq!(settings.ignored().collect::<Vec<_>>(), ["key.deserializer", "max.poll.records"]);
    }

    #[test]
    fn a_secret_is_taken_from_the_file_that_is_named() {
        let secret = file("hush\n");
        let text = format!("bootstrap.servers=h:1\nsasl.password.file={}\n", secret.path().display());
        let settings = ClientSettings::from_properties(file(&text).path()).unwrap();
        assert_eq!(settings.config(&[], &[]).get("sasl.password"), Some("hush"));
        let empty = file("\n");
        let text = format!("sasl.password.file={}\n", empty.path().display());
        let properties = file(&text);
        let error = ClientSettings::from_properties(properties.path()).unwrap_err().to_string();
        assert!(error.contains(":1: `sasl.password.file`: ") && error.ends_with(" is empty"), "{error}");
    }

    #[test]
    fn later_settings_win_and_keep_their_place() {
        let file = file("bootstrap.servers=h:1\nclient.id=file\ngroup.id=file\n");
        let environment =
            ClientSettings::from_map([("bootstrap.servers", "h:2"), ("client.id", "environment")], "the environment");
        let settings = ClientSettings::from_properties(file.path()).unwrap().over(environment.unwrap());
        let settings = settings.with("bootstrap.servers", "h:3", "--bootstrap").unwrap();
        assert_eq!(
            (settings.servers(), settings.shown("client.id"), settings.group()),
            ("h:3", Some("environment"), Some("file"))
        );
        assert_eq!(settings.origin_of("client.id"), "the environment");
    }

    #[test]
    fn a_login_that_lacks_something_is_refused_before_anything_is_sent() {
        let lacking = |entries: &[(&str, &str)]| {
            let entries = entries.iter().copied().chain([("bootstrap.servers", "h:1")]);
            ClientSettings::from_map(entries, "m").unwrap().check().unwrap_err().to_string()
        };
        let protocol = ("security.protocol", "sasl_ssl");
        assert_eq!(
            lacking(&[protocol]),
            "m: `sasl.mechanism` is missing: security.protocol=SASL_SSL needs one of PLAIN, SCRAM-SHA-256, \
             SCRAM-SHA-512, OAUTHBEARER"
        );
        assert_eq!(
            lacking(&[protocol, ("sasl.mechanism", "PLAIN"), ("sasl.username", "joe")]),
            "m: `sasl.password` is missing: sasl.mechanism=PLAIN needs it"
        );
        assert!(lacking(&[protocol, ("sasl.mechanism", "OAUTHBEARER")]).contains("oauthbearer.method` is missing"));
    }

    #[test]
    fn a_file_that_is_not_utf_8_is_read_as_java_reads_it() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"client.id=caf\xE9\n").unwrap();
        let settings = ClientSettings::from_properties(file.path()).unwrap();
        assert_eq!(settings.shown("client.id"), Some("caf\u{e9}"));
    }
}
