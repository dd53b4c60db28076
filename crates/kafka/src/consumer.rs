//! Reads complete messages of one topic, with headers and the timestamp type, for people who inspect a topic;
//! pipelines read through [`crate::PartitionReader`].
//!
//! Either it is given positions and belongs to no group, or it joins a group, which assigns partitions and keeps its
//! offsets.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message, Timestamp};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, Statistics, TopicPartitionList};
use turnstile_message::{SourcePosition, TopicPartition};

use crate::connection::{assignment, creation_error, failure};
use crate::error::{ClientError, ReadError, topic_error};
use crate::link::{BrokerLink, LinkContext};
use crate::probe::Probe;
use crate::settings::ClientSettings;

/// What decides where reading begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscription {
    /// These partitions, each from its offset; no group is joined and nothing is committed.
    Assigned(Vec<(TopicPartition, i64)>),
    /// The partitions that the settings' group assigns, from its committed offsets. A partition named here begins at
    /// its offset instead, the first time that it is assigned; one without either begins with its first record.
    Group {
        /// The topic.
        topic: String,
        /// Where partitions begin, regardless of the group's committed offsets.
        starts: Vec<(TopicPartition, i64)>,
    },
}

/// A message with all that its record holds. Null and empty payloads are different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumedMessage {
    /// Where it stands.
    pub position: SourcePosition,
    /// Milliseconds since the epoch; `None` when it has no timestamp.
    pub timestamp_ms: Option<i64>,
    /// Whether the broker gave the timestamp when it appended the record (LogAppendTime), not the producer.
    pub appended_at: bool,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// Headers in their order; names may repeat.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Reads one topic. Dropping it leaves the group, after committing the offsets given to [`Consumer::store_offset`].
pub struct Consumer {
    consumer: BaseConsumer<MemberContext>,
    topic: Arc<str>,
    link: Arc<BrokerLink>,
    settings: ClientSettings,
    joined: bool,
    probe: Probe,
}

/// How long to wait for a partition's offset range, once it does not hold the offset that was to be read.
const RANGE_WAIT: Duration = Duration::from_secs(5);

impl Consumer {
    /// Starts reading.
    ///
    /// Ask a [`crate::KafkaConnection`] for the topic first: librdkafka is silent about one that is missing.
    ///
    /// # Errors
    /// `Settings` when librdkafka does not take the settings together.
    pub fn open(settings: &ClientSettings, subscription: Subscription) -> Result<Self, ReadError> {
        settings.check().map_err(ClientError::Settings)?;
        let joined = matches!(subscription, Subscription::Group { .. });
        let kept = if joined { "true" } else { "false" };
        let defaults = [
            ("group.id", "turnstile"),
            ("reconnect.backoff.max.ms", "2000"),
            ("queued.max.messages.kbytes", "16384"),
            ("auto.commit.interval.ms", "1000"),
            // A group that follows a topic should notice new partitions while a person is still watching.
            ("topic.metadata.refresh.interval.ms", "10000"),
        ];
        let forced = [
            // Offsets are committed once the message was handled, and never those of messages on their way.
            ("enable.auto.commit", kept),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", if joined { "earliest" } else { "error" }),
            ("allow.auto.create.topics", "false"),
            ("enable.partition.eof", "true"),
        ];
        let link = Arc::new(BrokerLink::new(settings.servers()));
        let (topic, starts, assigned) = match &subscription {
            Subscription::Assigned(positions) => {
                let topic = positions.first().map_or_else(|| Arc::from(""), |(p, _)| p.topic.clone());
                let starts = positions.iter().map(|(p, offset)| (p.partition, *offset)).collect();
                (topic, starts, positions.iter().map(|(p, _)| p.partition).collect())
            }
            Subscription::Group { topic, starts } => {
                let starts = starts.iter().map(|(p, offset)| (p.partition, *offset)).collect();
                (Arc::from(topic.as_str()), starts, Vec::new())
            }
        };
        let membership = Mutex::new(GroupMembership { starts, assigned, is_assigned: !joined });
        let context = MemberContext { link: LinkContext(link.clone()), membership };
        let consumer = BaseConsumer::from_config_and_context(&settings.config(&defaults, &forced), context)
            .map_err(|error| creation_error(settings, &error))?;
        match &subscription {
            Subscription::Assigned(positions) => {
                consumer.assign(&assignment(positions)?).map_err(|e| failure("assign partitions", e))?;
            }
            Subscription::Group { topic, .. } => {
                consumer.subscribe(&[topic]).map_err(|e| failure(format!("subscribe to \"{topic}\""), e))?;
            }
        }
        Ok(Self { consumer, topic, link, settings: settings.clone(), joined, probe: Probe::new() })
    }

