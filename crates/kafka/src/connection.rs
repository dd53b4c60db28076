//! Questions to a cluster: partitions, watermarks, single records, group offsets.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use message::{SourcePosition, TopicPartition};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::metadata::Metadata;
use rdkafka::{Offset, TopicPartitionList};

use crate::error::{ClientError, told, topic_error};
use crate::link::{Link, LinkContext, LinkState};
use crate::settings::{ClientSettings, SettingsError};

/// Consumer group when the settings name none. librdkafka needs one to assign partitions, even when it never commits.
const DEFAULT_GROUP: &str = "turnstile";

/// Longest single wait within librdkafka: how late a stop flag or a refusal is noticed.
const WAIT_SLICE: Duration = Duration::from_millis(500);

/// librdkafka's longest pause between two attempts to connect. Its own 10 s would keep a person waiting for a broker
/// that is back already.
const RECONNECT_MAX_MS: &str = "2000";

/// A client that asks and does not read a stream. Nothing is sent before the first question.
///
/// Every question waits for a broker up to the settings' `connect_timeout`.
pub struct Connection {
    consumer: Arc<BaseConsumer<LinkContext>>,
    link: Arc<Link>,
    settings: ClientSettings,
}

/// One record with its payloads; null and empty payloads are different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRecord {
    /// Where it stands.
    pub position: SourcePosition,
    /// Milliseconds since the epoch, -1 when it has none.
    pub timestamp_ms: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
}

impl Connection {
    /// A client with these settings; does no I/O.
    ///
    /// # Errors
    /// `Settings` when librdkafka does not take the settings together.
    pub fn open(settings: &ClientSettings) -> Result<Self, ClientError> {
        // A question fetches one record at most, so a small fetch is enough; a larger record still comes whole.
        Self::with(settings, &[("fetch.message.max.bytes", "65536")], &[("enable.partition.eof", "true")])
    }

