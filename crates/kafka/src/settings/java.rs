//! Keys of Java's clients: those with another name or form in librdkafka, and those that do not apply to it.

use std::io::Read;
use std::path::Path;

use super::error::WrongValue;
use super::jaas;

/// What a key of Java's clients becomes.
pub(super) enum TranslatedKey {
    /// It is one of librdkafka's keys, or unknown.
    Same,
    /// These keys of librdkafka.
    Keys(Vec<(&'static str, String)>),
    /// Nothing: it only concerns a Java program.
    Ignored,
}

/// Translates one setting.
///
/// # Errors
/// Why it cannot be, and what to write instead; never with a value that may be secret.
pub(super) fn translate(key: &str, value: &str) -> Result<TranslatedKey, WrongValue> {
    let renamed = |key: &'static str| Ok(TranslatedKey::Keys(vec![(key, value.to_owned())]));
    match key {
        "sasl.mechanism" => renamed("sasl.mechanisms"),
        "fetch.max.wait.ms" => renamed("fetch.wait.max.ms"),
        "max.request.size" => renamed("message.max.bytes"),
        "ssl.truststore.certificates" => renamed("ssl.ca.pem"),
        "ssl.keystore.certificate.chain" => renamed("ssl.certificate.pem"),
        "ssl.keystore.key" => renamed("ssl.key.pem"),
        "sasl.jaas.config" => Ok(TranslatedKey::Keys(jaas::translate(value)?)),
        "ssl.truststore.location" => truststore(value),
        "ssl.keystore.location" => keystore(value),
        // Java switches the check of the host's name off with an empty value.
        "ssl.endpoint.identification.algorithm" if value.is_empty() => {
            Ok(TranslatedKey::Keys(vec![("ssl.endpoint.identification.algorithm", "none".to_owned())]))
        }
        "auto.offset.reset" if value == "none" => {
            Ok(TranslatedKey::Keys(vec![("auto.offset.reset", "error".to_owned())]))
        }
        "buffer.memory" => match value.parse::<u64>() {
            Ok(bytes) => {
                Ok(TranslatedKey::Keys(vec![("queue.buffering.max.kbytes", (bytes / 1024).max(1).to_string())]))
            }
            Err(_) => Err("it must be a number of bytes".into()),
        },
        // -1 leaves the size to the system, which librdkafka does by itself.
        "receive.buffer.bytes" | "send.buffer.bytes" if value == "-1" => Ok(TranslatedKey::Ignored),
        "receive.buffer.bytes" => renamed("socket.receive.buffer.bytes"),
        "send.buffer.bytes" => renamed("socket.send.buffer.bytes"),
        "partition.assignment.strategy" if value.contains('.') => Ok(assignors(value)),
        // The file's first bytes determine its format.
        "ssl.truststore.type" | "ssl.keystore.type" | "ssl.truststore.password" => Ok(TranslatedKey::Keys(Vec::new())),
        _ if is_only_javas(key) => Ok(TranslatedKey::Ignored),
        _ => Ok(TranslatedKey::Same),
    }
}

/// All of Java's keys that are known here, for suggestions.
pub(super) fn known_keys() -> impl Iterator<Item = &'static str> {
    TRANSLATED.into_iter().chain(IGNORED)
}

/// Those that [`translate`] handles.
const TRANSLATED: [&str; 14] = [
    "sasl.mechanism",
    "sasl.jaas.config",
    "fetch.max.wait.ms",
    "max.request.size",
    "buffer.memory",
    "receive.buffer.bytes",
    "send.buffer.bytes",
    "ssl.truststore.location",
    "ssl.truststore.type",
    "ssl.truststore.password",
    "ssl.truststore.certificates",
    "ssl.keystore.type",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
];

/// Source: the clients' configuration in Apache Kafka's documentation, without what librdkafka has too.
const IGNORED: [&str; 51] = [
    "auto.include.jmx.reporter",
    "config.providers",
    "default.api.timeout.ms",
    "exclude.internal.topics",
    "interceptor.classes",
    "key.deserializer",
    "key.serializer",
    "max.block.ms",
    "max.poll.records",
    "metadata.max.idle.ms",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "partitioner.adaptive.partitioning.enable",
    "partitioner.availability.timeout.ms",
    "partitioner.class",
    "partitioner.ignore.keys",
    "sasl.client.callback.handler.class",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "sasl.login.connect.timeout.ms",
    "sasl.login.read.timeout.ms",
    "sasl.login.refresh.buffer.seconds",
    "sasl.login.refresh.min.period.seconds",
    "sasl.login.refresh.window.factor",
    "sasl.login.refresh.window.jitter",
    "sasl.login.retry.backoff.max.ms",
    "sasl.login.retry.backoff.ms",
    "sasl.oauthbearer.clock.skew.seconds",
    "sasl.oauthbearer.expected.audience",
    "sasl.oauthbearer.expected.issuer",
    "sasl.oauthbearer.scope.claim.name",
    "sasl.oauthbearer.sub.claim.name",
    "security.providers",
    "socket.connection.setup.timeout.max.ms",
    "specific.avro.reader",
    "ssl.enabled.protocols",
    "ssl.engine.factory.class",
    "ssl.keymanager.algorithm",
    "ssl.protocol",
    "ssl.provider",
    "ssl.secure.random.implementation",
    "ssl.trustmanager.algorithm",
    "transaction.two.phase.commit.enable",
    // Nothing here is written in a transaction of Kafka: a flow's commits are its ledger's.
    "transactional.id",
    "use.latest.version",
    "auto.register.schemas",
    "enable.metrics.push.interval.ms",
    "value.deserializer",
    "value.serializer",
];

fn is_only_javas(key: &str) -> bool {
    IGNORED.contains(&key)
        || ["schema.registry.", "basic.auth.", "bearer.auth.", "confluent.", "key.subject.", "value.subject."]
            .iter()
            .any(|family| key.starts_with(family))
}

fn assignors(classes: &str) -> TranslatedKey {
    let known = classes.split(',').filter_map(|class| match class.trim().rsplit('.').next() {
        Some("RangeAssignor") => Some("range"),
        Some("RoundRobinAssignor") => Some("roundrobin"),
        Some("CooperativeStickyAssignor") => Some("cooperative-sticky"),
        _ => None,
    });
    let known: Vec<&str> = known.collect();
    if known.is_empty() {
        return TranslatedKey::Ignored;
    }
    TranslatedKey::Keys(vec![("partition.assignment.strategy", known.join(","))])
}

/// The format of a file of certificates or keys, by its first bytes. `type` is not reliable: Java reads PKCS#12 under
/// "JKS" too.
enum KeystoreFormat {
    Pem,
    Pkcs12,
    Jks,
}

fn keystore_format(file: &str) -> Result<KeystoreFormat, WrongValue> {
    let mut first = [0; 4];
    let read = std::fs::File::open(Path::new(file)).and_then(|mut open| open.read(&mut first));
    read.map_err(|error| WrongValue::unreadable(file, error))?;
    Ok(match first {
        [0xFE, 0xED, 0xFE, 0xED] | [0xCE, 0xCE, 0xCE, 0xCE] => KeystoreFormat::Jks,
        // DER's sign of a sequence: no text begins with it and a length of more than 127 bytes.
        [0x30, 0x80..=0xFF, ..] => KeystoreFormat::Pkcs12,
        _ => KeystoreFormat::Pem,
    })
}

fn truststore(file: &str) -> Result<TranslatedKey, WrongValue> {
    match keystore_format(file)? {
        KeystoreFormat::Pem => Ok(TranslatedKey::Keys(vec![("ssl.ca.location", file.to_owned())])),
        KeystoreFormat::Jks | KeystoreFormat::Pkcs12 => Err(format!(
            "{file} is a Java keystore; write its certificates as PEM with `keytool -list -rfc -keystore {file} > ca.pem`, \
             and set `ssl.ca.location=ca.pem`"
        )
        .into()),
    }
}

fn keystore(file: &str) -> Result<TranslatedKey, WrongValue> {
    match keystore_format(file)? {
        // Key and certificates stand in one file, and OpenSSL takes from it what it looks for.
        KeystoreFormat::Pem => Ok(TranslatedKey::Keys(vec![
            ("ssl.certificate.location", file.to_owned()),
            ("ssl.key.location", file.to_owned()),
        ])),
        KeystoreFormat::Pkcs12 => Ok(TranslatedKey::Keys(vec![("ssl.keystore.location", file.to_owned())])),
        KeystoreFormat::Jks => Err(format!(
            "{file} is in Java's own keystore format; convert it with `keytool -importkeystore -srckeystore {file} \
             -destkeystore keystore.p12 -deststoretype PKCS12`, and set `ssl.keystore.location=keystore.p12`"
        )
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use turnstile_values::human;

    use super::*;

    fn keys(key: &str, value: &str) -> Vec<(&'static str, String)> {
        match translate(key, value).unwrap() {
            TranslatedKey::Keys(keys) => keys,
            TranslatedKey::Same => panic!("{key} is taken as it is"),
            TranslatedKey::Ignored => panic!("{key} is ignored"),
        }
    }

    #[test]
    fn names_and_forms_of_java_become_librdkafkas() {
        assert_eq!(keys("fetch.max.wait.ms", "7"), [("fetch.wait.max.ms", "7".to_owned())]);
        assert_eq!(keys("buffer.memory", "33554432"), [("queue.buffering.max.kbytes", "32768".to_owned())]);
        assert_eq!(keys("ssl.endpoint.identification.algorithm", "")[0].1, "none");
        let sticky = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor, x.y.Custom";
        assert_eq!(keys("partition.assignment.strategy", sticky)[0].1, "cooperative-sticky");
        assert!(matches!(translate("value.deserializer", "x.Y"), Ok(TranslatedKey::Ignored)));
        assert!(matches!(translate("linger.ms", "5"), Ok(TranslatedKey::Same)));
    }

    #[test]
    fn a_store_s_first_bytes_decide_its_format_whatever_its_type() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path.display().to_string()
        };
        let reason = |key, file: &str| human::error(&translate(key, file).err().unwrap().at("test", key));
        let pem = file("store.pem", b"-----BEGIN PRIVATE KEY-----\n");
        let pkcs12 = file("store.p12", b"\x30\x82\x0a\x00rest");
        let jks = file("store.jks", b"\xFE\xED\xFE\xED\0\0\0\x02");

        assert_eq!(
            keys("ssl.keystore.location", &pem),
            [("ssl.certificate.location", pem.clone()), ("ssl.key.location", pem.clone())]
        );
        assert_eq!(keys("ssl.keystore.location", &pkcs12), [("ssl.keystore.location", pkcs12.clone())]);
        let refused = reason("ssl.keystore.location", &jks);
        assert!(refused.contains(&format!("keytool -importkeystore -srckeystore {jks}")), "{refused}");

        assert_eq!(keys("ssl.truststore.location", &pem), [("ssl.ca.location", pem.clone())]);
        for java in [&pkcs12, &jks] {
            let refused = reason("ssl.truststore.location", java);
            assert!(refused.contains(&format!("keytool -list -rfc -keystore {java}")), "{refused}");
        }
        let missing = reason("ssl.keystore.location", "/nowhere.p12");
        assert!(missing.ends_with("/nowhere.p12 cannot be read: No such file or directory (os error 2)"), "{missing}");
    }
}