    /// The partitions that are read now, ascending; `None` until the group has assigned them.
    pub fn partitions(&self) -> Option<Vec<i32>> {
        let membership = self.consumer.context().membership();
        membership.is_assigned.then(|| membership.assigned.clone())
    }

    /// Reads one more partition of the topic from its beginning. Only for a consumer that was given its partitions.
    ///
    /// # Errors
    /// When librdkafka does not take it.
    pub fn add(&mut self, number: i32) -> Result<TopicPartition, ReadError> {
        let partition = TopicPartition { topic: self.topic.clone(), partition: number };
        let mut list = TopicPartitionList::with_capacity(1);
        let added = list.add_partition_offset(&self.topic, number, Offset::Beginning);
        added
            .and_then(|()| self.consumer.incremental_assign(&list))
            .map_err(|e| failure(format!("assign {partition}"), e))?;
        let mut membership = self.consumer.context().membership();
        membership.assigned.push(number);
        membership.assigned.sort_unstable();
        drop(membership);
        Ok(partition)
    }

    /// What comes next; `None` when nothing came within `wait`.
    ///
    /// # Errors
    /// The topic or the client; `OffsetOutOfRange` when a partition no longer holds what was to be read.
    pub fn next(&mut self, wait: Duration) -> Result<Option<Consumed>, ReadError> {
        let polled = match self.consumer.poll(wait) {
            None => None,
            Some(Ok(message)) => Some(Consumed::Message(to_consumed_message(&self.topic, &message))),
            Some(Err(KafkaError::PartitionEOF(partition))) => Some(Consumed::End(partition)),
            Some(Err(error)) => {
                self.check_error(error)?;
                None
            }
        };
        if polled.is_some() {
            self.link.note_answer();
        } else {
            self.probe.probe_if_due(&self.link, &self.consumer, &self.topic);
        }
        if polled.is_none()
            && let Some(reason) = self.link.take_refusal()
        {
            return Err(ClientError::Auth { servers: self.settings.servers().to_owned(), reason: reason.into() }.into());
        }
        Ok(polled)
    }

    /// Records that everything in `partition` before `next_offset` was handled: a group resumes there. The offset is
    /// committed within a second, and when this is dropped.
    pub fn store_offset(&mut self, partition: i32, next_offset: i64) {
        if self.joined {
            // A partition that was revoked meanwhile is another member's: its new owner reads the message again.
            let _ = self.consumer.store_offset(&self.topic, partition, next_offset - 1);
        }
    }

    /// librdkafka does not report which partition: it is the one whose next offset it does not hold.
    fn out_of_range(&self) -> ReadError {
        let (starts, assigned) = {
            let membership = self.consumer.context().membership();
            (membership.starts.clone(), membership.assigned.clone())
        };
        let positions = self.consumer.position().ok();
        let mut first = None;
        for number in assigned {
            let known = positions.as_ref().and_then(|all| all.find_partition(&self.topic, number)).map(|p| p.offset());
            let position = match known {
                Some(Offset::Offset(position)) => position,
                _ => starts.get(&number).copied().unwrap_or(-1),
            };
            let range = self.consumer.fetch_watermarks(&self.topic, number, RANGE_WAIT);
            let (earliest, latest) = range.unwrap_or((-1, -1));
            let partition = TopicPartition { topic: self.topic.clone(), partition: number };
            let error = ReadError::OffsetOutOfRange { partition, position, earliest, latest };
            if position >= 0 && earliest >= 0 && !(earliest..=latest).contains(&position) {
                return error;
            }
            first.get_or_insert(error);
        }
        let reason = "records that were to be read next were deleted";
        first.unwrap_or_else(|| failure(format!("read topic \"{}\"", self.topic), reason).into())
    }

