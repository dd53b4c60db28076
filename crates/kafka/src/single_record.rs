//! Reads of single records, at exactly the position asked for.

use std::time::Instant;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use turnstile_message::SourcePosition;

use crate::connection::{KafkaConnection, WAIT_SLICE, assignment, failure};
use crate::error::{ClientError, topic_error};

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

impl KafkaConnection {
    /// Reads the record at exactly this position: `None` when the partition holds none there (deleted, compacted away,
    /// a transaction's marker, or not yet written).
    ///
    /// # Errors
    /// As for [`KafkaConnection::watermarks`].
    pub fn read_one(&mut self, position: &SourcePosition) -> Result<Option<ReadRecord>, ClientError> {
        let partition = &position.partition;
        let (low, high) = self.watermark(partition)?;
        if !(low..high).contains(&position.offset) {
            return Ok(None);
        }
        self.fetch_at(position)
    }

    /// Fetches at exactly this position, to see whether that is allowed: the record there, or `None` at the partition's
    /// end and where there is no record.
    ///
    /// # Errors
    /// As for [`KafkaConnection::watermarks`].
    pub fn fetch_at(&mut self, position: &SourcePosition) -> Result<Option<ReadRecord>, ClientError> {
        let partition = &position.partition;
        let assignment = assignment(&[(partition.clone(), position.offset)])?;
        self.consumer().assign(&assignment).map_err(|e| failure(format!("assign {partition}"), e))?;
        let record = self.first_record_at(position);
        self.consumer().unassign().map_err(|e| failure(format!("unassign {partition}"), e))?;
        record
    }

    fn first_record_at(&self, position: &SourcePosition) -> Result<Option<ReadRecord>, ClientError> {
        let started = Instant::now();
        while started.elapsed() < self.settings().connect_timeout() {
            if self.settings().stopped() {
                return Err(ClientError::Stopped);
            }
            match self.consumer().poll(WAIT_SLICE) {
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
                    // Deleted between the request for the watermarks and the read.
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
}
