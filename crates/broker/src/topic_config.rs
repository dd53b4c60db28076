//! A topic's settings under Kafka's names.
//!
//! Five can be set. Others that clients often name are fixed; naming the fixed value is not an error.

use kafka_protocol::ResponseError;

use crate::log::LogLimits;
use crate::request_error::RequestError;

pub(crate) const RETENTION_MS: &str = "retention.ms";
pub(crate) const RETENTION_BYTES: &str = "retention.bytes";
pub(crate) const SEGMENT_BYTES: &str = "segment.bytes";
pub(crate) const SEGMENT_MS: &str = "segment.ms";
pub(crate) const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// Settings that cannot be changed, with the value that describes what the broker does.
pub(crate) const FIXED: [(&str, &str); 6] = [
    ("cleanup.policy", "delete"),
    ("compression.type", "producer"),
    ("message.timestamp.type", "CreateTime"),
    ("min.insync.replicas", "1"),
    ("unclean.leader.election.enable", "false"),
    ("remote.storage.enable", "false"),
];

/// Smallest segment: each costs a file.
const MIN_SEGMENT_BYTES: i64 = 1 << 14;

/// What was set for one topic; everything else is the broker's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TopicConfig(Vec<(&'static str, i64)>);

impl TopicConfig {
    /// Sets `key` to `value`.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<(), RequestError> {
        let invalid = |message: String| RequestError::new(ResponseError::InvalidConfig, message);
        if let Some((_, fixed)) = FIXED.iter().find(|(name, _)| *name == key) {
            let refused = || invalid(format!("{key} is always {fixed} here"));
            return if value == *fixed { Ok(()) } else { Err(refused()) };
        }
        let (name, smallest) = match key {
            RETENTION_MS => (RETENTION_MS, -1),
            RETENTION_BYTES => (RETENTION_BYTES, -1),
            SEGMENT_BYTES => (SEGMENT_BYTES, MIN_SEGMENT_BYTES),
            SEGMENT_MS => (SEGMENT_MS, 1),
            MAX_MESSAGE_BYTES => (MAX_MESSAGE_BYTES, 1),
            _ => return Err(invalid(format!("the embedded broker has no topic setting {key}"))),
        };
        let number = value.trim().parse::<i64>().ok().filter(|number| *number >= smallest);
        let number = number.ok_or_else(|| invalid(format!("{key} is a number, {smallest} or more, not {value:?}")))?;
        self.unset(key);
        self.0.push((name, number));
        Ok(())
    }

    /// Restores the broker's default for `key`.
    pub(crate) fn unset(&mut self, key: &str) {
        self.0.retain(|(name, _)| *name != key);
    }

    pub(crate) fn get(&self, key: &str) -> Option<i64> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    /// What was set.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'static str, i64)> {
        self.0.iter().copied()
    }

    /// What applies: the topic's own settings, else `defaults`. A negative retention keeps everything.
    pub(crate) fn over(&self, defaults: &LogLimits) -> LogLimits {
        let kept = |key, default| self.get(key).map_or(default, |value| u64::try_from(value).ok());
        let number = |key, default: u64| self.get(key).map_or(default, i64::unsigned_abs);
        let max = number(MAX_MESSAGE_BYTES, u64::from(defaults.max_message_bytes));
        LogLimits {
            max_message_bytes: u32::try_from(max).unwrap_or(u32::MAX),
            segment_bytes: number(SEGMENT_BYTES, defaults.segment_bytes),
            segment_ms: kept(SEGMENT_MS, defaults.segment_ms),
            retention_ms: kept(RETENTION_MS, defaults.retention_ms),
            retention_bytes: kept(RETENTION_BYTES, defaults.retention_bytes),
        }
    }
}

/// `limits` under Kafka's names, as DescribeConfigs shows them.
pub(crate) fn config_entries(limits: &LogLimits) -> [(&'static str, i64); 5] {
    let kept = |value: Option<u64>| value.map_or(-1, |value| i64::try_from(value).unwrap_or(i64::MAX));
    [
        (MAX_MESSAGE_BYTES, i64::from(limits.max_message_bytes)),
        (RETENTION_BYTES, kept(limits.retention_bytes)),
        (RETENTION_MS, kept(limits.retention_ms)),
        (SEGMENT_BYTES, i64::try_from(limits.segment_bytes).unwrap_or(i64::MAX)),
        (SEGMENT_MS, limits.segment_ms.map_or(i64::MAX, |ms| ms as i64)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: LogLimits = LogLimits {
        max_message_bytes: 1_000,
        segment_bytes: 100_000,
        segment_ms: None,
        retention_ms: Some(5_000),
        retention_bytes: None,
    };

    #[test]
    fn a_topics_setting_overrides_the_default_and_minus_one_keeps_everything() {
        let mut config = TopicConfig::default();
        config.set(RETENTION_MS, "-1").unwrap();
        config.set(SEGMENT_BYTES, "20000").unwrap();
        config.set(SEGMENT_BYTES, "30000").unwrap();
        let limits = config.over(&DEFAULTS);
        assert_eq!((limits.retention_ms, limits.segment_bytes, limits.max_message_bytes), (None, 30_000, 1_000));
        config.unset(RETENTION_MS);
        assert_eq!(config.over(&DEFAULTS).retention_ms, Some(5_000));
    }

    #[test]
    fn an_unknown_setting_is_refused_and_a_fixed_value_is_accepted() {
        let mut config = TopicConfig::default();
        for (key, value) in
            [("cleanup.policy", "compact"), ("retention.ms", "soon"), ("segment.bytes", "1"), ("x", "1")]
        {
            assert_eq!(config.set(key, value).unwrap_err().code, ResponseError::InvalidConfig, "{key}");
        }
        config.set("cleanup.policy", "delete").unwrap();
        assert_eq!(config, TopicConfig::default());
    }
}
