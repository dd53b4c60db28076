//! Conservation: every message that was read is in exactly one of the terms.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// What became of the messages read. A ledger's counters are cumulative and never go down.
///
/// `read = aggregated + filtered + duplicate + late + dead_lettered + tombstones`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "CountersText", into = "CountersText")]
pub struct Counters {
    /// Messages read from the topic.
    pub read: u64,
    /// Messages that are part of at least one window.
    pub aggregated: u64,
    /// Messages that the query's WHERE left out.
    pub filtered: u64,
    /// Messages seen before.
    pub duplicate: u64,
    /// Messages whose windows had all closed.
    pub late: u64,
    /// Messages that could not be processed or whose event time lies in the future.
    pub dead_lettered: u64,
    /// Messages without a value.
    pub tombstones: u64,
    /// Aggregated messages that came late and corrected a window published before.
    pub corrections: u64,
    /// Local times that happened twice; the first was taken.
    pub ambiguous_times: u64,
    /// Local times that never happened; moved later by the gap.
    pub nonexistent_times: u64,
    /// Counts that a newer version recorded and this one does not know.
    pub others: BTreeMap<String, u64>,
}

impl Counters {
    /// The terms of the identity's right side, with their names.
    pub fn terms(&self) -> [(&'static str, u64); 6] {
        [
            ("aggregated", self.aggregated),
            ("filtered", self.filtered),
            ("duplicate", self.duplicate),
            ("late", self.late),
            ("dead_lettered", self.dead_lettered),
            ("tombstones", self.tombstones),
        ]
    }

    /// Says what is wrong, or nothing when the identity holds and no counter is below `earlier`.
    pub fn imbalance(&self, earlier: &Counters) -> Option<String> {
        let sum = self.terms().iter().try_fold(0u64, |sum, (_, term)| sum.checked_add(*term));
        if sum != Some(self.read) {
            let terms: Vec<_> = self.terms().iter().map(|(name, count)| format!("{name} {count}")).collect();
            return Some(format!("read {} is not the sum of {}", self.read, terms.join(" + ")));
        }
        let own = self.terms().into_iter().chain([("read", self.read)]);
        let before = earlier.terms().into_iter().chain([("read", earlier.read)]);
        own.zip(before)
            .find(|((_, now), (_, then))| now < then)
            .map(|((name, now), (_, then))| format!("{name} went down from {then} to {now}"))
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.aggregated += other.aggregated;
        self.filtered += other.filtered;
        self.duplicate += other.duplicate;
        self.late += other.late;
        self.dead_lettered += other.dead_lettered;
        self.tombstones += other.tombstones;
        self.corrections += other.corrections;
        self.ambiguous_times += other.ambiguous_times;
        self.nonexistent_times += other.nonexistent_times;
        for (name, count) in other.others {
            *self.others.entry(name).or_default() += count;
        }
    }
}

/// The JSON of a ledger's slot: counts beside the identity are in one map, which leaves out those that are 0.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct CountersText {
    read: u64,
    aggregated: u64,
    filtered: u64,
    duplicate: u64,
    late: u64,
    dead_lettered: u64,
    tombstones: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    others: BTreeMap<String, u64>,
}

const CORRECTIONS: &str = "corrections";
const AMBIGUOUS_TIMES: &str = "ambiguous_times";
const NONEXISTENT_TIMES: &str = "nonexistent_times";

impl From<CountersText> for Counters {
    fn from(text: CountersText) -> Self {
        let mut others = text.others;
        let mut take = |name| others.remove(name).unwrap_or_default();
        Self {
            read: text.read,
            aggregated: text.aggregated,
            filtered: text.filtered,
            duplicate: text.duplicate,
            late: text.late,
            dead_lettered: text.dead_lettered,
            tombstones: text.tombstones,
            corrections: take(CORRECTIONS),
            ambiguous_times: take(AMBIGUOUS_TIMES),
            nonexistent_times: take(NONEXISTENT_TIMES),
            others,
        }
    }
}

impl From<Counters> for CountersText {
    fn from(counters: Counters) -> Self {
        let mut others = counters.others;
        let known = [
            (CORRECTIONS, counters.corrections),
            (AMBIGUOUS_TIMES, counters.ambiguous_times),
            (NONEXISTENT_TIMES, counters.nonexistent_times),
        ];
        others.extend(known.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name.to_owned(), count)));
        Self {
            read: counters.read,
            aggregated: counters.aggregated,
            filtered: counters.filtered,
            duplicate: counters.duplicate,
            late: counters.late,
            dead_lettered: counters.dead_lettered,
            tombstones: counters.tombstones,
            others,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(read: u64, aggregated: u64, late: u64) -> Counters {
        Counters { read, aggregated, late, ..Counters::default() }
    }

    #[test]
    fn a_row_that_is_in_no_term_is_detected() {
        assert_eq!(counters(10, 7, 3).imbalance(&counters(4, 4, 0)), None);
        let lost = counters(10, 7, 2).imbalance(&Counters::default()).unwrap();
        assert!(lost.starts_with("read 10 is not the sum of aggregated 7"), "{lost}");
    }

    #[test]
    fn a_counter_that_goes_down_is_detected() {
        let down = counters(10, 5, 5).imbalance(&counters(10, 7, 3)).unwrap();
        assert_eq!(down, "aggregated went down from 7 to 5");
    }

    #[test]
    fn a_sum_beyond_the_largest_number_does_not_panic() {
        assert!(counters(3, u64::MAX, 4).imbalance(&Counters::default()).is_some());
    }

    #[test]
    fn the_json_is_that_of_the_slots_written_so_far_and_counts_of_newer_versions_survive() {
        let plain =
            r#"{"read":10,"aggregated":7,"filtered":0,"duplicate":0,"late":3,"dead_lettered":0,"tombstones":0}"#;
        assert_eq!(serde_json::to_string(&counters(10, 7, 3)).unwrap(), plain);
        assert_eq!(serde_json::from_str::<Counters>(plain).unwrap(), counters(10, 7, 3));
        assert_eq!(serde_json::from_str::<Counters>("{}").unwrap(), Counters::default());

        let whole = r#"{"read":1,"aggregated":1,"filtered":2,"duplicate":3,"late":4,"dead_lettered":5,"tombstones":6,"others":{"ambiguous_times":8,"basins":11,"corrections":7,"nonexistent_times":9,"retries":12}}"#;
        let mut read: Counters = serde_json::from_str(whole).unwrap();
        assert_eq!((read.corrections, read.ambiguous_times, read.nonexistent_times), (7, 8, 9));
        assert_eq!(read.others, BTreeMap::from([("basins".to_owned(), 11), ("retries".to_owned(), 12)]));
        assert_eq!(serde_json::to_string(&read).unwrap(), whole);
        read += Counters { corrections: 1, ..counters(1, 1, 0) };
        assert_eq!((read.corrections, read.others["basins"]), (8, 11));
    }
}
