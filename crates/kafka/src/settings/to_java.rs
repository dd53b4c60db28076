//! The same settings for a Java consumer, as Spark's Kafka source has one: the way back from `java`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::{ClientSettings, SettingsError};

/// Settings by the names of Apache Kafka's consumer for Java. They hold secrets: `Debug` shows only the keys.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct JavaSettings {
    /// Keys and values.
    pub pairs: BTreeMap<String, String>,
    /// Keys of librdkafka that a Java client has not.
    pub ignored: Vec<String>,
}

impl fmt::Debug for JavaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.pairs.keys().collect();
        f.debug_struct("JavaSettings").field("pairs", &keys).field("ignored", &self.ignored).finish()
    }
}

/// Keys that mean the same to both.
/// Source: CONFIGURATION.md of librdkafka, and the consumer's configuration in Apache Kafka's documentation.
const SAME: [&str; 21] = [
    "bootstrap.servers",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "connections.max.idle.ms",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "isolation.level",
    "metadata.max.age.ms",
    "metadata.recovery.strategy",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.oauthbearer.assertion.algorithm",
    "sasl.oauthbearer.token.endpoint.url",
    "security.protocol",
    "socket.connection.setup.timeout.ms",
    "ssl.cipher.suites",
    "ssl.key.password",
];

/// Keys with another name.
const RENAMED: [(&str, &str); 6] = [
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("fetch.wait.max.ms", "fetch.max.wait.ms"),
    ("sasl.mechanisms", "sasl.mechanism"),
    ("socket.receive.buffer.bytes", "receive.buffer.bytes"),
    ("socket.send.buffer.bytes", "send.buffer.bytes"),
    ("socket.timeout.ms", "request.timeout.ms"),
];

/// Keys of consumer groups: a reader whose positions another program keeps has none.
const OF_GROUPS: [&str; 4] = ["auto.offset.reset", "enable.auto.commit", "enable.auto.offset.store", "group.id"];

impl ClientSettings {
    /// The settings for a Java consumer on another machine: certificates and keys are in the values, not in files.
    ///
    /// # Errors
    /// A file of a certificate or a key that cannot be read; a form of one that only librdkafka reads. Never with a value.
    pub fn for_java(&self) -> Result<JavaSettings, SettingsError> {
        let mut java = JavaSettings::default();
        let get = |key: &str| self.values.get(key).map(|setting| setting.value.as_str());
        for (key, value) in self.pairs() {
            if SAME.contains(&key) {
                java.pairs.insert(key.to_owned(), value.to_owned());
            } else if let Some((_, name)) = RENAMED.iter().find(|(known, _)| *known == key) {
                java.pairs.insert((*name).to_owned(), value.to_owned());
            } else if key == "ssl.endpoint.identification.algorithm" {
                let value = if value == "none" { "" } else { value };
                java.pairs.insert(key.to_owned(), value.to_owned());
            } else if !key.starts_with("sasl.") && !key.starts_with("ssl.") && !OF_GROUPS.contains(&key) {
                java.ignored.push(key.to_owned());
            }
        }
        if let Some(login) = self.login() {
            java.pairs.insert("sasl.jaas.config".to_owned(), login);
        }
        if get("sasl.oauthbearer.method") == Some("oidc") {
            let handler = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler";
            java.pairs.insert("sasl.login.callback.handler.class".to_owned(), handler.to_owned());
        }
        let authorities = self.pem("ssl.ca.pem", "ssl.ca.location")?;
        if let Some(authorities) = authorities {
            java.pairs.insert("ssl.truststore.type".to_owned(), "PEM".to_owned());
            java.pairs.insert("ssl.truststore.certificates".to_owned(), authorities);
        }
        let chain = self.pem("ssl.certificate.pem", "ssl.certificate.location")?;
        let key = self.pem("ssl.key.pem", "ssl.key.location")?;
        if let (Some(chain), Some(key)) = (chain, key) {
            java.pairs.insert("ssl.keystore.type".to_owned(), "PEM".to_owned());
            java.pairs.insert("ssl.keystore.certificate.chain".to_owned(), chain);
            java.pairs.insert("ssl.keystore.key".to_owned(), key);
        } else if get("ssl.keystore.location").is_some() {
            let reason = "a PKCS#12 keystore cannot be sent to another machine; convert it to PEM with openssl pkcs12";
            return Err(
                super::WrongValue::from(reason).at(self.origin_of("ssl.keystore.location"), "ssl.keystore.location")
            );
        }
        Ok(java)
    }

