//! How far a worker has read its partitions.

use std::collections::BTreeMap;

use turnstile_message::{MessageBatch, TopicPartition};

use crate::fingerprint::fingerprint;
use crate::part::PartitionPart;
use crate::row_mask::RowMask;

/// The partitions of a worker that were read.
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
            let part = self.part(&run.partition);
            part.next_offset = batch.offsets[last] + 1;
            part.max_event_us = part.max_event_us.max(max_event_us);
            part.active_until = part.active_until.max(active_until);
            let (key, value) = (batch.keys.get(last), batch.values.get(last));
            part.fingerprint = Some(fingerprint(batch.offsets[last], batch.timestamps_ms[last], key, value));
        }
    }

    /// Records that everything before `next_offset` was read or does not exist, such as the messages of aborted transactions.
    pub(crate) fn skip_to(&mut self, partition: &TopicPartition, next_offset: i64) {
        let part = self.part(partition);
        part.next_offset = part.next_offset.max(next_offset);
    }

    fn part(&mut self, partition: &TopicPartition) -> &mut PartitionPart {
        self.partitions.entry(partition.clone()).or_insert_with(|| PartitionPart {
            partition: partition.clone(),
            next_offset: 0,
            max_event_us: None,
            active_until: None,
            fingerprint: None,
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &PartitionPart> {
        self.partitions.values()
    }

    pub(crate) fn to_vec(&self) -> Vec<PartitionPart> {
        self.partitions.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_exist_moves_the_position_of_a_partition_without_a_message() {
        let mut parts = PartitionParts::default();
        let partition = TopicPartition::new("t", 1);
        for (next_offset, expected) in [(7, 7), (5, 7), (152, 152)] {
            parts.skip_to(&partition, next_offset);
            let part = parts.iter().next().unwrap();
            assert_eq!((part.next_offset, part.fingerprint, part.active_until), (expected, None, None));
        }
    }
}