    /// Errors that end reading; others pass by themselves.
    fn check_error(&self, error: KafkaError) -> Result<(), ReadError> {
        use RDKafkaErrorCode as Code;
        let Some(code) = error.rdkafka_error_code() else { return Err(failure("read", error).into()) };
        if let Some(error) = topic_error(code, &self.topic) {
            return Err(error.into());
        }
        match code {
            Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::Resolve
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::RebalanceInProgress
            // Our output was blocked for too long; the group lets this member rejoin.
            | Code::PollExceeded => Ok(()),
            Code::AutoOffsetReset | Code::OffsetOutOfRange => Err(self.out_of_range()),
            // Assigned partitions are read regardless: librdkafka only looked up the group's coordinator.
            Code::GroupAuthorizationFailed if !self.joined => Ok(()),
            Code::GroupAuthorizationFailed => Err(ClientError::GroupForbidden {
                group: self.settings.group().unwrap_or_default().to_owned(),
                reason: code.into(),
            }
            .into()),
            Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL => Ok(()),
            _ => Err(failure(format!("read topic \"{}\"", self.topic), code).into()),
        }
    }
}

/// What a consumer read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consumed {
    /// A message.
    Message(ConsumedMessage),
    /// This partition is read to its present end.
    End(i32),
}

fn to_consumed_message(topic: &Arc<str>, message: &BorrowedMessage<'_>) -> ConsumedMessage {
    let partition = TopicPartition { topic: topic.clone(), partition: message.partition() };
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    });
    let timestamp = message.timestamp();
    ConsumedMessage {
        position: SourcePosition { partition, offset: message.offset() },
        timestamp_ms: timestamp.to_millis().filter(|ms| *ms >= 0),
        appended_at: matches!(timestamp, Timestamp::LogAppendTime(_)),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
    }
}

/// What the group has assigned.
struct GroupMembership {
    /// Where partitions begin when they are assigned for the first time.
    starts: HashMap<i32, i64>,
    assigned: Vec<i32>,
    /// Whether the group has completed its assignment.
    is_assigned: bool,
}

struct MemberContext {
    link: LinkContext,
    membership: Mutex<GroupMembership>,
}

impl MemberContext {
    fn membership(&self) -> MutexGuard<'_, GroupMembership> {
        // Each change of it is one assignment, so a panic elsewhere cannot have left it half made.
        self.membership.lock()
    }
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.link.log(level, facility, line);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.link.error(error, reason);
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let handed_out = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let mut membership = self.membership();
        let named: Vec<(String, i32)> =
            list.elements().iter().map(|one| (one.topic().to_owned(), one.partition())).collect();
        if handed_out {
            for (topic, partition) in &named {
                // Only the first time: when it is assigned again, the group has a later offset.
                if let Some(start) = membership.starts.remove(partition) {
                    let _ = list.set_partition_offset(topic, *partition, Offset::Offset(start));
                }
            }
        }
        let cooperative = matches!(consumer.rebalance_protocol(), rdkafka::consumer::RebalanceProtocol::Cooperative);
        let outcome = match (handed_out, cooperative) {
            (true, true) => consumer.incremental_assign(list),
            (true, false) => consumer.assign(list),
            (false, true) => consumer.incremental_unassign(list),
            (false, false) => consumer.unassign(),
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "the group's assignment was not applied");
        }
        let numbers = named.iter().map(|(_, partition)| *partition);
        match (handed_out, cooperative) {
            (true, false) => membership.assigned = numbers.collect(),
            (true, true) => membership.assigned.extend(numbers),
            (false, true) => {
                let gone: Vec<i32> = numbers.collect();
                membership.assigned.retain(|partition| !gone.contains(partition));
            }
            (false, false) => membership.assigned.clear(),
        }
        membership.assigned.sort_unstable();
        // Between an eager group's revocation and assignment this member's partitions are unknown.
        membership.is_assigned = handed_out || cooperative;
        tracing::info!(partitions = ?membership.assigned, "the group has assigned partitions");
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        match result {
            // Nothing was read since the last commit.
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(error) => tracing::warn!(%error, "the group's offsets were not committed"),
        }
    }
}
