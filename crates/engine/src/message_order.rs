//! Where each row's message stands: the columns that `first`, `last`, `min_by` and `max_by` are ordered by.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringViewBuilder};
use turnstile_message::{MessageBatch, TopicPartition};

/// The columns of [`turnstile_pipeline::MESSAGE_ORDER`] for `rows` of `batch`, ascending.
pub(crate) fn message_order(batch: &MessageBatch, rows: &[u32]) -> [ArrayRef; 3] {
    [topics(batch, rows), partitions(batch, rows), offsets(batch, rows)]
}

/// The topic of each row.
pub(crate) fn topics(batch: &MessageBatch, rows: &[u32]) -> ArrayRef {
    let mut topics = StringViewBuilder::with_capacity(rows.len()).with_deduplicate_strings();
    for (partition, rows) in by_partition(batch, rows) {
        rows.iter().for_each(|_| topics.append_value(&partition.topic));
    }
    Arc::new(topics.finish())
}

/// The partition of each row.
pub(crate) fn partitions(batch: &MessageBatch, rows: &[u32]) -> ArrayRef {
    let runs = by_partition(batch, rows);
    let numbers = runs.flat_map(|(partition, rows)| rows.iter().map(|_| partition.partition));
    Arc::new(Int32Array::from_iter_values(numbers))
}

/// The offset of each row.
pub(crate) fn offsets(batch: &MessageBatch, rows: &[u32]) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| batch.offsets[*row as usize])))
}

/// The rows of each run of a partition.
fn by_partition<'a>(
    batch: &'a MessageBatch,
    mut rows: &'a [u32],
) -> impl Iterator<Item = (&'a TopicPartition, &'a [u32])> {
    batch.runs.iter().map(move |run| {
        let (of_run, later) = rows.split_at(rows.partition_point(|row| (*row as usize) < run.rows.end));
        rows = later;
        (&run.partition, of_run)
    })
}
