//! Conservation: every row that was read is in exactly one of the terms.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What became of all rows read since the pipeline began. Counters never go down.
///
/// `read = aggregated + filtered + duplicate + late + dead_lettered + tombstones`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Messages read from the topic.
    pub read: u64,
    /// Rows that entered at least one window.
    pub aggregated: u64,
    /// Rows that the query's WHERE left out.
    pub filtered: u64,
    /// Rows whose dedup columns had been seen.
    pub duplicate: u64,
    /// Rows that came after their windows had closed, and were dropped.
    pub late: u64,
    /// Rows written to the dead letters.
    pub dead_lettered: u64,
    /// Messages without a value.
    pub tombstones: u64,
    /// Counts outside the identity, such as local times that do not exist.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
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

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(read: u64, aggregated: u64, late: u64) -> Counters {
        Counters { read, aggregated, late, ..Counters::default() }
    }

    #[test]
    fn a_row_that_is_in_no_term_is_seen() {
        assert_eq!(counters(10, 7, 3).imbalance(&counters(4, 4, 0)), None);
        let lost = counters(10, 7, 2).imbalance(&Counters::default()).unwrap();
        assert!(lost.starts_with("read 10 is not the sum of aggregated 7"), "{lost}");
    }

    #[test]
    fn a_counter_that_goes_down_is_seen() {
        let down = counters(10, 5, 5).imbalance(&counters(10, 7, 3)).unwrap();
        assert_eq!(down, "aggregated went down from 7 to 5");
    }

    #[test]
    fn a_sum_past_the_largest_number_is_no_panic() {
        assert!(counters(3, u64::MAX, 4).imbalance(&Counters::default()).is_some());
    }
}
