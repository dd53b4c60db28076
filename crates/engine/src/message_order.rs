//! Where each row's message stands: the columns that `first`, `last`, `min_by` and `max_by` are ordered by.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Builder, Int64Builder, StringViewBuilder};
use turnstile_message::MessageBatch;

/// The columns of [`turnstile_pipeline::MESSAGE_ORDER`] for `rows` of `batch`, ascending.
pub(crate) fn message_order(batch: &MessageBatch, rows: &[u32]) -> [ArrayRef; 3] {
    let mut topics = StringViewBuilder::with_capacity(rows.len()).with_deduplicate_strings();
    let mut partitions = Int32Builder::with_capacity(rows.len());
    let mut offsets = Int64Builder::with_capacity(rows.len());
    let mut at = 0;
    for run in &batch.runs {
        let until = at + rows[at..].partition_point(|row| (*row as usize) < run.rows.end);
        for row in &rows[at..until] {
            topics.append_value(&run.partition.topic);
            partitions.append_value(run.partition.partition);
            offsets.append_value(batch.offsets[*row as usize]);
        }
        at = until;
    }
    [Arc::new(topics.finish()), Arc::new(partitions.finish()), Arc::new(offsets.finish())]
}
