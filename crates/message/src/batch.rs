//! Columnar batches of borrowed payloads.

use std::ops::Range;

use arrow_buffer::Buffer;

use crate::position::{SourcePosition, TopicPartition};

const NULL: u32 = u32::MAX;

/// A column of byte strings, some of them null, that lie in one shared buffer.
///
/// The buffer is reference counted: views into it can outlive the batch without a copy.
#[derive(Debug, Clone, Default)]
pub struct Payloads {
    bytes: Buffer,
    /// `(start, length)` in `bytes`; a length of `u32::MAX` is a null.
    spans: Vec<(u32, u32)>,
}

impl Payloads {
    /// Number of payloads, nulls included.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The bytes of payload `row`, or `None` when it is null. Panics when `row` is out of range.
    #[inline]
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        let (start, len) = self.spans[row];
        (len != NULL).then(|| &self.bytes[start as usize..start as usize + len as usize])
    }

    /// Start of payload `row` in [`Payloads::buffer`] and its length, or `None` when it is null.
    #[inline]
    pub fn span(&self, row: usize) -> Option<(u32, u32)> {
        let (start, len) = self.spans[row];
        (len != NULL).then_some((start, len))
    }

    /// The buffer that all payloads lie in.
    pub fn buffer(&self) -> &Buffer {
        &self.bytes
    }
}

/// Rows of a [`MessageBatch`] that come from one partition, in offset order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRun {
    /// The partition.
    pub partition: TopicPartition,
    /// Row numbers in the batch.
    pub rows: Range<usize>,
}

/// A batch of messages, a column per property: offsets, timestamps, keys, values.
///
/// Rows of one partition lie together in [`PartitionRun`]s and are in offset order; offsets may have holes
/// (compaction, aborted transactions). A partition may have several runs.
#[derive(Debug, Clone, Default)]
pub struct MessageBatch {
    /// Which rows come from which partition; together they cover all rows, in order.
    pub runs: Vec<PartitionRun>,
    /// Offset of each message.
    pub offsets: Vec<i64>,
    /// Timestamp of each message, milliseconds since the epoch as the broker gave it; -1 when it has none.
    pub timestamps_ms: Vec<i64>,
    /// Message keys.
    pub keys: Payloads,
    /// Message values; a null value is a tombstone.
    pub values: Payloads,
}

impl MessageBatch {
    /// Number of messages.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether the batch holds no message.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Bytes held by keys and values.
    pub fn payload_bytes(&self) -> usize {
        self.keys.bytes.len() + self.values.bytes.len()
    }

    /// The position of message `row`. Panics when `row` is out of range.
    pub fn position(&self, row: usize) -> SourcePosition {
        let at = self.runs.partition_point(|run| run.rows.end <= row);
        SourcePosition { partition: self.runs[at].partition.clone(), offset: self.offsets[row] }
    }
}

/// Fills a [`MessageBatch`]. Payloads are copied once, back to back, into the shared buffers.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    runs: Vec<PartitionRun>,
    offsets: Vec<i64>,
    timestamps_ms: Vec<i64>,
    keys: PayloadColumn,
    values: PayloadColumn,
}

#[derive(Debug, Default)]
struct PayloadColumn {
    bytes: Vec<u8>,
    spans: Vec<(u32, u32)>,
}

impl PayloadColumn {
    #[inline]
    fn push(&mut self, payload: Option<&[u8]>) {
        let start = self.bytes.len() as u32;
        match payload {
            Some(bytes) => {
                self.bytes.extend_from_slice(bytes);
                self.spans.push((start, bytes.len() as u32));
            }
            None => self.spans.push((start, NULL)),
        }
    }

    fn finish(self) -> Payloads {
        Payloads { bytes: Buffer::from_vec(self.bytes), spans: self.spans }
    }
}

impl BatchBuilder {
    /// A builder with room for `rows` messages whose values take about `value_bytes` in all.
    pub fn with_capacity(rows: usize, value_bytes: usize) -> Self {
        Self {
            runs: Vec::with_capacity(8),
            offsets: Vec::with_capacity(rows),
            timestamps_ms: Vec::with_capacity(rows),
            keys: PayloadColumn { bytes: Vec::new(), spans: Vec::with_capacity(rows) },
            values: PayloadColumn { bytes: Vec::with_capacity(value_bytes), spans: Vec::with_capacity(rows) },
        }
    }

    /// Number of messages so far.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether no message has been pushed yet.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Bytes of keys and values so far. A reader ends a batch well before 4 GiB, the limit of its 32-bit spans.
    pub fn payload_bytes(&self) -> usize {
        self.keys.bytes.len() + self.values.bytes.len()
    }

    /// Appends one message. Messages of one partition must come in offset order.
    #[inline]
    pub fn push(
        &mut self,
        partition: &TopicPartition,
        offset: i64,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) {
        let row = self.offsets.len();
        match self.runs.last_mut() {
            Some(run) if run.partition == *partition => run.rows.end = row + 1,
            _ => self.runs.push(PartitionRun { partition: partition.clone(), rows: row..row + 1 }),
        }
        self.offsets.push(offset);
        self.timestamps_ms.push(timestamp_ms);
        self.keys.push(key);
        self.values.push(value);
    }

    /// The batch; the builder is empty afterwards.
    pub fn finish(&mut self) -> MessageBatch {
        let taken = std::mem::take(self);
        MessageBatch {
            runs: taken.runs,
            offsets: taken.offsets,
            timestamps_ms: taken.timestamps_ms,
            keys: taken.keys.finish(),
            values: taken.values.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_keeps_partitions_in_runs_and_nulls_apart_from_empty_payloads() {
        let (a, b) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        let mut builder = BatchBuilder::default();
        builder.push(&a, 7, 1, None, Some(b"x"));
        builder.push(&a, 9, 2, Some(b""), None);
        builder.push(&b, 0, 3, Some(b"k"), Some(b""));
        let batch = builder.finish();
        assert!(builder.is_empty());
        assert_eq!(
            batch.runs,
            vec![PartitionRun { partition: a, rows: 0..2 }, PartitionRun { partition: b.clone(), rows: 2..3 }]
        );
        assert_eq!((batch.keys.get(0), batch.keys.get(1), batch.keys.get(2)), (None, Some(&b""[..]), Some(&b"k"[..])));
        assert_eq!(
            (batch.values.get(0), batch.values.get(1), batch.values.get(2)),
            (Some(&b"x"[..]), None, Some(&b""[..]))
        );
        assert_eq!(batch.position(2), SourcePosition { partition: b, offset: 0 });
    }
}
