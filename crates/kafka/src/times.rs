//! Lookups by time: which offset a moment is, which moment an offset is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use turnstile_message::TopicPartition;

use crate::connection::{KafkaConnection, assignment, failure};
use crate::error::{ClientError, topic_error};

/// Longest single wait for a record: how late a stop is noticed.
const WAIT_SLICE: Duration = Duration::from_millis(200);

impl KafkaConnection {
    /// Per partition, in the order asked, the offset of the first record whose timestamp is `at_ms` (milliseconds since
    /// the epoch) or later; where there is none, the offset after the last record.
    ///
    /// # Errors
    /// `TopicMissing`, `TopicForbidden`, or that no broker answers.
    pub fn offsets_at(&self, partitions: &[TopicPartition], at_ms: i64) -> Result<Vec<i64>, ClientError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let asked: Vec<_> = partitions.iter().map(|p| (p.clone(), at_ms.max(0))).collect();
        let asked = assignment(&asked)?;
        let answered = self.retry_until_answered(
            |wait| self.consumer().offsets_for_times(asked.clone(), wait),
            |code| {
                let topic = &*partitions[0].topic;
                topic_error(code, topic).unwrap_or_else(|| failure("look up offsets by time", code))
            },
        )?;
        let mut offsets = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let found = answered.find_partition(&partition.topic, partition.partition).map(|found| found.offset());
            offsets.push(match found {
                Some(Offset::Offset(offset)) => offset,
                _ => self.watermarks(std::slice::from_ref(partition))?[0].1,
            });
        }
        Ok(offsets)
    }

    /// Per position, in the order asked, the timestamp (milliseconds since the epoch) of the first record at the offset or
    /// after it; `None` where the partition holds none, or its record has no timestamp.
    ///
    /// # Errors
    /// As for [`KafkaConnection::watermarks`]. A position below the first offset held begins at that one.
    pub fn timestamps_from(&mut self, positions: &[(TopicPartition, i64)]) -> Result<Vec<Option<i64>>, ClientError> {
        // The event of a partition's end names no topic, so topics are queried one at a time.
        let mut starts: BTreeMap<Arc<str>, Vec<(TopicPartition, i64)>> = BTreeMap::new();
        for (partition, offset) in positions {
            let (low, high) = self.watermarks(std::slice::from_ref(partition))?[0];
            if *offset < high {
                starts.entry(partition.topic.clone()).or_default().push((partition.clone(), (*offset).max(low)));
            }
        }
        let mut found = HashMap::new();
        for starts in starts.values() {
            self.consumer().assign(&assignment(starts)?).map_err(|e| failure("assign partitions", e))?;
            let asked = self.first_timestamps(starts, &mut found);
            self.consumer().unassign().map_err(|e| failure("unassign partitions", e))?;
            asked?;
        }
        Ok(positions.iter().map(|(partition, _)| found.get(partition).copied().flatten()).collect())
    }

    fn first_timestamps(
        &self,
        starts: &[(TopicPartition, i64)],
        found: &mut HashMap<TopicPartition, Option<i64>>,
    ) -> Result<(), ClientError> {
        let began = Instant::now();
        let named = |partition: i32| starts.iter().find(|(p, _)| p.partition == partition).map(|(p, _)| p.clone());
        while !starts.iter().all(|(partition, _)| found.contains_key(partition)) {
            if self.settings().stopped() {
                return Err(ClientError::Stopped);
            }
            match self.consumer().poll(WAIT_SLICE) {
                Some(Ok(record)) => {
                    if let Some(partition) = named(record.partition()) {
                        found.entry(partition).or_insert_with(|| record.timestamp().to_millis().filter(|ms| *ms >= 0));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    if let Some(partition) = named(partition) {
                        found.entry(partition).or_insert(None);
                    }
                }
                Some(Err(error)) => {
                    let topic = &*starts[0].0.topic;
                    if let Some(error) = error.rdkafka_error_code().and_then(|code| topic_error(code, topic)) {
                        return Err(error);
                    }
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) {
                        // Deleted between the request and the read: the caller asks again later.
                        return Ok(());
                    }
                }
                None => {}
            }
            self.check_refusal()?;
            if began.elapsed() > self.settings().connect_timeout() {
                return Err(self.unreachable(began.elapsed()));
            }
        }
        Ok(())
    }
}
