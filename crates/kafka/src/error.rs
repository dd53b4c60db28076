//! Errors, distinguished where a caller acts differently.

use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use turnstile_message::TopicPartition;

use crate::advice::NO_TOKEN;
use crate::settings::SettingsError;

/// What can go wrong between this process and a broker.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The settings are wrong: fix them.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// No broker answered within the time given: start it, fix the address, or try again later.
    #[error("no Kafka broker at {servers} answered within {}: {reason}", seconds(*waited))]
    Unreachable {
        /// The brokers tried.
        servers: String,
        /// How long.
        waited: Duration,
        /// librdkafka's last reason.
        reason: String,
    },
    /// The broker refused this client's credentials or certificate, or this client the broker's: retrying cannot help.
    #[error("{}: {reason}", refusal(servers, reason))]
    Auth {
        /// The brokers tried.
        servers: String,
        /// librdkafka's reason.
        reason: String,
    },
    /// The topic does not exist.
    #[error("topic \"{topic}\" does not exist")]
    TopicMissing {
        /// The topic.
        topic: String,
    },
    /// This client may not do that with the topic; a cluster with ACLs answers so for a missing topic too.
    #[error("not permitted on topic \"{topic}\": {reason}")]
    TopicForbidden {
        /// The topic.
        topic: String,
        /// The broker's reason.
        reason: String,
    },
    /// This client may not use the consumer group.
    #[error("not permitted on consumer group \"{group}\": {reason}")]
    GroupForbidden {
        /// The group.
        group: String,
        /// The broker's reason.
        reason: String,
    },
    /// The topic exists already.
    #[error("topic \"{topic}\" exists already")]
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
    #[error("{action}: {reason}")]
    Failed {
        /// What was tried, on what.
        action: String,
        /// Why it failed.
        reason: String,
    },
}

fn refusal(servers: &str, reason: &str) -> String {
    if reason.contains(NO_TOKEN) {
        return format!("no token was issued to log in to the Kafka broker at {servers}");
    }
    format!("the Kafka broker at {servers} and this client do not accept each other")
}

impl ClientError {
    /// The error as a fact and its cause, for whoever shows them apart.
    pub fn fact_and_cause(&self) -> (String, Option<String>) {
        match self {
            Self::Unreachable { servers, waited, reason } => {
                let fact = format!("no Kafka broker at {servers} answered within {}", seconds(*waited));
                (fact, Some(reason.clone()))
            }
            Self::Auth { servers, reason } => (refusal(servers, reason), Some(reason.clone())),
            Self::TopicForbidden { topic, reason } => {
                (format!("not permitted on topic \"{topic}\""), Some(reason.clone()))
            }
            Self::GroupForbidden { group, reason } => {
                (format!("not permitted on consumer group \"{group}\""), Some(reason.clone()))
            }
            other => (other.to_string(), None),
        }
    }
}

/// Why a reader cannot go on.
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
    #[error("{partition} cannot be read at offset {position}: {reason}")]
    Fatal {
        /// The partition.
        partition: TopicPartition,
        /// The offset that was to be read next; -1 when unknown.
        position: i64,
        /// librdkafka's reason.
        reason: String,
    },
}

fn range(earliest: i64, latest: i64) -> String {
    match (earliest, latest) {
        (-1, _) | (_, -1) => "its range is not known".to_owned(),
        (earliest, latest) if earliest == latest => format!("it is empty, the next offset is {latest}"),
        (earliest, latest) => format!("it holds {earliest}..={}", latest - 1),
    }
}

pub(crate) fn seconds(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{} s", duration.as_secs()),
        _ => format!("{:.1} s", duration.as_secs_f64()),
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
            Some(ClientError::TopicForbidden { topic, reason: describe_code(code) })
        }
        Code::TopicAlreadyExists => Some(ClientError::TopicExists { topic }),
        Code::InvalidTopic => Some(ClientError::Failed {
            action: format!("topic \"{topic}\""),
            reason: "the name may hold letters, digits, `.`, `_` and `-`, at most 249".to_owned(),
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
