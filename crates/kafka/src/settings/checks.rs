//! Whether settings fit together, before anything is sent.

use super::{ClientSettings, SettingsError, keys};

impl ClientSettings {
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
}
