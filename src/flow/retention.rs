//! Warns before retention deletes messages that are not read yet.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use turnstile_message::TopicPartition;

use super::worker_shared::WorkerProgress;

/// The oldest unread message has come so far on its way to deletion, in percent of the topic's retention, before a
/// warning is due.
const AGE_PERCENT: i64 = 80;
/// A warning is due if deletion would reach unread messages within this time.
const NEAR: Duration = Duration::from_secs(600);
/// How long the rate of deletion is measured before it is measured again.
const MEASURE: Duration = Duration::from_secs(600);
/// Minimum time between two warnings.
const EVERY: Duration = Duration::from_secs(60);

/// So many partitions at risk are named in a warning.
const NAMED: usize = 4;

/// What it knows of earlier rounds.
#[derive(Debug, Default)]
pub(crate) struct RetentionWatch {
    /// A partition's first offset, and when it was seen.
    lows: HashMap<TopicPartition, (Instant, i64)>,
    warned_at: Option<Instant>,
}

impl RetentionWatch {
    /// A warning, when one is due. `ranges`: first offset held and the one after the last; `retention_ms` a topic.
    pub(crate) fn observe(
        &mut self,
        now: Instant,
        now_ms: i64,
        progress: &[WorkerProgress],
        ranges: &[(TopicPartition, (i64, i64))],
        retention_ms: &BTreeMap<String, i64>,
    ) -> Option<String> {
        let mut risks = Vec::new();
        for (partition, (low, high)) in ranges {
            let (since, first) = *self.lows.entry(partition.clone()).or_insert((now, *low));
            let Some(at) = progress.iter().find(|p| p.partition == *partition) else { continue };
            let unread = high - at.next_offset;
            if unread <= 0 {
                continue;
            }
            let measured = now.duration_since(since);
            let kept_ms = retention_ms.get(&*partition.topic).copied();
            let age = at.timestamp_ms.map(|at| now_ms - at).zip(kept_ms);
            if let Some((age_ms, kept_ms)) = age.filter(|(age, kept)| *age >= kept / 100 * AGE_PERCENT) {
                risks.push(format!(
                    "{partition}: the oldest of {unread} unread messages is about {} old, and the topic deletes messages \
                     after {}",
                    span(age_ms),
                    span(kept_ms)
                ));
            } else if *low > first && !measured.is_zero() {
                let pace = (low - first) as f64 / measured.as_secs_f64();
                let left = (at.next_offset - low).max(0) as f64 / pace;
                if left < NEAR.as_secs_f64() {
                    risks.push(format!(
                        "{partition}: retention deletes {pace:.0} messages/s and reaches the {unread} unread messages in \
                         about {}",
                        span((left * 1000.0) as i64)
                    ));
                }
            }
            if measured > MEASURE {
                self.lows.insert(partition.clone(), (now, *low));
            }
        }
        if risks.is_empty() || self.warned_at.is_some_and(|at| now.duration_since(at) < EVERY) {
            return None;
        }
        let more = risks.len().saturating_sub(NAMED);
        risks.truncate(NAMED);
        let mut warning = risks.join("; ");
        if more > 0 {
            warning.push_str(&format!("; and {more} more partitions"));
        }
        self.warned_at = Some(now);
        Some(format!(
            "{warning}; if messages are deleted before they are read, this pipeline stops: raise the retention, or \
             read faster"
        ))
    }
}

/// A time as a person says it.
fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn at(next_offset: i64, timestamp_ms: i64) -> WorkerProgress {
        let partition = TopicPartition::new("t", 0);
        WorkerProgress { partition, next_offset, event_us: None, active_until: None, timestamp_ms: Some(timestamp_ms) }
    }

    fn ranges(low: i64, high: i64) -> Vec<(TopicPartition, (i64, i64))> {
        vec![(TopicPartition::new("t", 0), (low, high))]
    }

    #[test]
    fn a_reader_whose_next_message_is_nearly_too_old_is_warned_once_a_minute() {
        let mut retention = RetentionWatch::default();
        let kept = BTreeMap::from([("t".to_owned(), 10 * HOUR_MS)]);
        let now = Instant::now();
        let mut observe = |now, age, next| {
            retention.observe(now, 100 * HOUR_MS, &[at(next, 100 * HOUR_MS - age)], &ranges(0, 9), &kept)
        };
        assert_eq!(observe(now, 7 * HOUR_MS, 5), None);
        assert_eq!(observe(now, 9 * HOUR_MS, 9), None, "there is nothing unread");
        let warning = observe(now, 9 * HOUR_MS, 5).unwrap();
        assert!(warning.contains("t[0]: the oldest of 4 unread messages is about 9 h old"), "{warning}");
        assert_eq!(observe(now + Duration::from_secs(30), 9 * HOUR_MS, 5), None);
        assert!(observe(now + Duration::from_secs(61), 9 * HOUR_MS, 5).is_some());
    }

    #[test]
    fn deletion_that_comes_nearer_is_warned_of_and_deletion_far_behind_is_not() {
        let now = Instant::now();
        let later = now + Duration::from_secs(10);
        for (next, warned) in [(1_000, true), (1_000_000, false)] {
            let mut retention = RetentionWatch::default();
            let mut observe =
                |now, low| retention.observe(now, 0, &[at(next, 0)], &ranges(low, 2_000_000), &BTreeMap::new());
            assert_eq!(observe(now, 0), None);
            assert_eq!(observe(later, 500).is_some(), warned, "{next}");
        }
    }
}
