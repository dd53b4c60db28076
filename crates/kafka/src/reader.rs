//! Reads assigned partitions in columnar batches.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use turnstile_message::{BatchBuilder, MessageBatch, TopicPartition};

use crate::connection::{KafkaConnection, assignment, failure, poll_events};
use crate::error::{BrokerReason, ClientError, ReadError, topic_error};
use crate::leaders::{self, LeaderWatch};
use crate::link::{BrokerLink, LinkContext};
use crate::native::{CHUNK, PartitionsQueue, QueueWaker, QueuedMessage};
use crate::probe::Probe;
use crate::settings::ClientSettings;

/// How long a broker may answer a partition's fetches with a broker-side error (a slow disk, a server error) before
/// that ends reading. librdkafka retries meanwhile.
const BROKER_ERRORS_FOR: Duration = Duration::from_secs(60);

/// How often a busy queue polls librdkafka's events.
const SERVE_EVERY: Duration = Duration::from_millis(200);

/// Where to begin in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// The first record that the partition holds.
    Earliest,
    /// After the last record that the partition holds now.
    Latest,
    /// Exactly here; an error when the partition no longer, or not yet, reaches there.
    Offset(i64),
}

/// Bounds of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// Queues among which the partitions are spread, one for each thread that reads. Default 1.
    pub queues: usize,
    /// Payload bytes fetched ahead in all queues together, in KiB; librdkafka overshoots by what one fetch brings.
    /// Default 16 MiB. The client key `queued.max.messages.kbytes`, when set, is per queue and wins.
    pub queued_kbytes: usize,
    /// Bytes that one fetch brings of one partition, before decompression. Default 768 KiB. A larger record still comes.
    pub fetch_bytes: usize,
    /// Whether [`PartitionReader::leader_watch`] reports changes. Default no: it needs librdkafka's statistics, which
    /// accumulate until a call of [`ReadQueue::next`] or [`ReadQueue::poll_events`].
    pub watch_leaders: bool,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self { queues: 1, queued_kbytes: 16 * 1024, fetch_bytes: 768 * 1024, watch_leaders: false }
    }
}

/// Reads exactly the given partitions from exactly the given positions; never joins a consumer group.
///
/// Partitions are spread over [`ReadQueue`]s so that several threads can each own some. The reader itself stays with the
/// thread that controls them: it answers the requests of a [`KafkaConnection`] (watermarks, group offsets, link state).
pub struct PartitionReader {
    connection: KafkaConnection,
    starts: Vec<(TopicPartition, i64)>,
    queues: Vec<ReadQueue>,
}

impl PartitionReader {
    /// Opens a reader and starts fetching.
    ///
    /// # Errors
    /// A topic or partition that is missing or forbidden, a start that its partition does not hold, or no broker within
    /// the settings' `connect_timeout`. librdkafka would ignore the first silently and wait for ever for the last.
    pub fn open(
        settings: &ClientSettings,
        positions: Vec<(TopicPartition, StartAt)>,
        limits: ReadLimits,
    ) -> Result<Self, ReadError> {
        let queues = limits.queues.clamp(1, positions.len().max(1));
        let queued_kbytes = (limits.queued_kbytes / queues).max(1).to_string();
        let fetch_bytes = limits.fetch_bytes.to_string();
        let statistics = match limits.watch_leaders {
            false => "0",
            true if positions.len() > leaders::WIDE => leaders::WIDE_INTERVAL_MS,
            true => leaders::INTERVAL_MS,
        };
        let connection = KafkaConnection::with(
            settings,
            &[
                ("queued.max.messages.kbytes", &queued_kbytes),
                ("fetch.message.max.bytes", &fetch_bytes),
                // librdkafka's default of 1 s would stall a fast reader each time that its queue was full for a moment.
                ("fetch.queue.backoff.ms", "10"),
                ("statistics.interval.ms", statistics),
                // After a fetch that failed, such as the first from a new leader; the default is half a second.
                ("fetch.error.backoff.ms", "100"),
            ],
            // Its event is the only sign of how far a partition was read when it ends in a transaction's marker.
            &[("enable.partition.eof", "true")],
        )?;
        let starts = resolve(&connection, &positions)?;
        let queues = build_queues(&connection, &starts, queues)?;
        connection.consumer().assign(&assignment(&starts)?).map_err(|e| failure("assign partitions", e))?;
        Ok(Self { connection, starts, queues })
    }

    /// The offset at which each partition begins, in the order given to [`PartitionReader::open`].
    pub fn starts(&self) -> &[(TopicPartition, i64)] {
        &self.starts
    }

    /// The queues, to be given to the threads that read. Empty the second time.
    ///
    /// Queues keep the client alive; drop them and the reader to leave the brokers.
    pub fn split(&mut self) -> Vec<ReadQueue> {
        std::mem::take(&mut self.queues)
    }

