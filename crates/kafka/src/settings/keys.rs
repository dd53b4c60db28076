//! The keys of a client's settings: those of librdkafka, which of them are secret, and the name nearest to a wrong one.

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka_sys::RDKafkaConfRes;

use super::error::WrongValue;
use super::{SettingsError, java};

/// The login mechanisms of this build of librdkafka: it has no Kerberos.
pub(super) const MECHANISMS: [&str; 4] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"];

/// Asks librdkafka whether it knows the key and takes the value.
pub(super) fn check(key: &str, value: &str, origin: &str) -> Result<(), SettingsError> {
    let refused = |reason: &str| WrongValue::from(reason).at(origin, key);
    if key == "sasl.mechanisms" && !MECHANISMS.contains(&value) {
        return Err(refused(&format!("this client logs in with {}", MECHANISMS.join(", "))));
    }
    match ClientConfig::new().set(key, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => Err(SettingsError::UnknownKey {
            origin: origin.to_owned(),
            key: key.to_owned(),
            hint: nearest(key).map_or_else(String::new, |near| format!("; did you mean `{near}`?")),
        }),
        // librdkafka's text repeats the value; it is passed on only where the value cannot be a secret.
        Err(KafkaError::ClientConfig(_, reason, ..)) if !may_hold_a_secret(key) => Err(refused(&reason)),
        Err(_) => Err(refused("librdkafka does not accept this value")),
    }
}

/// The one name under which a key with several is kept, so that the later of two spellings wins.
pub(super) fn canonical(key: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == key).map_or(key, |(_, name)| name)
}

/// librdkafka's aliases, and the name that is kept here. `bootstrap.servers` is librdkafka's alias, not its name.
/// Source: every _RK_C_ALIAS of rdkafka_conf.c of librdkafka 2.12.1. The alias enable.auto.commit of the simple consumer's
/// auto.commit.enable is left out: for all other clients it is a separate key.
const ALIASES: [(&str, &str); 11] = [
    ("metadata.broker.list", "bootstrap.servers"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("sasl.mechanism", "sasl.mechanisms"),
    ("sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id"),
    ("sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.secret"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("linger.ms", "queue.buffering.max.ms"),
    ("retries", "message.send.max.retries"),
    ("compression.type", "compression.codec"),
    ("acks", "request.required.acks"),
    ("delivery.timeout.ms", "message.timeout.ms"),
];

/// Whether the key's value is a secret: not to be shown, nor to be given as an argument of a command.
pub fn is_secret(key: &str) -> bool {
    SECRETS.contains(&key)
}

/// Secret keys by librdkafka's names and Java's.
const SECRETS: [&str; 14] = [
    "sasl.password",
    "sasl.jaas.config",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.key",
    "ssl.keystore.password",
    "ssl.truststore.password",
    "basic.auth.user.info",
    "schema.registry.basic.auth.user.info",
];

/// The key whose value the file named by `key` holds: `sasl.password` of `sasl.password.file`.
pub(super) fn held_in_file(key: &str) -> Option<&str> {
    key.strip_suffix(".file").filter(|held| is_secret(held) || *held == "sasl.username")
}

/// Wider than [`is_secret`]: a key that is written wrong may hold a secret too.
fn may_hold_a_secret(key: &str) -> bool {
    ["password", "secret", "token", "pem", "username", "oauthbearer", "key", "jaas"]
        .iter()
        .any(|part| key.contains(part))
}

/// The known key within three letters of `key`.
fn nearest(key: &str) -> Option<&'static str> {
    let known = KNOWN.into_iter().chain(java::known_keys()).chain(SECRETS);
    known
        .map(|known| (turnstile_values::edit_distance(key, known), known))
        .min()
        .filter(|(far, _)| *far <= 3)
        .map(|(_, known)| known)
}

/// librdkafka's keys that a person may set.
/// Source: CONFIGURATION.md of librdkafka 2.12.1, without callbacks and what this build has not.
const KNOWN: [&str; 152] = [
    "acks",
    "allow.auto.create.topics",
    "api.version.fallback.ms",
    "api.version.request",
    "api.version.request.timeout.ms",
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "batch.num.messages",
    "batch.size",
    "bootstrap.servers",
    "broker.address.family",
    "broker.address.ttl",
    "broker.version.fallback",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.codec",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "consume.callback.max.messages",
    "coordinator.query.interval.ms",
    "debug",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.metrics.push",
    "enable.partition.eof",
    "enable.random.seed",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "enable.ssl.certificate.verification",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "https.ca.location",
    "https.ca.pem",
    "isolation.level",
    "linger.ms",
    "log.connection.close",
    "log.queue",
    "log.thread.name",
    "log_level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "message.copy.max.bytes",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.broker.list",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "offset.store.method",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "partition.assignment.strategy",
    "partitioner",
    "produce.offset.report",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "queuing.strategy",
    "receive.message.max.bytes",
    "reconnect.backoff.jitter.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.assertion.algorithm",
    "sasl.oauthbearer.assertion.claim.aud",
    "sasl.oauthbearer.assertion.claim.exp.seconds",
    "sasl.oauthbearer.assertion.claim.iss",
    "sasl.oauthbearer.assertion.claim.jti.include",
    "sasl.oauthbearer.assertion.claim.nbf.seconds",
    "sasl.oauthbearer.assertion.claim.sub",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.grant.type",
    "sasl.oauthbearer.metadata.authentication.type",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "session.timeout.ms",
    "socket.blocking.max.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.providers",
    "ssl.sigalgs.list",
    "statistics.interval.ms",
    "sticky.partitioning.linger.ms",
    "topic.blacklist",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.cnt",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
    "transaction.timeout.ms",
    "transactional.id",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn librdkafka_knows_every_key_that_may_be_suggested() {
        for key in KNOWN {
            let wrong = check(key, "", "test").err();
            assert!(!matches!(wrong, Some(SettingsError::UnknownKey { .. })), "{key}");
        }
    }

    #[test]
    fn librdkafka_takes_an_alias_and_its_name_for_the_same_key() {
        for (alias, name) in ALIASES {
            let value = match name {
                "bootstrap.servers" => "h:1",
                "sasl.mechanisms" => "PLAIN",
                "compression.codec" => "zstd",
                "request.required.acks" | "max.in.flight.requests.per.connection" => "1",
                _ => "1234",
            };
            let config = ClientConfig::new().set(alias, value).create_native_config().unwrap();
            assert_eq!(config.get(name).unwrap(), value, "{alias}");
            assert_eq!((canonical(alias), canonical(name)), (name, name));
        }
    }

    #[test]
    fn what_only_kerberos_needs_is_refused_with_what_there_is() {
        let error = check("sasl.mechanisms", "GSSAPI", "f:1").unwrap_err().to_string();
        assert_eq!(
            error,
            "f:1: `sasl.mechanisms`: this client logs in with PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER"
        );
    }

    #[test]
    fn a_secret_may_be_kept_in_a_file_and_other_values_may_not() {
        assert_eq!(held_in_file("sasl.password.file"), Some("sasl.password"));
        assert_eq!(held_in_file("sasl.username.file"), Some("sasl.username"));
        assert_eq!((held_in_file("client.id.file"), held_in_file("sasl.password")), (None, None));
    }
}
