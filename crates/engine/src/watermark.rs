//! How far event time has advanced: per partition, and for all of them.

use std::collections::{BTreeMap, HashMap};

use turnstile_message::{PartitionPosition, TopicPartition};

use crate::part::PartitionPart;

/// The partitions and their common watermark.
#[derive(Debug, Default)]
pub(crate) struct Watermark {
    partitions: BTreeMap<TopicPartition, PartitionPosition>,
}

impl Watermark {
    /// Adds a partition that will be read from `next_offset`; what is known of its event time stays.
    pub(crate) fn add(&mut self, partition: TopicPartition, next_offset: i64) {
        let new = || PartitionPosition::new(partition.clone(), next_offset);
        self.partitions.entry(partition.clone()).or_insert_with(new).next_offset = next_offset;
    }

    pub(crate) fn restore(&mut self, state: PartitionPosition) {
        self.partitions.insert(state.partition.clone(), state);
    }

    /// Applies a worker's part; new messages end idleness.
    pub(crate) fn update(&mut self, part: PartitionPart) {
        let new = || PartitionPosition::new(part.partition.clone(), 0);
        let state = self.partitions.entry(part.partition.clone()).or_insert_with(new);
        if part.next_offset != state.next_offset {
            state.idle = false;
            state.fingerprint = Some(part.fingerprint);
            state.leader_epoch = None;
        }
        state.next_offset = part.next_offset;
        state.max_event_us = state.max_event_us.max(part.max_event_us);
    }

    /// Marks a partition as idle if no messages came after `next_offset`, up to which it was read and quiet.
    pub(crate) fn mark_idle(&mut self, partition: &TopicPartition, next_offset: i64) {
        if let Some(state) = self.partitions.get_mut(partition) {
            state.idle |= state.next_offset <= next_offset;
        }
    }

    pub(crate) fn partitions(&self) -> impl Iterator<Item = &PartitionPosition> {
        self.partitions.values()
    }

    /// The latest event time that every partition has reached, less `delay_us`: the minimum over the
    /// partitions that are not idle, the maximum when all are, nothing while one that is not has no message.
    pub(crate) fn now(&self, delay_us: i64) -> Option<i64> {
        self.with(&[], delay_us)
    }

    /// What [`Watermark::now`] would be if the partitions in `updates` had reached these event times.
    pub(crate) fn with(&self, updates: &[(TopicPartition, i64)], delay_us: i64) -> Option<i64> {
        // Called every few milliseconds for thousands of partitions: one lookup each.
        let updates: HashMap<&TopicPartition, i64> =
            updates.iter().map(|(partition, event_us)| (partition, *event_us)).collect();
        let event_us = |p: &PartitionPosition| p.max_event_us.max(updates.get(&p.partition).copied());
        let mut active = self.partitions.values().filter(|p| !p.idle).peekable();
        let event_us = if active.peek().is_none() {
            self.partitions.values().filter_map(event_us).max()?
        } else {
            // None is less than any event time: one partition without a message decides.
            active.map(event_us).min().flatten()?
        };
        Some(event_us.saturating_sub(delay_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: i32, max_event_us: Option<i64>, idle: bool) -> PartitionPosition {
        PartitionPosition { max_event_us, idle, ..PartitionPosition::new(TopicPartition::new("t", partition), 1) }
    }

    fn watermark(states: impl IntoIterator<Item = PartitionPosition>) -> Option<i64> {
        let mut watermark = Watermark::default();
        states.into_iter().for_each(|state| watermark.restore(state));
        watermark.now(5)
    }

    #[test]
    fn the_slowest_partition_that_is_not_idle_decides() {
        assert_eq!(watermark([at(0, Some(100), false), at(1, Some(60), false)]), Some(55));
        assert_eq!(watermark([at(0, Some(100), false), at(1, Some(60), true)]), Some(95));
        assert_eq!(watermark([at(0, Some(100), false), at(1, None, false)]), None);
        assert_eq!(watermark([at(0, Some(100), false), at(1, None, true)]), Some(95));
    }

    #[test]
    fn when_all_are_idle_the_furthest_decides_in_whatever_order_they_became_idle() {
        assert_eq!(watermark([at(0, Some(100), true), at(1, Some(60), true)]), Some(95));
        assert_eq!(watermark([at(0, None, true)]), None);
    }
}
