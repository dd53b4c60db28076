//! Where every message read ended up.

use std::ops::AddAssign;

/// Counts of messages, cumulative or of one part. The first seven satisfy the conservation identity
/// `read = aggregated + filtered + duplicate + late + dead_lettered + tombstones`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
    /// Messages that could not be decoded or whose event time lies in the future.
    pub dead_lettered: u64,
    /// Messages without a value.
    pub tombstones: u64,
    /// Aggregated messages that came late and corrected a window published before.
    pub corrections: u64,
    /// Local times that happened twice; the first was taken.
    pub ambiguous_times: u64,
    /// Local times that never happened; moved later by the gap.
    pub nonexistent_times: u64,
}

impl Counters {
    /// Whether every message read is in exactly one term.
    pub fn balanced(&self) -> bool {
        let terms = [self.aggregated, self.filtered, self.duplicate, self.late, self.dead_lettered, self.tombstones];
        self.read == terms.iter().sum::<u64>()
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
    }
}
