//! How long a partition had no leader, according to librdkafka's statistics.
//!
//! In: statistics, a few times a second. Out: one [`LeaderChange`] for each partition whose leader was lost and came
//! back, or was replaced. Times are as precise as the statistics: a quarter of a second at both ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::Statistics;

/// How often statistics come: librdkafka's `statistics.interval.ms`.
pub(crate) const INTERVAL_MS: &str = "250";
/// The same where there are many partitions, whose statistics take long to write and read.
pub(crate) const WIDE_INTERVAL_MS: &str = "1000";
/// With more partitions than this, the wide interval.
pub(crate) const WIDE: usize = 64;

/// A leader that is the same and back within this time is not reported: a connection was reopened.
const BLINK: Duration = Duration::from_secs(1);

/// Most changes kept until they are taken; the oldest are dropped.
const KEPT: usize = 1024;

/// A partition can be fetched again after it could not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderChange {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The broker that led it before.
    pub from: i32,
    /// The broker that leads it now: connected, and being fetched from.
    pub to: i32,
    /// From the loss of the first to the fetch from the second.
    pub gap: Duration,
}

impl std::fmt::Display for LeaderChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { topic, partition, from, to, gap } = self;
        write!(f, "leader of {topic}[{partition}] is back after {:.1} s: broker {to}", gap.as_secs_f64())?;
        if from == to { f.write_str(" again") } else { write!(f, " instead of {from}") }
    }
}

#[derive(Default)]
pub(crate) struct Leaders(Mutex<LeaderTable>);

#[derive(Default)]
struct LeaderTable {
    partitions: BTreeMap<(String, i32), PartitionLeader>,
    seen_at: Option<Instant>,
    changes: VecDeque<LeaderChange>,
}

struct PartitionLeader {
    by: i32,
    lost_at: Option<Instant>,
}

/// One partition in the statistics: its leader, `None` while it cannot be fetched.
type LeaderSample = (String, i32, Option<i32>);

impl Leaders {
    pub(crate) fn observe(&self, statistics: &Statistics, at: Instant) {
        self.lock().observe(samples(statistics), at);
    }

    pub(crate) fn take(&self) -> Vec<LeaderChange> {
        self.lock().changes.drain(..).collect()
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, LeaderTable> {
        // Each entry is whole after its assignment, so a panic elsewhere cannot have left it half written.
        self.0.lock()
    }
}

impl LeaderTable {
    fn observe(&mut self, all: Vec<LeaderSample>, at: Instant) {
        let before = self.seen_at.replace(at).unwrap_or(at);
        for (topic, partition, leader) in all {
            let key = (topic, partition);
            let Some(current) = self.partitions.get_mut(&key) else {
                if let Some(by) = leader {
                    self.partitions.insert(key, PartitionLeader { by, lost_at: None });
                }
                continue;
            };
            let Some(to) = leader else {
                current.lost_at.get_or_insert(at);
                continue;
            };
            // A change between two statistics took less than the time between them.
            let lost_at = current.lost_at.take().or((to != current.by).then_some(before));
            let from = std::mem::replace(&mut current.by, to);
            let is_news = |lost_at: &Instant| to != from || at.duration_since(*lost_at) >= BLINK;
            if let Some(lost_at) = lost_at.filter(is_news) {
                if self.changes.len() == KEPT {
                    self.changes.pop_front();
                }
                let (topic, gap) = (key.0, at.duration_since(lost_at));
                self.changes.push_back(LeaderChange { topic, partition, from, to, gap });
            }
        }
    }
}

/// Partitions that are read, each with the leader that it is fetched from.
fn samples(statistics: &Statistics) -> Vec<LeaderSample> {
    let up: BTreeSet<i32> = statistics.brokers.values().filter(|b| b.state == "UP").map(|b| b.nodeid).collect();
    let mut all = Vec::new();
    for topic in statistics.topics.values() {
        for partition in topic.partitions.values().filter(|p| p.partition >= 0 && p.desired) {
            let leader = fetched_leader(partition.leader, &partition.fetch_state, &up);
            all.push((topic.topic.clone(), partition.partition, leader));
        }
    }
    all
}

/// The leader, if it is fetched from. -1 stands for no leader, and also for a broker that is known by its address alone,
/// which may well be up.
fn fetched_leader(leader: i32, fetch_state: &str, up: &BTreeSet<i32>) -> Option<i32> {
    (leader >= 0 && fetch_state == "active" && up.contains(&leader)).then_some(leader)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(samples: &[(u64, Option<i32>)]) -> Vec<String> {
        let (mut inner, begin) = (LeaderTable::default(), Instant::now());
        for (ms, leader) in samples {
            inner.observe(vec![("t".to_owned(), 0, *leader)], begin + Duration::from_millis(*ms));
        }
        inner.changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn no_leader_is_not_a_broker_without_a_number() {
        let up = BTreeSet::from([-1, 2]);
        let all = [(-1, "active"), (2, "active"), (2, "offset-query"), (3, "active")];
        assert_eq!(all.map(|(leader, state)| fetched_leader(leader, state, &up)), [None, Some(2), None, None]);
    }

    #[test]
    fn a_replaced_leader_is_reported_with_the_time_without_one() {
        let samples = [(0, None), (250, Some(1)), (500, None), (750, None), (3500, Some(2)), (3750, Some(2))];
        assert_eq!(watch(&samples), ["leader of t[0] is back after 3.0 s: broker 2 instead of 1"]);
    }

    #[test]
    fn a_leader_that_returns_is_reported_too_and_the_first_connection_is_no_change() {
        assert_eq!(watch(&[(0, None), (250, Some(1)), (500, Some(1))]), Vec::<String>::new());
        assert_eq!(watch(&[(0, Some(1)), (250, None), (500, Some(1))]), Vec::<String>::new());
        let samples = [(0, Some(1)), (250, None), (1250, Some(1))];
        assert_eq!(watch(&samples), ["leader of t[0] is back after 1.0 s: broker 1 again"]);
    }

    #[test]
    fn a_change_between_two_samples_took_less_than_the_time_between_them() {
        assert_eq!(
            watch(&[(0, Some(1)), (250, Some(3))]),
            ["leader of t[0] is back after 0.2 s: broker 3 instead of 1"]
        );
    }
}
