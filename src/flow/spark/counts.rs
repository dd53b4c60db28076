//! What became of a batch's messages, from what the query observed.

use std::collections::BTreeMap;

use turnstile_message::Counters;
use turnstile_spark::{BatchProgress, OBSERVED_MESSAGES, OBSERVED_ROWS, OBSERVED_STREAM};

/// The counter of messages that are counted as aggregated though some of them may be late, duplicates or filtered: the query's
/// counts of their batches were lost.
const UNRESOLVED: &str = "unresolved";

/// The operator that drops duplicates.
const DEDUP: &str = "dedupeWithinWatermark";

/// What became of a batch's messages; `None` if the query did not count them, as those of a batch that was in the sink before
/// its query was started again. `dedup`: the plan drops duplicates.
pub(super) fn counts_of(progress: &BatchProgress, dedup: bool) -> Option<Counters> {
    if progress.input_rows == 0 && progress.observed.is_empty() {
        return None;
    }
    let observed = |name: &str, alias: &str| {
        let value = progress.observed.get(name)?.get(alias).copied()?;
        Some(value.unwrap_or(0).max(0) as u64)
    };
    let read = observed(OBSERVED_MESSAGES, "read")?;
    let tombstones = observed(OBSERVED_MESSAGES, "tombstones")?;
    let dead_lettered = observed(OBSERVED_ROWS, "rejected")?;
    let rows = observed(OBSERVED_STREAM, "rows")?;
    let filtered = observed(OBSERVED_STREAM, "filtered")?;
    let excluded = read.checked_sub(tombstones)?.checked_sub(dead_lettered)?.checked_sub(rows)?;
    let aggregated = rows.checked_sub(filtered)?;
    let dropped = |dedup: bool| {
        let of = progress.dropped_by_watermark.iter().filter(|(operator, _)| (operator == DEDUP) == dedup);
        of.map(|(_, rows)| rows).sum::<u64>()
    };
    let (late, duplicate) = if dedup { (dropped(true), progress.duplicates) } else { (0, 0) };
    if late + duplicate != excluded {
        return None;
    }
    // What the aggregation drops are groups of rows, not messages.
    let others = if dropped(false) == 0 { BTreeMap::new() } else { unresolved(aggregated) };
    Some(Counters {
        read,
        aggregated,
        filtered,
        duplicate,
        late,
        dead_lettered,
        tombstones,
        others,
        ..Counters::default()
    })
}

/// The counts of messages of which only these are known.
pub(super) fn unresolved_counts(read: u64, tombstones: u64, dead_lettered: u64) -> Counters {
    let aggregated = read.saturating_sub(tombstones).saturating_sub(dead_lettered);
    Counters { read, aggregated, dead_lettered, tombstones, others: unresolved(aggregated), ..Counters::default() }
}

fn unresolved(messages: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([(UNRESOLVED.to_owned(), messages)])
}

#[cfg(test)]
mod tests {
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
        let counters = counts_of(&progress(80, 7, 3, 0), true).unwrap();
        assert_eq!(counters.imbalance(&Counters::default()), None);
        let Counters { read, aggregated, filtered, duplicate, late, dead_lettered, tombstones, .. } = counters;
        assert_eq!((read, aggregated, filtered, duplicate, late, dead_lettered, tombstones), (100, 70, 10, 3, 7, 8, 2));
        assert!(counters.others.is_empty());
    }

    #[test]
    fn what_the_counts_do_not_tell_is_said_and_what_contradicts_them_is_not_believed() {
        let counts = counts_of(&progress(90, 0, 0, 1), false).unwrap();
        assert_eq!(
            counts.others[UNRESOLVED], 80,
            "groups of late rows were dropped, and how many rows they had is not known"
        );
        assert_eq!(counts_of(&progress(80, 1, 3, 0), true), None);
        assert_eq!(counts_of(&BatchProgress::default(), true), None);
        let counters = unresolved_counts(100, 2, 8);
        assert_eq!((counters.aggregated, counters.others[UNRESOLVED]), (90, 90));
        assert_eq!(counters.imbalance(&Counters::default()), None);
    }
}
