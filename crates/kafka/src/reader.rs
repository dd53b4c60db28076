//! Opens assigned partitions for reading.

use std::ops::Deref;
use std::sync::Arc;

use rdkafka::consumer::Consumer;
use turnstile_message::TopicPartition;

use crate::connection::{KafkaConnection, assignment, failure};
use crate::error::{ClientError, ReadError};
use crate::leader_watch::LeaderWatch;
use crate::leaders;
use crate::native::PartitionsQueue;
use crate::read_queue::ReadQueue;
use crate::settings::ClientSettings;

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

impl Deref for PartitionReader {
    type Target = KafkaConnection;

    fn deref(&self) -> &KafkaConnection {
        self.connection()
    }
}
