//! The steps of Kafka's protocol: login, offsets, one fetch, permissions.

use turnstile_message::{SourcePosition, TopicPartition};

use super::{DiagnosisError, MissingPermission};
use crate::connection::KafkaConnection;
use crate::error::ClientError;
use crate::settings::ClientSettings;

/// A client that a broker has let in.
pub struct AuthenticatedClient {
    /// The client.
    pub connection: KafkaConnection,
    /// The cluster's brokers, each as `host:port`, by number.
    pub brokers: Vec<(i32, String)>,
}

/// TLS and SASL, as far as the settings ask for them, up to the first answer of Kafka's protocol. Asked for one `topic`
/// alone the answer is small; the topic need not exist.
///
/// # Errors
/// `Unreachable` and `Auth` when no broker accepts this client.
pub fn authenticate(settings: &ClientSettings, topic: Option<&str>) -> Result<AuthenticatedClient, DiagnosisError> {
    let connection = KafkaConnection::open(settings)?;
    let brokers = connection.brokers(topic)?;
    Ok(AuthenticatedClient { connection, brokers })
}

/// The offsets that a partition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRange {
    /// The partition.
    pub partition: TopicPartition,
    /// First offset held.
    pub earliest: i64,
    /// Offset after the last one.
    pub latest: i64,
}

impl PartitionRange {
    /// How far the two are apart: the messages held, unless the topic is compacted or has transactions.
    pub fn len(&self) -> i64 {
        self.latest - self.earliest
    }

    /// Whether the partition holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What each partition holds, in the order asked.
///
/// # Errors
/// As for [`KafkaConnection::watermarks`].
pub fn partition_ranges(
    connection: &KafkaConnection,
    partitions: &[TopicPartition],
) -> Result<Vec<PartitionRange>, DiagnosisError> {
    let ranges = connection.watermarks(partitions)?;
    let range = |(partition, (earliest, latest))| PartitionRange { partition, earliest, latest };
    Ok(partitions.iter().cloned().zip(ranges).map(range).collect())
}

/// A fetch that the cluster allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchProbe {
    /// Where it was tried: the last message of the topic's fullest partition, or the end of an empty one.
    pub position: SourcePosition,
    /// Whether it brought a message.
    pub found: bool,
}

/// Fetches one message of each topic, or at the end of a partition that has none: the answer shows whether that is
/// allowed. Ranges of one topic stand together.
///
/// # Errors
/// As for [`KafkaConnection::fetch_at`].
pub fn fetch_each_topic(
    connection: &mut KafkaConnection,
    ranges: &[PartitionRange],
) -> Result<Vec<FetchProbe>, DiagnosisError> {
    let of_topics = ranges.chunk_by(|a, b| a.partition.topic == b.partition.topic);
    let fullest = of_topics.filter_map(|ranges| ranges.iter().max_by_key(|range| range.len()));
    fullest
        .map(|range| {
            let offset = (range.latest - 1).max(range.earliest);
            let position = SourcePosition { partition: range.partition.clone(), offset };
            let found = connection.fetch_at(&position)?.is_some();
            Ok(FetchProbe { position, found })
        })
        .collect()
}

/// What a cluster answers about a permission that it does not refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// It is given.
    Granted,
    /// The cluster does not report it.
    Unknown,
}

/// Whether offsets of the group may be committed. Nothing is committed.
///
/// # Errors
/// `GroupDenied` when they may not; the errors of [`KafkaConnection::may_use_group`].
pub fn check_group(connection: &KafkaConnection, group: &str) -> Result<Permission, DiagnosisError> {
    let denied = || DiagnosisError::GroupDenied { group: group.to_owned(), missing: MissingPermission("READ") };
    permission(connection.may_use_group(group), denied)
}

/// Whether the topic may be written. Nothing is written.
///
/// # Errors
/// `WriteDenied` when it may not; the errors of [`KafkaConnection::may_write`].
pub fn check_write(connection: &KafkaConnection, topic: &str) -> Result<Permission, DiagnosisError> {
    let denied = || DiagnosisError::WriteDenied { topic: topic.to_owned(), missing: MissingPermission("WRITE") };
    permission(connection.may_write(topic), denied)
}

fn permission(
    answer: Result<Option<bool>, ClientError>,
    denied: impl Fn() -> DiagnosisError,
) -> Result<Permission, DiagnosisError> {
    match answer? {
        Some(true) => Ok(Permission::Granted),
        Some(false) => Err(denied()),
        None => Ok(Permission::Unknown),
    }
}