    pub(crate) fn with(
        settings: &ClientSettings,
        defaults: &[(&str, &str)],
        forced: &[(&str, &str)],
    ) -> Result<Self, ClientError> {
        settings.check_servers().map_err(ClientError::Settings)?;
        let defaults =
            [&[("group.id", DEFAULT_GROUP), ("reconnect.backoff.max.ms", RECONNECT_MAX_MS)], defaults].concat();
        // Positions belong to the caller: nothing is committed, stored or reset behind its back.
        let forced = [
            &[
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "error"),
                ("allow.auto.create.topics", "false"),
            ],
            forced,
        ]
        .concat();
        let link = Arc::new(Link::new(settings.servers()));
        let config = settings.config(&defaults, &forced);
        let consumer = BaseConsumer::from_config_and_context(&config, LinkContext(link.clone()))
            .map_err(|error| refused(settings, &error))?;
        Ok(Self { consumer: Arc::new(consumer), link, settings: settings.clone() })
    }

    pub(crate) fn consumer(&self) -> &Arc<BaseConsumer<LinkContext>> {
        &self.consumer
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Whether brokers can be reached, as far as this client has noticed.
    pub fn state(&self) -> LinkState {
        serve(&self.consumer);
        self.link.state()
    }

    /// The settings this was opened with.
    pub fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    /// The topic's partitions, ascending.
    ///
    /// # Errors
    /// `TopicMissing` or `TopicForbidden`; `Unreachable` and `Auth` when no broker takes this client.
    pub fn topic_partitions(&self, topic: &str) -> Result<Vec<i32>, ClientError> {
        let started = Instant::now();
        loop {
            let metadata = self.metadata(Some(topic))?;
            let found = metadata.topics().iter().find(|t| t.name() == topic);
            let error = found.and_then(|t| t.error()).map(RDKafkaErrorCode::from);
            match (found, error) {
                (Some(found), None) if !found.partitions().is_empty() => {
                    let mut partitions: Vec<i32> = found.partitions().iter().map(|p| p.id()).collect();
                    partitions.sort_unstable();
                    return Ok(partitions);
                }
                // A topic that was just created has no leaders for a moment.
                (_, None | Some(RDKafkaErrorCode::LeaderNotAvailable))
                    if started.elapsed() < Duration::from_secs(5) =>
                {
                    std::thread::sleep(Duration::from_millis(50));
                }
                (_, None) => return Err(ClientError::TopicMissing { topic: topic.to_owned() }),
                (_, Some(code)) => {
                    return Err(
                        topic_error(code, topic).unwrap_or_else(|| failed(format!("topic \"{topic}\""), &told(code)))
                    );
                }
            }
        }
    }

    /// Low and high watermark of each partition, in the order asked: the first offset held and the one after the last.
    ///
    /// For a client that reads committed records only (the default) the high watermark ends before open transactions.
    ///
    /// # Errors
    /// `TopicMissing`, `TopicForbidden`, `PartitionMissing`, or that no broker answers.
    pub fn watermarks(&self, partitions: &[TopicPartition]) -> Result<Vec<(i64, i64)>, ClientError> {
        partitions.iter().map(|partition| self.watermark(partition)).collect()
    }

    fn watermark(&self, partition: &TopicPartition) -> Result<(i64, i64), ClientError> {
        let topic = &*partition.topic;
        self.patiently(
            |wait| self.consumer.fetch_watermarks(topic, partition.partition, wait),
            |code| match topic_error(code, topic) {
                // librdkafka answers alike for a missing topic and a missing partition; the topic itself tells.
                Some(ClientError::TopicMissing { .. }) => match self.topic_partitions(topic) {
                    Ok(_) => ClientError::PartitionMissing { partition: partition.clone() },
                    Err(error) => error,
                },
                Some(error) => error,
                None => failed(format!("watermarks of {partition}"), &told(code)),
            },
        )
    }

    /// Reads the record at exactly this position: `None` when the partition holds none there (deleted, compacted away,
    /// a transaction's marker, or not yet written).
    ///
    /// # Errors
    /// As for [`Connection::watermarks`].
    pub fn read_one(&mut self, position: &SourcePosition) -> Result<Option<ReadRecord>, ClientError> {
        let partition = &position.partition;
        let (low, high) = self.watermark(partition)?;
        if !(low..high).contains(&position.offset) {
            return Ok(None);
        }
        let assignment = assignment(&[(partition.clone(), position.offset)])?;
        self.consumer.assign(&assignment).map_err(|e| failed(format!("assign {partition}"), &e))?;
        let record = self.first_record_at(position);
        self.consumer.unassign().map_err(|e| failed(format!("unassign {partition}"), &e))?;
        record
    }

    fn first_record_at(&self, position: &SourcePosition) -> Result<Option<ReadRecord>, ClientError> {
        let started = Instant::now();
        while started.elapsed() < self.settings.connect_timeout() {
            if self.settings.stopped() {
                return Err(ClientError::Stopped);
            }
            match self.consumer.poll(WAIT_SLICE) {
                Some(Ok(record)) if record.offset() == position.offset => {
                    return Ok(Some(ReadRecord {
                        position: position.clone(),
                        timestamp_ms: record.timestamp().to_millis().unwrap_or(-1),
                        key: record.key().map(<[u8]>::to_vec),
                        value: record.payload().map(<[u8]>::to_vec),
                    }));
                }
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Ok(None),
                Some(Err(error)) => match error.rdkafka_error_code() {
                    // Deleted between the question for the watermarks and the read.
                    Some(RDKafkaErrorCode::AutoOffsetReset) => return Ok(None),
                    Some(code) => {
                        if let Some(error) = topic_error(code, &position.partition.topic) {
                            return Err(error);
                        }
                    }
                    None => {}
                },
                None => {}
            }
            self.check_refusal()?;
        }
        Err(self.unreachable(started.elapsed()))
    }

    /// The group's committed offsets: per partition asked, the next offset to read, or `None` where none is committed.
    ///
    /// # Errors
    /// That no broker answers, or the group is forbidden.
    pub fn group_offsets(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<i64>>, ClientError> {
        let asked: Vec<_> = partitions.iter().map(|p| (p.clone(), 0)).collect();
        let answered = self.patiently(
            |wait| {
                let list = assignment(&asked).map_err(|e| KafkaError::ClientCreation(e.to_string()))?;
                self.consumer.committed_offsets(list, wait)
            },
            |code| failed("committed group offsets".to_owned(), &told(code)),
        )?;
        Ok(partitions
            .iter()
            .map(|p| match answered.find_partition(&p.topic, p.partition).map(|found| found.offset()) {
                Some(Offset::Offset(next)) => Some(next),
                _ => None,
            })
            .collect())
    }

    /// Commits the group's offsets (per partition the next one to read) for tools that show lag. It returns before the
    /// broker answers, and a refusal is logged at debug level: nothing here ever starts from these offsets by itself.
    ///
    /// # Errors
    /// When librdkafka cannot queue the commit.
    pub fn commit_group_offsets(&self, next_offsets: &[(TopicPartition, i64)]) -> Result<(), ClientError> {
        let list = assignment(next_offsets)?;
        match self.consumer.commit(&list, CommitMode::Async) {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => Ok(()),
            Err(error) => Err(failed("commit group offsets".to_owned(), &error)),
        }
    }

    /// Metadata of one topic or of all, as soon as a broker answers.
    pub(crate) fn metadata(&self, topic: Option<&str>) -> Result<Metadata, ClientError> {
        self.patiently(
            |wait| self.consumer.fetch_metadata(topic, wait),
            |code| failed("cluster metadata".to_owned(), &told(code)),
        )
    }

    /// Asks until a broker answers, the time is up, the client is refused or told to stop. librdkafka itself pauses
    /// longer and longer between attempts to connect.
    fn patiently<T>(
        &self,
        ask: impl Fn(Duration) -> Result<T, KafkaError>,
        otherwise: impl Fn(RDKafkaErrorCode) -> ClientError,
    ) -> Result<T, ClientError> {
        use RDKafkaErrorCode as Code;
        let started = Instant::now();
        loop {
            let left = self.settings.connect_timeout().saturating_sub(started.elapsed());
            let error = match ask(left.clamp(Duration::from_millis(10), WAIT_SLICE)) {
                Ok(answer) => {
                    self.link.up();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            serve(&self.consumer);
            self.check_refusal()?;
            match error.rdkafka_error_code() {
                Some(Code::AllBrokersDown) => self.link.lost(),
                Some(
                    Code::BrokerTransportFailure | Code::OperationTimedOut | Code::RequestTimedOut | Code::Resolve,
                ) => {
                    // A slice that ran out says little; librdkafka's own verdict comes as `AllBrokersDown`.
                    if started.elapsed() > WAIT_SLICE * 4 {
                        self.link.lost();
                    }
                }
                Some(
                    Code::WaitingForCoordinator
                    | Code::CoordinatorLoadInProgress
                    | Code::CoordinatorNotAvailable
                    | Code::NotCoordinator
                    | Code::LeaderNotAvailable
                    | Code::NotLeaderForPartition,
                ) => {}
                Some(code) => return Err(otherwise(code)),
                None => return Err(failed("ask the broker".to_owned(), &error)),
            }
            if self.settings.stopped() {
                return Err(ClientError::Stopped);
            }
            if started.elapsed() >= self.settings.connect_timeout() {
                return Err(self.unreachable(started.elapsed()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn check_refusal(&self) -> Result<(), ClientError> {
        match self.link.take_refusal() {
            Some(reason) => Err(ClientError::Auth { servers: self.settings.servers().to_owned(), reason }),
            None => Ok(()),
        }
    }

    fn unreachable(&self, waited: Duration) -> ClientError {
        ClientError::Unreachable { servers: self.settings.servers().to_owned(), waited, reason: self.link.reason() }
    }
}

/// Hands librdkafka's pending log lines and errors to the link; does not wait.
pub(crate) fn serve(consumer: &BaseConsumer<LinkContext>) {
    // Bounded, so that a flood of events cannot hold the caller.
    for _ in 0..64 {
        if consumer.poll(Duration::ZERO).is_none() {
            break;
        }
    }
}

pub(crate) fn assignment(positions: &[(TopicPartition, i64)]) -> Result<TopicPartitionList, ClientError> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for (partition, offset) in positions {
        list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset))
            .map_err(|e| failed(format!("{partition} at offset {offset}"), &e))?;
    }
    Ok(list)
}

pub(crate) fn failed(action: String, reason: &dyn std::fmt::Display) -> ClientError {
    ClientError::Failed { action, reason: reason.to_string() }
}

/// An error of creating a client. Keys and values were checked one by one before, so what is left concerns how they fit
/// together; librdkafka's text for that names keys only.
pub(crate) fn refused(settings: &ClientSettings, error: &KafkaError) -> ClientError {
    let (origin, reason) = match error {
        KafkaError::ClientCreation(reason) => (settings.origin(), reason.clone()),
        KafkaError::ClientConfig(_, _, key, _) => (settings.origin_of(key), format!("`{key}` has a wrong value")),
        other => (settings.origin(), other.to_string()),
    };
    ClientError::Settings(SettingsError::Refused { origin: origin.to_owned(), reason })
}

impl Deref for crate::Reader {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection()
    }
}
