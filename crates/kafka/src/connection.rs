//! Requests to a cluster: brokers, topics, partitions, watermarks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::{Offset, TopicPartitionList};
use turnstile_message::TopicPartition;

use crate::error::{BrokerReason, ClientError, topic_error};
use crate::link::{BrokerLink, LinkContext, LinkState};
use crate::native::{self, AclOperation};
use crate::settings::{ClientSettings, SettingsError};

/// Consumer group when the settings name none. librdkafka needs one to assign partitions, even when it never commits.
pub(crate) const DEFAULT_GROUP: &str = "turnstile";

/// Longest single wait within librdkafka while no broker is connected: how late a stop or a refusal is noticed.
pub(crate) const WAIT_SLICE: Duration = Duration::from_millis(500);
/// A question that a broker got and did not answer in time is asked again, and the wait doubles each time, up to this.
const WAIT_MOST: Duration = Duration::from_secs(4);

/// Events of librdkafka that are polled at once: more than arrive in between, statistics and log lines together.
const SERVED_AT_ONCE: usize = 64;

/// librdkafka's longest pause between two attempts to connect. Its default of 10 s would delay the use of a broker
/// that is already back.
const RECONNECT_MAX_MS: &str = "2000";

/// librdkafka's longest pause between two requests for a partition's new leader. The default is 1 s, reached by the
/// third request: reading would resume up to that much later than it could.
pub(crate) const LEADER_BACKOFF: (&str, &str) = ("retry.backoff.max.ms", "250");

/// A client that queries a cluster and does not read a stream. Nothing is sent before the first request.
///
/// Every request waits for a broker up to the settings' `connect_timeout`.
pub struct KafkaConnection {
    consumer: Arc<BaseConsumer<LinkContext>>,
    link: Arc<BrokerLink>,
    settings: ClientSettings,
}

impl KafkaConnection {
    /// A client with these settings; does no I/O.
    ///
    /// # Errors
    /// `Settings` when librdkafka does not take the settings together.
    pub fn open(settings: &ClientSettings) -> Result<Self, ClientError> {
        // A request fetches one record at most, so a small fetch is enough; a larger record still comes whole.
        Self::with(settings, &[("fetch.message.max.bytes", "65536")], &[("enable.partition.eof", "true")])
    }

    pub(crate) fn with(
        settings: &ClientSettings,
        defaults: &[(&str, &str)],
        forced: &[(&str, &str)],
    ) -> Result<Self, ClientError> {
        settings.check().map_err(ClientError::Settings)?;
        let defaults =
            [&[("group.id", DEFAULT_GROUP), ("reconnect.backoff.max.ms", RECONNECT_MAX_MS), LEADER_BACKOFF], defaults]
                .concat();
        // Positions belong to the caller: nothing is committed, stored or reset implicitly.
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
        let link = Arc::new(BrokerLink::new(settings.servers()));
        let config = settings.config(&defaults, &forced);
        let consumer = BaseConsumer::from_config_and_context(&config, LinkContext(link.clone()))
            .map_err(|error| creation_error(settings, &error))?;
        Ok(Self { consumer: Arc::new(consumer), link, settings: settings.clone() })
    }

