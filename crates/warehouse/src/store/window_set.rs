//! A set of windows by their first instants, short where they follow one another evenly.

use serde::{Deserialize, Serialize};

/// First instants of windows, microseconds since the epoch, UTC, as runs of equal steps. A day of five-minute windows
/// is one run of three numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct WindowSet(Vec<(i64, i64, i64)>);

impl WindowSet {
    /// Of instants in any order; repeated ones count once.
    pub(crate) fn new(starts: impl IntoIterator<Item = i64>) -> Self {
        let mut starts: Vec<i64> = starts.into_iter().collect();
        starts.sort_unstable();
        starts.dedup();
        let mut runs: Vec<(i64, i64, i64)> = Vec::new();
        for start in starts {
            match runs.last_mut() {
                // A run of one takes any step.
                Some((first, last, step)) if *first == *last => (*last, *step) = (start, start - *first),
                Some((_, last, step)) if start - *last == *step => *last = start,
                _ => runs.push((start, start, 0)),
            }
        }
        Self(runs)
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        self.0.iter().flat_map(|(first, last, step)| {
            (0..=(last - first).checked_div(*step).unwrap_or(0)).map(move |n| first + n * step)
        })
    }

    /// Whether it has the window that begins at `start`.
    pub(crate) fn contains(&self, start: i64) -> bool {
        // Runs lie one after the other.
        let at = self.0.partition_point(|(_, last, _)| *last < start);
        self.0
            .get(at)
            .is_some_and(|(first, _, step)| start == *first || (start > *first && (start - first) % step == 0))
    }

    /// Whether both have a window.
    pub(crate) fn meets(&self, other: &WindowSet) -> bool {
        let (small, large) = if self.0.len() <= other.0.len() { (self, other) } else { (other, self) };
        let apart = match (small.bounds(), large.bounds()) {
            (Some((first, last)), Some((from, to))) => last < from || to < first,
            _ => true,
        };
        !apart && small.iter().any(|start| large.contains(start))
    }

    /// First and last of them.
    pub(crate) fn bounds(&self) -> Option<(i64, i64)> {
        Some((self.0.first()?.0, self.0.last()?.1))
    }

    pub(crate) fn len(&self) -> usize {
        self.iter().count()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of both.
    pub(crate) fn union(&self, other: &WindowSet) -> Self {
        Self::new(self.iter().chain(other.iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_windows_is_one_run() {
        let day = WindowSet::new((0..288).map(|n| n * 300));
        assert_eq!(day.0, [(0, 287 * 300, 300)]);
        assert_eq!(day.len(), 288);
        assert!(day.contains(300) && !day.contains(301) && !day.contains(288 * 300) && !day.contains(-300));
    }

    #[test]
    fn it_holds_what_a_sorted_list_holds() {
        for seed in 0..500u64 {
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as i64
            };
            let starts: Vec<i64> = (0..next() % 20).map(|_| next() % 40 - 20).collect();
            let others: Vec<i64> = (0..next() % 4).map(|_| next() % 60 - 30).collect();
            let mut sorted = starts.clone();
            sorted.sort_unstable();
            sorted.dedup();
            let (set, other) = (WindowSet::new(starts.clone()), WindowSet::new(others.clone()));
            assert_eq!(set.iter().collect::<Vec<_>>(), sorted, "{seed}");
            assert!((-40..40).all(|n| set.contains(n) == starts.contains(&n)), "{seed}");
            assert_eq!(set.meets(&other), others.iter().any(|n| starts.contains(n)), "{seed}");
        }
    }
}