    /// Reports leaders that went away and came back while this reader reads, if [`ReadLimits::watch_leaders`].
    pub fn leader_watch(&self) -> LeaderWatch {
        LeaderWatch(self.connection.link().clone())
    }

    pub(crate) fn connection(&self) -> &KafkaConnection {
        &self.connection
    }
}

/// Turns starts into offsets, and refuses what librdkafka would silently accept.
fn resolve(
    connection: &KafkaConnection,
    positions: &[(TopicPartition, StartAt)],
) -> Result<Vec<(TopicPartition, i64)>, ReadError> {
    let mut known: Vec<(Arc<str>, Vec<i32>)> = Vec::new();
    let mut starts = Vec::with_capacity(positions.len());
    for (partition, start) in positions {
        if !known.iter().any(|(topic, _)| *topic == partition.topic) {
            known.push((partition.topic.clone(), connection.topic_partitions(&partition.topic)?));
        }
        // All partitions of a topic share one name, so that a reading thread compares pointers and not letters.
        let shared = known.iter().find(|(topic, ids)| *topic == partition.topic && ids.contains(&partition.partition));
        let Some((topic, _)) = shared else {
            return Err(ClientError::PartitionMissing { partition: partition.clone() }.into());
        };
        let partition = &TopicPartition { topic: topic.clone(), partition: partition.partition };
        let (earliest, latest) = connection.watermarks(std::slice::from_ref(partition))?[0];
        let offset = match *start {
            StartAt::Earliest => earliest,
            StartAt::Latest => latest,
            StartAt::Offset(position) if (earliest..=latest).contains(&position) => position,
            StartAt::Offset(position) => {
                return Err(ReadError::OffsetOutOfRange { partition: partition.clone(), position, earliest, latest });
            }
        };
        starts.push((partition.clone(), offset));
    }
    Ok(starts)
}

fn build_queues(
    connection: &KafkaConnection,
    starts: &[(TopicPartition, i64)],
    queues: usize,
) -> Result<Vec<ReadQueue>, ReadError> {
    (0..queues)
        .map(|nth| {
            let native = PartitionsQueue::new(connection.consumer().clone())
                .ok_or_else(|| failure("open a queue", "librdkafka gave none"))?;
            let owned: Vec<_> = starts.iter().skip(nth).step_by(queues).cloned().collect();
            for (partition, _) in &owned {
                if !native.forward(partition) {
                    return Err(ClientError::PartitionMissing { partition: partition.clone() }.into());
                }
            }
            Ok(ReadQueue::new(connection, native, owned))
        })
        .collect()
}

/// The partitions that one thread reads.
pub struct ReadQueue {
    native: PartitionsQueue,
    partitions: QueuePartitions,
    /// Bytes that the last batch's messages took on average, to size the next batch.
    mean_bytes: usize,
    errors: VecDeque<QueuedError>,
    broker_errors: BrokerErrors,
    served_at: Instant,
    probe: Probe,
    consumer: Arc<BaseConsumer<LinkContext>>,
    link: Arc<BrokerLink>,
    servers: String,
}

impl ReadQueue {
    fn new(connection: &KafkaConnection, native: PartitionsQueue, owned: Vec<(TopicPartition, i64)>) -> Self {
        let now = Instant::now();
        Self {
            native,
            partitions: QueuePartitions { next: owned, handles: Vec::new(), last: 0 },
            mean_bytes: 160,
            errors: VecDeque::new(),
            broker_errors: BrokerErrors::default(),
            served_at: now,
            probe: Probe::new(),
            consumer: connection.consumer().clone(),
            link: connection.link().clone(),
            servers: connection.settings().servers().to_owned(),
        }
    }

    /// The partitions of this queue, each with the next offset: everything below it was returned by [`ReadQueue::next`]
    /// or does not exist (compacted away, a transaction's marker). It reaches the high watermark at the partition's end.
    pub fn positions(&self) -> &[(TopicPartition, i64)] {
        &self.partitions.next
    }

    /// Ends a wait of [`ReadQueue::next`] from another thread.
    pub fn waker(&self) -> QueueWaker {
        self.native.waker()
    }

    /// Reads one more partition from now on, from exactly `offset`.
    ///
    /// # Errors
    /// `PartitionMissing` when the cluster has no such partition.
    pub fn add(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), ReadError> {
        // All partitions of a topic share one name, so that a run of messages compares pointers and not letters.
        let known = self.partitions.next.iter().find(|(p, _)| p.topic == partition.topic);
        let topic = known.map_or_else(|| partition.topic.clone(), |(p, _)| p.topic.clone());
        let partition = TopicPartition { topic, partition: partition.partition };
        if !self.native.forward(&partition) {
            return Err(ClientError::PartitionMissing { partition }.into());
        }
        let position = (partition, offset);
        self.consumer
            .incremental_assign(&assignment(std::slice::from_ref(&position))?)
            .map_err(|e| failure(format!("assign {}", position.0), e))?;
        self.partitions.next.push(position);
        Ok(())
    }

