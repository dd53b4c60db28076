//! Columns of what Kafka knows of a message beside its value.

use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit};
use turnstile_message::MessageBatch;
use turnstile_pipeline::MessageMetadata;

use crate::message_order::{offsets, partitions, topics};

/// When the message in `row` was made, microseconds since the epoch.
#[inline]
pub(crate) fn timestamp_us(batch: &MessageBatch, row: usize) -> Option<i64> {
    let timestamp_ms = batch.timestamps_ms[row];
    // A broker gives -1 for a message without one.
    (timestamp_ms >= 0).then(|| timestamp_ms.saturating_mul(1000))
}

/// The column of `metadata` for `rows` of `batch`, ascending. `data_type` is the column's.
pub(crate) fn column(metadata: MessageMetadata, data_type: &DataType, batch: &MessageBatch, rows: &[u32]) -> ArrayRef {
    match metadata {
        MessageMetadata::Timestamp => {
            let instants: TimestampMicrosecondArray =
                rows.iter().map(|row| timestamp_us(batch, *row as usize)).collect();
            match data_type {
                DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) => {
                    Arc::new(instants.with_timezone(Arc::clone(zone)))
                }
                _ => Arc::new(instants),
            }
        }
        MessageMetadata::Topic => topics(batch, rows),
        MessageMetadata::Partition => partitions(batch, rows),
        MessageMetadata::Offset => offsets(batch, rows),
    }
}
