//! How far a worker has read its partitions.

use std::collections::BTreeMap;

use turnstile_message::{MessageBatch, TopicPartition};

use crate::fingerprint::fingerprint;
use crate::part::PartitionPart;
use crate::row_mask::RowMask;

/// The partitions of a worker that had a message.
#[derive(Debug, Default)]
pub(crate) struct PartitionParts {
    partitions: BTreeMap<TopicPartition, PartitionPart>,
}

impl PartitionParts {
    /// Records the messages of `batch`; `rows` are those that were decoded, at `event_us`. Only rows in `keep` move the
    /// event time.
    pub(crate) fn track(&mut self, batch: &MessageBatch, rows: &[u32], event_us: &[i64], keep: &RowMask) {
        let mut at = 0;
        for run in &batch.runs {
            let (mut max_event_us, mut active_until) = (None, None);
            while at < rows.len() && (rows[at] as usize) < run.rows.end {
                if keep.keeps(at) {
                    max_event_us = max_event_us.max(Some(event_us[at]));
                    active_until = Some(batch.offsets[rows[at] as usize] + 1);
                }
                at += 1;
            }
            let last = run.rows.end - 1;
            let part = self.partitions.entry(run.partition.clone()).or_insert_with(|| PartitionPart {
                partition: run.partition.clone(),
                next_offset: 0,
                max_event_us: None,
                active_until: None,
                fingerprint: 0,
            });
            part.next_offset = batch.offsets[last] + 1;
            part.max_event_us = part.max_event_us.max(max_event_us);
            part.active_until = part.active_until.max(active_until);
            let (key, value) = (batch.keys.get(last), batch.values.get(last));
            part.fingerprint = fingerprint(batch.offsets[last], batch.timestamps_ms[last], key, value);
        }
    }

    /// Records that everything before `next_offset` was read or does not exist.
    pub(crate) fn skip_to(&mut self, partition: &TopicPartition, next_offset: i64) {
        if let Some(part) = self.partitions.get_mut(partition) {
            part.next_offset = part.next_offset.max(next_offset);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &PartitionPart> {
        self.partitions.values()
    }

    pub(crate) fn to_vec(&self) -> Vec<PartitionPart> {
        self.partitions.values().cloned().collect()
    }
}