    /// The next messages: what is there, without waiting for more; an empty batch when nothing came within `wait`.
    ///
    /// The batch ends at `max_rows`, or with the message that reaches `max_bytes` of payload (a few messages later when
    /// their sizes jump). A lost connection is no error: [`KafkaConnection::state`] shows it, and reading resumes
    /// once a broker answers.
    ///
    /// # Errors
    /// Returned after all messages that came before it. `OffsetOutOfRange` and `Fatal` end their partition; `Client`
    /// errors come again as long as their cause lasts, and calling again is safe.
    pub fn next(&mut self, max_rows: usize, max_bytes: usize, wait: Duration) -> Result<MessageBatch, ReadError> {
        self.drop_transient_errors();
        if let Some(error) = self.errors.pop_front() {
            return Err(self.to_read_error(error));
        }
        let mut builder = self.builder(max_rows, max_bytes);
        self.drain(&mut builder, max_rows, max_bytes);
        if builder.is_empty() && self.errors.is_empty() {
            self.poll_events();
            self.check_refusal()?;
            // One message ends the wait; librdkafka would otherwise hold it back until the batch is full.
            self.take(&mut builder, 1, wait);
            if builder.is_empty() {
                self.probe();
            } else {
                self.drain(&mut builder, max_rows, max_bytes);
            }
        } else if self.served_at.elapsed() > SERVE_EVERY {
            // A refusal waits until there is no message: an error here would lose those just taken.
            self.poll_events();
        }
        self.drop_transient_errors();
        if builder.is_empty() {
            return self.errors.pop_front().map_or(Ok(MessageBatch::default()), |error| Err(self.to_read_error(error)));
        }
        self.link.note_answer();
        self.mean_bytes = builder.payload_bytes() / builder.len() + 1;
        Ok(builder.finish())
    }

    /// Drops the errors that are expected to pass.
    fn drop_transient_errors(&mut self) {
        let Self { errors, broker_errors, .. } = self;
        errors.retain(|error| !broker_errors.is_transient(error, Instant::now()));
    }

    fn builder(&self, max_rows: usize, max_bytes: usize) -> BatchBuilder {
        // Room for a full batch would cost more to clear than an idle stream's few messages are worth.
        let rows = max_rows.min(CHUNK);
        BatchBuilder::with_capacity(rows, (rows * self.mean_bytes).min(max_bytes))
    }

    /// Takes what is waiting, and does not wait.
    fn drain(&mut self, builder: &mut BatchBuilder, max_rows: usize, max_bytes: usize) {
        while builder.len() < max_rows && builder.payload_bytes() < max_bytes && self.errors.is_empty() {
            let mean = builder.payload_bytes().checked_div(builder.len()).unwrap_or(self.mean_bytes);
            let room = (max_bytes - builder.payload_bytes()) / mean.max(1) + 1;
            let asked = room.min(max_rows - builder.len()).min(CHUNK);
            if self.take(builder, asked, Duration::ZERO) < asked {
                break;
            }
        }
    }

    fn take(&mut self, builder: &mut BatchBuilder, max: usize, wait: Duration) -> usize {
        let Self { native, partitions, errors, .. } = self;
        native.take(max, wait, |message| match message.error() {
            None => {
                if let Some((partition, next)) = partitions.find(message) {
                    *next = message.offset() + 1;
                    builder.push(partition, message.offset(), message.timestamp_ms(), message.key(), message.value());
                }
            }
            Some(RDKafkaErrorCode::PartitionEOF) => {
                if let Some((_, next)) = partitions.find(message) {
                    *next = (*next).max(message.offset());
                }
            }
            Some(code) => {
                let reason = message
                    .value()
                    .map_or_else(|| code.into(), |text| String::from_utf8_lossy(text).into_owned().into());
                errors.push_back(QueuedError {
                    code,
                    at: partitions.find(message).map(|(p, next)| (p.clone(), *next)),
                    reason,
                });
            }
        })
    }

    /// Passes librdkafka's events to the link, as [`ReadQueue::next`] does; for a thread that pauses reading.
    pub fn poll_events(&mut self) {
        self.served_at = Instant::now();
        poll_events(&self.consumer);
    }