    /// From now on every request waits this long for a broker.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings = self.settings.with_connect_timeout(timeout);
        self
    }

    pub(crate) fn consumer(&self) -> &Arc<BaseConsumer<LinkContext>> {
        &self.consumer
    }

    pub(crate) fn link(&self) -> &Arc<BrokerLink> {
        &self.link
    }

    /// Whether brokers can be reached, as far as this client knows.
    pub fn state(&self) -> LinkState {
        poll_events(&self.consumer);
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
                    // A broker sends no news of a new leader.
                    self.settings.pause(Duration::from_millis(50));
                }
                (_, None) => return Err(ClientError::TopicMissing { topic: topic.to_owned() }),
                (_, Some(code)) => {
                    return Err(
                        topic_error(code, topic).unwrap_or_else(|| failure(format!("use topic \"{topic}\""), code))
                    );
                }
            }
        }
    }

    /// Names of the topics that this client may see, ascending.
    ///
    /// # Errors
    /// `Unreachable` and `Auth` when no broker takes this client.
    pub fn topics(&self) -> Result<Vec<String>, ClientError> {
        let metadata = self.metadata(None)?;
        let mut topics: Vec<String> = metadata.topics().iter().map(|topic| topic.name().to_owned()).collect();
        topics.sort_unstable();
        Ok(topics)
    }

    /// The ids of `topics` by name, in Kafka's own base64: a topic that is deleted and recreated gets another one.
    /// Clusters older than ids (Kafka 2.8) give none.
    ///
    /// # Errors
    /// `TopicMissing` or `TopicForbidden`; `Unreachable` and `Auth` when no broker takes this client.
    pub fn topic_ids(&self, topics: &[&str]) -> Result<BTreeMap<String, String>, ClientError> {
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let found = self.retry_until_answered(
            |wait| {
                let ids = native::topic_ids(&self.consumer, topics, wait);
                ids.map_err(KafkaError::MetadataFetch)
            },
            |code| failure("read topic ids", code),
        )?;
        let mut ids = BTreeMap::new();
        for (topic, id) in found {
            let id = id.map_err(|code| {
                topic_error(code, &topic).unwrap_or_else(|| failure(format!("use topic \"{topic}\""), code))
            })?;
            if !id.is_empty() {
                ids.insert(topic, id);
            }
        }
        Ok(ids)
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

    pub(crate) fn watermark(&self, partition: &TopicPartition) -> Result<(i64, i64), ClientError> {
        let topic = &*partition.topic;
        self.retry_until_answered(
            |wait| self.consumer.fetch_watermarks(topic, partition.partition, wait),
            |code| match topic_error(code, topic) {
                // librdkafka gives the same answer for a missing topic and a missing partition; the topic's metadata tells them apart.
                Some(ClientError::TopicMissing { .. }) => match self.topic_partitions(topic) {
                    Ok(_) => ClientError::PartitionMissing { partition: partition.clone() },
                    Err(error) => error,
                },
                Some(error) => error,
                None => failure(format!("read the watermarks of {partition}"), code),
            },
        )
    }

    /// The brokers of the cluster, each as `host:port`, by number. Asked for one `topic` alone, the answer is small;
    /// the topic need not exist.
    ///
    /// # Errors
    /// `Unreachable` and `Auth` when no broker takes this client.
    pub fn brokers(&self, topic: Option<&str>) -> Result<Vec<(i32, String)>, ClientError> {
        let metadata = self.metadata(topic)?;
        let mut brokers: Vec<_> =
            metadata.brokers().iter().map(|b| (b.id(), format!("{}:{}", b.host(), b.port()))).collect();
        brokers.sort();
        Ok(brokers)
    }

    /// Each partition's leader as a broker knows it, by partition; -1 where there is none. Needs no leader to answer.
    ///
    /// # Errors
    /// `Unreachable` and `Auth` when no broker takes this client.
    pub fn leaders(&self, topic: &str) -> Result<Vec<(i32, i32)>, ClientError> {
        let metadata = self.metadata(Some(topic))?;
        let partitions = metadata.topics().iter().filter(|t| t.name() == topic).flat_map(|t| t.partitions());
        let mut leaders: Vec<_> = partitions.map(|p| (p.id(), p.leader())).collect();
        leaders.sort_unstable();
        Ok(leaders)
    }

    /// Whether this client may write to the topic; `None` when the cluster does not report permissions. Nothing is written.
    ///
    /// # Errors
    /// `TopicMissing`, `TopicForbidden` when it may not even see the topic, or that no broker answers.
    pub fn may_write(&self, topic: &str) -> Result<Option<bool>, ClientError> {
        self.topic_partitions(topic)?;
        let allowed = native::allowed_on_topic(&self.consumer, topic, self.settings.connect_timeout());
        let otherwise = |code| failure(format!("read the permissions of topic \"{topic}\""), code);
        let allowed = allowed.map_err(|code| topic_error(code, topic).unwrap_or_else(|| otherwise(code)))?;
        Ok(allowed.map(|operations| operations.contains(&AclOperation::Write)))
    }

    /// Metadata of one topic or of all, as soon as a broker answers.
    pub(crate) fn metadata(&self, topic: Option<&str>) -> Result<Metadata, ClientError> {
        self.retry_until_answered(
            |wait| self.consumer.fetch_metadata(topic, wait),
            |code| failure("read the cluster's metadata", code),
        )
    }

    /// Asks until a broker answers, the time is up, or the client is refused or stopped. librdkafka itself backs off
    /// between attempts to connect.
    pub(crate) fn retry_until_answered<T>(
        &self,
        ask: impl Fn(Duration) -> Result<T, KafkaError>,
        otherwise: impl Fn(RDKafkaErrorCode) -> ClientError,
    ) -> Result<T, ClientError> {
        use RDKafkaErrorCode as Code;
        let started = Instant::now();
        let mut slice = WAIT_SLICE;
        loop {
            let left = self.settings.connect_timeout().saturating_sub(started.elapsed());
            let error = match ask(left.clamp(Duration::from_millis(10), slice)) {
                Ok(answer) => {
                    self.link.mark_up();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            poll_events(&self.consumer);
            self.check_refusal()?;
            // Without a connection librdkafka returns another error, and a longer request would only react later.
            slice = match error.rdkafka_error_code() {
                Some(Code::OperationTimedOut | Code::RequestTimedOut) => (slice * 2).min(WAIT_MOST),
                _ => WAIT_SLICE,
            };
            match error.rdkafka_error_code() {
                Some(Code::AllBrokersDown) => self.link.mark_down(),
                Some(
                    Code::BrokerTransportFailure | Code::OperationTimedOut | Code::RequestTimedOut | Code::Resolve,
                ) => {
                    // One timeout proves little; librdkafka reports a lost cluster as `AllBrokersDown`.
                    if started.elapsed() > WAIT_SLICE * 4 {
                        self.link.mark_down();
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
                None => return Err(failure("ask the broker", error)),
            }
            if self.settings.stopped() {
                return Err(ClientError::Stopped);
            }
            if started.elapsed() >= self.settings.connect_timeout() {
                return Err(self.unreachable(started.elapsed()));
            }
            // The call itself waits for the brokers; this is for those that refuse at once.
            self.settings.pause(Duration::from_millis(20));
        }
    }

    pub(crate) fn check_refusal(&self) -> Result<(), ClientError> {
        match self.link.take_refusal() {
            Some(reason) => {
                Err(ClientError::Auth { servers: self.settings.servers().to_owned(), reason: reason.into() })
            }
            None => Ok(()),
        }
    }

    pub(crate) fn unreachable(&self, waited: Duration) -> ClientError {
        ClientError::Unreachable {
            servers: self.settings.servers().to_owned(),
            waited,
            reason: self.link.reason().into(),
        }
    }
}

/// Passes librdkafka's pending log lines and errors to the link; does not wait.
pub(crate) fn poll_events(consumer: &BaseConsumer<LinkContext>) {
    // Bounded, so that a flood of events cannot hold up the caller. A served event and an empty queue look the same
    // from here, so it always polls as often as there may be events; an empty poll costs next to nothing.
    for _ in 0..SERVED_AT_ONCE {
        consumer.poll(Duration::ZERO);
    }
}

pub(crate) fn assignment(positions: &[(TopicPartition, i64)]) -> Result<TopicPartitionList, ClientError> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for (partition, offset) in positions {
        list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset))
            .map_err(|e| failure(format!("assign {partition} at offset {offset}"), e))?;
    }
    Ok(list)
}

pub(crate) fn failure(action: impl Into<String>, reason: impl Into<BrokerReason>) -> ClientError {
    ClientError::Failed { action: action.into(), reason: reason.into() }
}

/// An error of creating a client. Keys and values were checked one by one before, so what is left concerns how they fit
/// together; librdkafka's text for that names keys only.
pub(crate) fn creation_error(settings: &ClientSettings, error: &KafkaError) -> ClientError {
    let (origin, reason) = match error {
        KafkaError::ClientCreation(reason) => (settings.origin(), reason.clone()),
        KafkaError::ClientConfig(_, _, key, _) => (settings.origin_of(key), format!("`{key}` has a wrong value")),
        other => (settings.origin(), other.to_string()),
    };
    ClientError::Settings(SettingsError::Refused { origin: origin.to_owned(), reason })
}
