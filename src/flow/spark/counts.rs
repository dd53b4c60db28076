//! What became of a batch's messages, from what the query observed.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use turnstile_message::Counters;
use turnstile_spark::{BatchProgress, OBSERVED_MESSAGES, OBSERVED_ROWS, OBSERVED_STREAM};

use super::range_account::RangeAccount;

/// The counter of messages that are counted as aggregated though some of them may be duplicates: the query's counts of their
/// batches were lost.
const UNRESOLVED: &str = "unresolved";

/// The operator that drops duplicates.
const DEDUP: &str = "dedupeWithinWatermark";

/// What a query says of finished batches.
#[derive(Debug, Default)]
pub(super) struct QueryCounts {
    /// What became of their messages. Without dedup, late ones count as aggregated or filtered.
    pub(super) counters: Counters,
    /// The earliest and the latest event time of messages that are not rejected, microseconds since the epoch; the latter of
    /// those that are no duplicates.
    pub(super) oldest_us: Option<i64>,
    pub(super) newest_us: Option<i64>,
    /// Bytes that the query's states take.
    pub(super) state_bytes: u64,
    /// Batches of which the query does not say it, such as one that was in the sink before its query was started again.
    pub(super) missing: u64,
}

/// What the query says of the batches `first` to `last`. `dedup`: the plan drops duplicates.
pub(super) fn counts_of(
    progress: &BTreeMap<u64, BatchProgress>,
    batches: RangeInclusive<u64>,
    dedup: bool,
) -> QueryCounts {
    let mut all = QueryCounts::default();
    for batch in batches {
        let progress = progress.get(&batch);
        all.state_bytes = progress.map_or(all.state_bytes, |progress| progress.state_bytes);
        match progress.and_then(|progress| Some((progress, counts_of_batch(progress, dedup)?))) {
            Some((progress, counters)) => {
                all.counters += counters;
                let observed = |name: &str, alias: &str| progress.observed.get(name)?.get(alias).copied()?;
                all.newest_us = all.newest_us.max(observed(OBSERVED_STREAM, "newest_us"));
                let oldest = observed(OBSERVED_ROWS, "oldest_us");
                all.oldest_us = all.oldest_us.into_iter().chain(oldest).min();
            }
            None => all.missing += 1,
        }
    }
    all
}

fn counts_of_batch(progress: &BatchProgress, dedup: bool) -> Option<Counters> {
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
    // What the aggregation drops are groups of rows, not messages.
    let late_for_dedup = progress.dropped_by_watermark.iter().filter(|(operator, _)| operator == DEDUP);
    let (late, duplicate) = match dedup {
        true => (late_for_dedup.map(|(_, rows)| rows).sum(), progress.duplicates),
        false => (0, 0),
    };
    if late + duplicate != excluded {
        return None;
    }
    Some(Counters { read, aggregated, filtered, duplicate, late, dead_lettered, tombstones, ..Counters::default() })
}

/// The counts of messages that the cluster was asked about. Unless they are `exact`, how many of them are duplicates, or came
/// late for their batch, is not known.
pub(super) fn counts_of_range(account: &RangeAccount, exact: bool) -> Counters {
    let RangeAccount { read, tombstones, late, filtered, .. } = *account;
    let dead_lettered = account.rejected.len() as u64;
    let aggregated = read.saturating_sub(tombstones + dead_lettered + late + filtered);
    let others = if exact { BTreeMap::new() } else { BTreeMap::from([(UNRESOLVED.to_owned(), aggregated)]) };
    Counters { read, aggregated, filtered, late, dead_lettered, tombstones, others, ..Counters::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(rows: i64, late: u64, duplicates: u64) -> BatchProgress {
        let values = |pairs: &[(&str, i64)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), Some(*v))).collect();
        BatchProgress {
            batch: 3,
            input_rows: 100,
            dropped_by_watermark: vec![("stateStoreSave".to_owned(), 0), (DEDUP.to_owned(), late)],
            duplicates,
            state_bytes: 9,
            observed: BTreeMap::from([
                (OBSERVED_MESSAGES.to_owned(), values(&[("read", 100), ("tombstones", 2)])),
                (OBSERVED_ROWS.to_owned(), values(&[("rejected", 8), ("oldest_us", 50)])),
                (OBSERVED_STREAM.to_owned(), values(&[("rows", rows), ("filtered", 10), ("newest_us", 60)])),
            ]),
            ..BatchProgress::default()
        }
    }

    #[test]
    fn each_message_has_one_fate() {
        let counters = counts_of_batch(&progress(80, 7, 3), true).unwrap();
        assert_eq!(counters.imbalance(&Counters::default()), None);
        let Counters { read, aggregated, filtered, duplicate, late, dead_lettered, tombstones, .. } = counters;
        assert_eq!((read, aggregated, filtered, duplicate, late, dead_lettered, tombstones), (100, 70, 10, 3, 7, 8, 2));
        assert!(counters.others.is_empty());
    }

    #[test]
    fn batches_are_counted_together_and_what_is_missing_or_contradictory_is_said() {
        let known = BTreeMap::from([(3, progress(90, 0, 0)), (4, progress(90, 0, 0)), (6, progress(80, 1, 3))]);
        let both = counts_of(&known, 3..=4, false);
        assert_eq!((both.counters.read, both.oldest_us, both.newest_us), (200, Some(50), Some(60)));
        assert_eq!((both.missing, both.state_bytes), (0, 9));
        assert_eq!(counts_of(&known, 4..=6, true).missing, 2, "5 is not known, and 6 contradicts itself");
        assert_eq!(counts_of_batch(&BatchProgress::default(), true), None);
    }

    #[test]
    fn a_range_is_counted_without_the_query() {
        let account = RangeAccount { read: 100, tombstones: 2, late: 5, filtered: 3, ..RangeAccount::default() };
        let counters = counts_of_range(&account, true);
        assert_eq!((counters.aggregated, counters.late, counters.filtered, counters.others.len()), (90, 5, 3, 0));
        assert_eq!(counters.imbalance(&Counters::default()), None);
        assert_eq!(counts_of_range(&account, false).others[UNRESOLVED], 90, "duplicates are among them");
    }
}
