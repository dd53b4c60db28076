//! The partitions that one thread reads, in columnar batches.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use turnstile_message::{BatchBuilder, MessageBatch, TopicPartition};

use crate::broker_errors::{BrokerErrors, QueuedError};
use crate::connection::{KafkaConnection, assignment, failure, poll_events};
use crate::error::{ClientError, ReadError, topic_error};
use crate::link::{BrokerLink, LinkContext};
use crate::native::{CHUNK, PartitionsQueue, QueueWaker, QueuedMessage};
use crate::probe::Probe;

/// How often a busy queue polls librdkafka's events.
const SERVE_EVERY: Duration = Duration::from_millis(200);

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
    pub(crate) fn new(
        connection: &KafkaConnection,
        native: PartitionsQueue,
        owned: Vec<(TopicPartition, i64)>,
    ) -> Self {
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
