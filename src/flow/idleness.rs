//! Detects partitions that become idle, and a stream that is quiet as a whole.
//!
//! In: how far each partition was read, how far that counted, and how far it reaches. Out: the lag, partitions that have become idle, the
//! instant at which the stream counts as quiet. Reads no clock: time is an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use turnstile_message::TopicPartition;

use super::worker_shared::WorkerProgress;

/// What is known of the partitions' activity.
#[derive(Debug)]
pub(crate) struct Idleness {
    idle_after: Option<Duration>,
    quiet_after: Option<Duration>,
    partitions: HashMap<TopicPartition, PartitionActivity>,
    /// Partitions that have fallen idle since the last cut, with the offset up to which they were read.
    fell_idle: Vec<(TopicPartition, i64)>,
    /// Since when no partition has moved.
    still_since: Instant,
    lag: Option<u64>,
}

/// When a partition last had a message that could move the event time: rejected ones, and those ahead of the clock, are no
/// sign of life.
#[derive(Debug)]
struct PartitionActivity {
    position: i64,
    active_until: Option<i64>,
    moved_at: Instant,
    idle: bool,
}

/// Partitions with the first offset that they hold and the one after the last.
pub(crate) type OffsetRanges = [(TopicPartition, (i64, i64))];

impl Idleness {
    /// Nothing has moved yet at `now`. `idle_us` and `quiet_us` as the pipeline says.
    pub(crate) fn new(idle_us: Option<i64>, quiet_us: Option<i64>, now: Instant) -> Self {
        let duration = |us: Option<i64>| us.map(|us| Duration::from_micros(us.max(0) as u64));
        Self {
            idle_after: duration(idle_us),
            quiet_after: duration(quiet_us),
            partitions: HashMap::new(),
            fell_idle: Vec::new(),
            still_since: now,
            lag: None,
        }
    }

    /// Messages in the topics that are not read yet; `None` while no broker answers.
    pub(crate) fn lag(&self) -> Option<u64> {
        self.lag
    }

    /// Whether partitions have fallen idle since [`Idleness::take_fell_idle`].
    pub(crate) fn has_news(&self) -> bool {
        !self.fell_idle.is_empty()
    }

    /// The partitions that have fallen idle since the last call.
    pub(crate) fn take_fell_idle(&mut self) -> Vec<(TopicPartition, i64)> {
        std::mem::take(&mut self.fell_idle)
    }

    /// Takes in how far everything was read and how far the partitions reach; `None`: no broker answered.
    ///
    /// A partition is idle once it is read to its end and nothing that counts came for as long as the pipeline says.
    pub(crate) fn observe(&mut self, now: Instant, progress: &[WorkerProgress], ranges: Option<&OffsetRanges>) {
        self.note_moves(now, progress);
        // A broker that does not answer now says nothing about idleness; reading reports its own troubles.
        let Some(ranges) = ranges else {
            self.lag = None;
            return;
        };
        if self.lag.is_none() {
            // Silence counts from when the broker can be heard.
            self.still_since = now;
            self.partitions.values_mut().for_each(|activity| activity.moved_at = now);
        }
        let mut lag = 0;
        for (partition, (_, end)) in ranges {
            let Some(activity) = self.partitions.get_mut(partition) else { continue };
            lag += (end - activity.position).max(0) as u64;
            let still_for = now.duration_since(activity.moved_at);
            let idle = activity.position >= *end && self.idle_after.is_some_and(|after| still_for >= after);
            if idle && !activity.idle {
                activity.idle = true;
                self.fell_idle.push((partition.clone(), activity.position));
            }
        }
        self.lag = Some(lag);
    }

    /// When the whole stream counts as quiet, if nothing moves until then.
    pub(crate) fn quiet_at(&self) -> Option<Instant> {
        let after = self.quiet_after.filter(|_| self.lag == Some(0))?;
        Some(self.still_since + after)
    }

    fn note_moves(&mut self, now: Instant, progress: &[WorkerProgress]) {
        for WorkerProgress { partition, next_offset: position, active_until, .. } in progress {
            let activity = self.partitions.entry(partition.clone()).or_insert_with(|| PartitionActivity {
                position: *position,
                active_until: *active_until,
                moved_at: now,
                idle: false,
            });
            activity.position = *position;
            if activity.active_until != *active_until {
                (activity.active_until, activity.moved_at, activity.idle) = (*active_until, now, false);
                self.still_since = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn partition() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    fn at(next_offset: i64) -> Vec<WorkerProgress> {
        rejecting_since(next_offset, next_offset)
    }

    /// Read to `next_offset`, of which nothing counts from `active_until` on.
    fn rejecting_since(active_until: i64, next_offset: i64) -> Vec<WorkerProgress> {
        let active_until = Some(active_until);
        vec![WorkerProgress { partition: partition(), next_offset, event_us: None, active_until, timestamp_ms: None }]
    }

    fn until(end: i64) -> Vec<(TopicPartition, (i64, i64))> {
        vec![(partition(), (0, end))]
    }

    fn idleness() -> (Idleness, Instant) {
        let now = Instant::now();
        (Idleness::new(Some(3_000_000), Some(10_000_000), now), now)
    }

    #[test]
    fn a_partition_that_is_read_to_its_end_falls_idle_once() {
        let (mut idleness, begin) = idleness();
        idleness.observe(begin, &at(5), Some(&until(5)));
        idleness.observe(begin + 2 * SECOND, &at(5), Some(&until(5)));
        assert!(!idleness.has_news());
        idleness.observe(begin + 3 * SECOND, &at(5), Some(&until(5)));
        assert_eq!(idleness.take_fell_idle(), [(partition(), 5)]);
        idleness.observe(begin + 9 * SECOND, &at(5), Some(&until(5)));
        assert!(!idleness.has_news(), "it was reported before");
        idleness.observe(begin + 10 * SECOND, &at(6), Some(&until(6)));
        idleness.observe(begin + 13 * SECOND, &at(6), Some(&until(6)));
        assert_eq!(idleness.take_fell_idle(), [(partition(), 6)], "it moved and fell idle again");
    }

    #[test]
    fn a_partition_with_unread_messages_is_not_idle() {
        let (mut idleness, begin) = idleness();
        for seconds in 0..60 {
            idleness.observe(begin + seconds * SECOND, &at(5), Some(&until(9)));
        }
        assert_eq!((idleness.has_news(), idleness.lag(), idleness.quiet_at()), (false, Some(4), None));
    }

    #[test]
    fn messages_that_are_rejected_are_no_sign_of_life() {
        let (mut idleness, begin) = idleness();
        for seconds in 0..4 {
            let read = 5 + i64::from(seconds);
            idleness.observe(begin + seconds * SECOND, &rejecting_since(5, read), Some(&until(read)));
        }
        assert_eq!(idleness.take_fell_idle(), [(partition(), 8)]);
        assert_eq!(idleness.quiet_at(), Some(begin + 10 * SECOND));
    }

    #[test]
    fn silence_counts_from_when_a_broker_answers() {
        let (mut idleness, begin) = idleness();
        idleness.observe(begin, &at(5), Some(&until(5)));
        assert_eq!(idleness.quiet_at(), Some(begin + 10 * SECOND));
        idleness.observe(begin + 60 * SECOND, &at(5), None);
        assert_eq!((idleness.lag(), idleness.quiet_at()), (None, None));
        let answered = begin + 61 * SECOND;
        idleness.observe(answered, &at(5), Some(&until(5)));
        assert!(!idleness.has_news());
        assert_eq!(idleness.quiet_at(), Some(answered + 10 * SECOND));
    }
}