    /// The login line of the mechanism, if there is one.
    fn login(&self) -> Option<String> {
        let get = |key: &str| self.values.get(key).map(|setting| setting.value.as_str());
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let package = "org.apache.kafka.common.security";
        match get("sasl.mechanisms")? {
            "OAUTHBEARER" => {
                let module = format!("{package}.oauthbearer.OAuthBearerLoginModule required");
                if get("enable.sasl.oauthbearer.unsecure.jwt") == Some("true") {
                    let principal = get("sasl.oauthbearer.config").unwrap_or_default().split_whitespace();
                    let principal = principal.into_iter().find_map(|word| word.strip_prefix("principal="))?;
                    return Some(format!("{module} unsecuredLoginStringClaim_sub={};", quoted(principal)));
                }
                let options = [("clientId", "client.id"), ("clientSecret", "client.secret"), ("scope", "scope")];
                let options = options.iter().filter_map(|(name, key)| {
                    Some(format!(" {name}={}", quoted(get(&format!("sasl.oauthbearer.{key}"))?)))
                });
                Some(format!("{module}{};", options.collect::<String>()))
            }
            mechanism => {
                let module = if mechanism == "PLAIN" { "plain.PlainLoginModule" } else { "scram.ScramLoginModule" };
                let (user, password) = (get("sasl.username")?, get("sasl.password")?);
                Some(format!("{package}.{module} required username={} password={};", quoted(user), quoted(password)))
            }
        }
    }

    /// PEM text from a key, or from the file that another key names.
    fn pem(&self, text: &str, file: &str) -> Result<Option<String>, SettingsError> {
        if let Some(setting) = self.values.get(text) {
            return Ok(Some(setting.value.clone()));
        }
        let Some(setting) = self.values.get(file) else { return Ok(None) };
        let path = Path::new(&setting.value);
        std::fs::read_to_string(path)
            .map(Some)
            .map_err(|source| SettingsError::Unreadable { file: path.to_path_buf(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn java(pairs: &[(&str, &str)]) -> JavaSettings {
        let all = [("bootstrap.servers", "broker:9092")].iter().chain(pairs).copied();
        ClientSettings::from_map(all, "a test").unwrap().for_java().unwrap()
    }

    #[test]
    fn a_login_with_a_password_is_a_line_of_java() {
        let java = java(&[
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "reader"),
            ("sasl.password", "a\"b\\c"),
        ]);
        assert_eq!(
            java.pairs["sasl.jaas.config"],
            r#"org.apache.kafka.common.security.scram.ScramLoginModule required username="reader" password="a\"b\\c";"#
        );
        assert_eq!(java.pairs["sasl.mechanism"], "SCRAM-SHA-512");
        assert!(!format!("{java:?}").contains("a\\\"b"));
    }

    #[test]
    fn what_was_translated_from_java_is_translated_back() {
        let line = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"p\";";
        let java = java(&[("sasl.mechanism", "PLAIN"), ("sasl.jaas.config", line), ("fetch.max.wait.ms", "50")]);
        assert_eq!((java.pairs["sasl.jaas.config"].as_str(), java.pairs["fetch.max.wait.ms"].as_str()), (line, "50"));
        assert!(!java.pairs.contains_key("sasl.username") && java.ignored.is_empty());
    }

    #[test]
    fn certificates_are_sent_instead_of_their_paths() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\n").unwrap();
        let java = java(&[("security.protocol", "SSL"), ("ssl.ca.location", file.to_str().unwrap())]);
        assert_eq!(java.pairs["ssl.truststore.type"], "PEM");
        assert!(java.pairs["ssl.truststore.certificates"].starts_with("-----BEGIN"));
        assert!(!java.pairs.values().any(|value| value.contains("ca.pem")));
    }

    #[test]
    fn every_key_of_the_tables_is_one_of_librdkafka() {
        let renamed = RENAMED.iter().map(|(key, _)| key);
        for key in SAME.iter().chain(renamed).chain(&OF_GROUPS) {
            // The value fits hardly any key: only what is unknown is refused for its name.
            let known = super::super::keys::check(key, "?", "a test");
            assert!(!matches!(known, Err(SettingsError::UnknownKey { .. })), "{key}");
        }
    }

    #[test]
    fn what_only_librdkafka_knows_is_named() {
        let java = java(&[("queued.min.messages", "1000"), ("group.id", "g"), ("fetch.message.max.bytes", "7000")]);
        assert_eq!(
            (java.ignored, java.pairs["max.partition.fetch.bytes"].as_str()),
            (vec!["queued.min.messages".to_owned()], "7000")
        );
    }
}
