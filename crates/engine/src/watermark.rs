//! How far event time has advanced: per partition, and for all of them.

use std::collections::{BTreeMap, HashMap};

use turnstile_message::{PartitionPosition, TopicPartition};

use crate::part::PartitionPart;

/// The partitions and their common watermark.
#[derive(Debug, Default)]
pub(crate) struct Watermark {
    partitions: BTreeMap<TopicPartition, PartitionState>,
}

#[derive(Debug)]
struct PartitionState {
    position: PartitionPosition,
    /// The offset after the last message, since the start, that could move the event time.
    active_until: Option<i64>,
}

impl PartitionState {
    fn new(position: PartitionPosition) -> Self {
        Self { position, active_until: None }
    }
}

impl Watermark {
    /// Adds a partition that will be read from `next_offset`; what is known of its event time stays.
    pub(crate) fn add(&mut self, partition: TopicPartition, next_offset: i64) {
        self.state(&partition).position.next_offset = next_offset;
    }

    pub(crate) fn restore(&mut self, position: PartitionPosition) {
        self.partitions.insert(position.partition.clone(), PartitionState::new(position));
    }

    /// Applies a worker's part. Messages that could move the event time end idleness; others, which say nothing about time,
    /// do not.
    pub(crate) fn update(&mut self, part: PartitionPart) {
        let PartitionState { position, active_until } = self.state(&part.partition);
        if part.active_until > *active_until {
            (*active_until, position.idle) = (part.active_until, false);
        }
        if part.next_offset != position.next_offset {
            position.fingerprint = part.fingerprint;
            position.leader_epoch = None;
        }
        position.next_offset = part.next_offset;
        position.max_event_us = position.max_event_us.max(part.max_event_us);
    }

    fn state(&mut self, partition: &TopicPartition) -> &mut PartitionState {
        let new = || PartitionState::new(PartitionPosition::new(partition.clone(), 0));
        self.partitions.entry(partition.clone()).or_insert_with(new)
    }

    /// Marks a partition as idle if nothing that could move the event time came at or after `next_offset`, up to which it was
    /// read and quiet.
    pub(crate) fn mark_idle(&mut self, partition: &TopicPartition, next_offset: i64) {
        if let Some(state) = self.partitions.get_mut(partition) {
            state.position.idle |= state.active_until.is_none_or(|active_until| active_until <= next_offset);
        }
    }

    pub(crate) fn partitions(&self) -> impl Iterator<Item = &PartitionPosition> {
        self.partitions.values().map(|state| &state.position)
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
        let mut active = self.partitions().filter(|p| !p.idle).peekable();
        let event_us = if active.peek().is_none() {
            self.partitions().filter_map(event_us).max()?
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
