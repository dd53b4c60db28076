//! What became of a batch's messages, from what the query observed.

use turnstile_message::Counters;
use turnstile_spark::{BatchProgress, OBSERVED_MESSAGES, OBSERVED_ROWS, OBSERVED_STREAM};

/// The counter of messages that are counted as aggregated though some of them may be late, duplicates or filtered: the query's
/// counts of their batches were lost.
pub(super) const UNRESOLVED: &str = "unresolved";

/// The operator that drops duplicates.
const DEDUP: &str = "dedupeWithinWatermark";

/// Messages of one batch, or of several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BatchCounts {
    pub(super) read: u64,
    pub(super) tombstones: u64,
    pub(super) rejected: u64,
    pub(super) late: u64,
    pub(super) duplicates: u64,
    pub(super) filtered: u64,
    /// Of those that are left, as many as may be something else.
    pub(super) unresolved: u64,
}

impl BatchCounts {
    /// The counts of a batch; `None` if it has none, as a batch that was in the sink before its query was started again.
    /// `dedup`: the plan drops duplicates.
    pub(super) fn of(progress: &BatchProgress, dedup: bool) -> Option<Self> {
        if progress.input_rows == 0 && progress.observed.is_empty() {
            return None;
        }
        let observed = |name: &str, alias: &str| {
            let value = progress.observed.get(name)?.get(alias).copied()?;
            Some(value.unwrap_or(0).max(0) as u64)
        };
        let read = observed(OBSERVED_MESSAGES, "read")?;
        let tombstones = observed(OBSERVED_MESSAGES, "tombstones")?;
        let rejected = observed(OBSERVED_ROWS, "rejected")?;
        let rows = observed(OBSERVED_STREAM, "rows")?;
        let filtered = observed(OBSERVED_STREAM, "filtered")?;
        let accepted = read.checked_sub(tombstones)?.checked_sub(rejected)?;
        let excluded = accepted.checked_sub(rows)?;
        let dropped = |dedup: bool| {
            let of = progress.dropped_by_watermark.iter().filter(|(operator, _)| (operator == DEDUP) == dedup);
            of.map(|(_, rows)| rows).sum::<u64>()
        };
        // What the aggregation drops are groups of rows, not messages.
        let unresolved = if dropped(false) == 0 { 0 } else { rows - filtered.min(rows) };
        let (late, duplicates) = if dedup { (dropped(true), progress.duplicates) } else { (0, 0) };
        if late + duplicates != excluded {
            return None;
        }
        Some(Self { read, tombstones, rejected, late, duplicates, filtered, unresolved })
    }

    /// The counts of a batch of which only the messages are known.
    pub(super) fn unresolved(read: u64, tombstones: u64, rejected: u64) -> Self {
        let unresolved = read.saturating_sub(tombstones).saturating_sub(rejected);
        Self { read, tombstones, rejected, unresolved, ..Self::default() }
    }

    /// Adds those of another batch.
    pub(super) fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.tombstones += other.tombstones;
        self.rejected += other.rejected;
        self.late += other.late;
        self.duplicates += other.duplicates;
        self.filtered += other.filtered;
        self.unresolved += other.unresolved;
    }

    /// Adds them to what was counted before.
    pub(super) fn add_to(&self, counters: &mut Counters) {
        let apart = self.tombstones + self.rejected + self.late + self.duplicates + self.filtered;
        *counters += Counters {
            read: self.read,
            aggregated: self.read.saturating_sub(apart),
            filtered: self.filtered,
            duplicate: self.duplicates,
            late: self.late,
            dead_lettered: self.rejected,
            tombstones: self.tombstones,
            ..Counters::default()
        };
        if self.unresolved > 0 {
            *counters.others.entry(UNRESOLVED.to_owned()).or_default() += self.unresolved;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn progress(rows: i64, late: u64, duplicates: u64, partial: u64) -> BatchProgress {
        let values = |pairs: &[(&str, i64)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), Some(*v))).collect();
        BatchProgress {
            batch: 3,
            input_rows: 100,
            dropped_by_watermark: vec![("stateStoreSave".to_owned(), partial), (DEDUP.to_owned(), late)],
            duplicates,
            observed: BTreeMap::from([
                (OBSERVED_MESSAGES.to_owned(), values(&[("read", 100), ("tombstones", 2)])),
                (OBSERVED_ROWS.to_owned(), values(&[("rejected", 8)])),
                (OBSERVED_STREAM.to_owned(), values(&[("rows", rows), ("filtered", 10)])),
            ]),
            ..BatchProgress::default()
        }
    }

    #[test]
    fn each_message_has_one_fate() {
        let counts = BatchCounts::of(&progress(80, 7, 3, 0), true).unwrap();
        let mut counters = Counters::default();
        counts.add_to(&mut counters);
        assert_eq!(counters.imbalance(&Counters::default()), None);
        let Counters { read, aggregated, filtered, duplicate, late, dead_lettered, tombstones, .. } = counters;
        assert_eq!((read, aggregated, filtered, duplicate, late, dead_lettered, tombstones), (100, 70, 10, 3, 7, 8, 2));
        assert!(counters.others.is_empty());
    }

    #[test]
    fn what_the_counts_do_not_tell_is_said_and_what_contradicts_them_is_not_believed() {
        let counts = BatchCounts::of(&progress(90, 0, 0, 1), false).unwrap();
        assert_eq!(counts.unresolved, 80, "groups of late rows were dropped, and how many rows they had is not known");
        assert_eq!(BatchCounts::of(&progress(80, 1, 3, 0), true), None);
        assert_eq!(BatchCounts::of(&BatchProgress::default(), true), None);
        let mut counters = Counters::default();
        BatchCounts::unresolved(100, 2, 8).add_to(&mut counters);
        assert_eq!((counters.aggregated, counters.others[UNRESOLVED]), (90, 90));
        assert_eq!(counters.imbalance(&Counters::default()), None);
    }
}
