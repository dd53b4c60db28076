//! Errors, distinguished where a caller acts differently.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use turnstile_message::TopicPartition;
use turnstile_values::human;

use crate::advice::NO_TOKEN;
use crate::settings::SettingsError;

/// What can go wrong between this process and a broker.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The settings are wrong: fix them.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// No broker answered within the time given: start it, fix the address, or try again later.
    #[error("no Kafka broker at {servers} answered within {}", human::rough_duration(waited.as_micros() as i64))]
    Unreachable {
        /// The brokers tried.
        servers: String,
        /// How long.
        waited: Duration,
        /// librdkafka's last reason.
        #[source]
        reason: BrokerReason,
    },
    /// The broker refused this client's credentials or certificate, or this client the broker's: retrying cannot help.
    #[error("{}", refusal(servers, reason))]
    Auth {
        /// The brokers tried.
        servers: String,
        /// librdkafka's reason.
        #[source]
        reason: BrokerReason,
    },
    /// The topic does not exist.
    #[error("topic \"{topic}\" does not exist")]
    TopicMissing {
        /// The topic.
        topic: String,
    },
    /// This client may not do that with the topic; a cluster with ACLs answers so for a missing topic too.
    #[error("not permitted on topic \"{topic}\"")]
    TopicForbidden {
        /// The topic.
        topic: String,
        /// The broker's reason.
        #[source]
        reason: BrokerReason,
    },
    /// This client may not use the consumer group.
    #[error("not permitted on consumer group \"{group}\"")]
    GroupForbidden {
        /// The group.
        group: String,
        /// The broker's reason.
        #[source]
        reason: BrokerReason,
    },
    /// The topic already exists.
    #[error("topic \"{topic}\" already exists")]
    TopicExists {
        /// The topic.
        topic: String,
    },
    /// The topic has no such partition.
    #[error("topic \"{}\" has no partition {}", partition.topic, partition.partition)]
    PartitionMissing {
        /// The partition.
        partition: TopicPartition,
    },
    /// The caller stopped this while it waited.
    #[error("stopped while waiting for the Kafka broker")]
    Stopped,
    /// Anything else a broker or librdkafka answered.
    #[error("cannot {action}")]
    Failed {
        /// What was tried, on what.
        action: String,
        /// Why it failed.
        #[source]
        reason: BrokerReason,
    },
}

fn refusal(servers: &str, reason: &BrokerReason) -> String {
    if reason.to_string().contains(NO_TOKEN) {
        return format!("no token was issued to log in to the Kafka broker at {servers}");
    }
    format!("the connection to the Kafka broker at {servers} was rejected")
}

/// Why something failed, in the words of a broker, of librdkafka or of this crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerReason {
    /// A broker's or librdkafka's error code.
    Code(RDKafkaErrorCode),
    /// librdkafka's error.
    Client(KafkaError),
    /// librdkafka's text where it gives no code, or this crate's.
    Text(String),
}

impl std::fmt::Display for BrokerReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => f.write_str(&describe_code(*code)),
            Self::Client(error) => error.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for BrokerReason {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Client(error) => error.source(),
            Self::Code(_) | Self::Text(_) => None,
        }
    }
}

impl From<RDKafkaErrorCode> for BrokerReason {
    fn from(code: RDKafkaErrorCode) -> Self {
        Self::Code(code)
    }
}

impl From<KafkaError> for BrokerReason {
    fn from(error: KafkaError) -> Self {
        Self::Client(error)
    }
}

impl From<String> for BrokerReason {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for BrokerReason {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Why a reader cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The partition does not hold the position: records were deleted, or the topic was recreated.
    #[error("{partition} does not hold offset {position}: {}", range(*earliest, *latest))]
    OffsetOutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The offset that was to be read next.
        position: i64,
        /// First offset that the partition holds; -1 when the broker did not say.
        earliest: i64,
        /// Offset after the last one; -1 when the broker did not say.
        latest: i64,
    },
    /// The client or the topic.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A partition cannot be read further.
    #[error("{partition} cannot be read at offset {position}")]
    Fatal {
        /// The partition.
        partition: TopicPartition,
        /// The offset that was to be read next; -1 when unknown.
        position: i64,
        /// librdkafka's reason.
        #[source]
        reason: BrokerReason,
    },
}

fn range(earliest: i64, latest: i64) -> String {
    match (earliest, latest) {
        (-1, _) | (_, -1) => "its range is not known".to_owned(),
        (earliest, latest) if earliest == latest => format!("it is empty, the next offset is {latest}"),
        (earliest, latest) => format!("it holds {earliest}..={}", latest - 1),
    }
}

/// An error code in words. Its `Display` is `Name (Broker: words)`.
pub(crate) fn describe_code(code: RDKafkaErrorCode) -> String {
    let text = code.to_string();
    match text.split_once(" (") {
        Some((_, words)) => {
            words.trim_end_matches(')').trim_start_matches("Broker: ").trim_start_matches("Local: ").to_owned()
        }
        None => text,
    }
}

/// What an error code means for this topic; `None` for codes that do not concern the topic.
pub(crate) fn topic_error(code: RDKafkaErrorCode, topic: &str) -> Option<ClientError> {
    use RDKafkaErrorCode as Code;
    let topic = topic.to_owned();
    match code {
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicId => {
            Some(ClientError::TopicMissing { topic })
        }
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            Some(ClientError::TopicForbidden { topic, reason: code.into() })
        }
        Code::TopicAlreadyExists => Some(ClientError::TopicExists { topic }),
        Code::InvalidTopic => Some(ClientError::Failed {
            action: format!("use topic \"{topic}\""),
            reason: "the name may contain letters, digits, `.`, `_` and `-`, at most 249".into(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_out_of_range_says_what_the_partition_holds() {
        let at = |earliest, latest| {
            ReadError::OffsetOutOfRange { partition: TopicPartition::new("t", 3), position: 7, earliest, latest }
                .to_string()
        };
        assert_eq!(describe_code(RDKafkaErrorCode::TopicAuthorizationFailed), "Topic authorization failed");
        assert_eq!(at(50, 90), "t[3] does not hold offset 7: it holds 50..=89");
        assert_eq!(at(5, 5), "t[3] does not hold offset 7: it is empty, the next offset is 5");
        assert_eq!(at(-1, -1), "t[3] does not hold offset 7: its range is not known");
    }
}