    fn check_refusal(&self) -> Result<(), ReadError> {
        match self.link.take_refusal() {
            Some(reason) => Err(ClientError::Auth { servers: self.servers.clone(), reason: reason.into() }.into()),
            None => Ok(()),
        }
    }

    /// While the link is in doubt and no message proves it, a request does.
    fn probe(&mut self) {
        if let Some((partition, _)) = self.partitions.next.first() {
            self.probe.probe_if_due(&self.link, &self.consumer, &partition.topic);
        }
    }

    fn to_read_error(&self, error: QueuedError) -> ReadError {
        let QueuedError { code, at, reason } = error;
        let Some((partition, position)) = at else {
            return failure("read", reason).into();
        };
        if let Some(error) = topic_error(code, &partition.topic) {
            return error.into();
        }
        match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                let range =
                    self.consumer.fetch_watermarks(&partition.topic, partition.partition, Duration::from_secs(5));
                let (earliest, latest) = range.unwrap_or((-1, -1));
                ReadError::OffsetOutOfRange { partition, position, earliest, latest }
            }
            _ => ReadError::Fatal { partition, position, reason },
        }
    }
}

/// Broker-side errors that librdkafka retries: since when each partition has been stuck on one.
#[derive(Default)]
struct BrokerErrors(Vec<(TopicPartition, i64, Instant)>);

impl BrokerErrors {
    fn is_transient(&mut self, error: &QueuedError, now: Instant) -> bool {
        let Some((partition, position)) = error.at.as_ref().filter(|_| is_broker_side(error.code)) else {
            return false;
        };
        tracing::debug!(%partition, position, reason = %error.reason, "a fetch failed and is tried again");
        match self.0.iter_mut().find(|(known, ..)| known == partition) {
            Some((_, at, since)) if at == position => now.duration_since(*since) < BROKER_ERRORS_FOR,
            Some((_, at, since)) => {
                (*at, *since) = (*position, now);
                true
            }
            None => {
                self.0.push((partition.clone(), *position, now));
                true
            }
        }
    }
}

/// Whether this is a broker-side error that often passes. A corrupt batch is not: it stays.
fn is_broker_side(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::Unknown
            | Code::RequestTimedOut
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::NetworkException
            | Code::KafkaStorageError
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::FetchSessionIdNotFound
            | Code::InvalidFetchSessionEpoch
    )
}

struct QueuedError {
    code: RDKafkaErrorCode,
    at: Option<(TopicPartition, i64)>,
    reason: BrokerReason,
}

/// The partitions of a queue with their next offsets, found fast for a run of messages of the same partition.
struct QueuePartitions {
    next: Vec<(TopicPartition, i64)>,
    /// librdkafka's object of a topic, and the name it stands for.
    handles: Vec<(usize, Arc<str>)>,
    last: usize,
}

impl QueuePartitions {
    #[inline]
    fn find(&mut self, message: &QueuedMessage<'_>) -> Option<(&TopicPartition, &mut i64)> {
        let handle = message.topic_handle();
        let topic = match self.handles.iter().find(|(known, _)| *known == handle) {
            Some((_, topic)) => topic,
            None => {
                let name = message.topic()?;
                let topic = self.next.iter().find(|(p, _)| &*p.topic == name)?.0.topic.clone();
                self.handles.push((handle, topic));
                &self.handles.last()?.1
            }
        };
        let is_it = |(p, _): &(TopicPartition, i64)| p.partition == message.partition() && Arc::ptr_eq(&p.topic, topic);
        if !self.next.get(self.last).is_some_and(is_it) {
            self.last = self
                .next
                .iter()
                .position(|entry| entry.0.partition == message.partition() && *entry.0.topic == **topic)?;
        }
        self.next.get_mut(self.last).map(|(partition, next)| (&*partition, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_side_error_is_retried_for_a_minute_and_a_corrupt_batch_is_not() {
        let error = |code, position| QueuedError {
            code,
            at: Some((TopicPartition::new("t", 0), position)),
            reason: code.into(),
        };
        let (began, mut broker_errors) = (Instant::now(), BrokerErrors::default());
        let unknown = |position| error(RDKafkaErrorCode::Unknown, position);
        assert!(broker_errors.is_transient(&unknown(5), began));
        assert!(broker_errors.is_transient(&unknown(5), began + BROKER_ERRORS_FOR / 2));
        assert!(!broker_errors.is_transient(&unknown(5), began + BROKER_ERRORS_FOR), "it has been stuck for too long");
        assert!(broker_errors.is_transient(&unknown(6), began + BROKER_ERRORS_FOR), "it has moved since");
        assert!(!broker_errors.is_transient(&error(RDKafkaErrorCode::BadMessage, 6), began));
        assert!(!broker_errors.is_transient(&error(RDKafkaErrorCode::InvalidMessage, 6), began));
    }
}
