//! Late rows and duplicates of many commits, added up by window.

use std::collections::{BTreeMap, HashSet};

use turnstile_message::ExcludedMessages;

/// Counts by the start and end of a window.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ExcludedWindows {
    windows: BTreeMap<(i64, i64), ExcludedMessages>,
}

impl ExcludedWindows {
    /// Adds what a commit counted of a window.
    pub(super) fn add(&mut self, more: ExcludedMessages) {
        let none = ExcludedMessages::none_of(more.start_us, more.end_us);
        *self.windows.entry((more.start_us, more.end_us)).or_insert(none) += more;
    }

    /// The counts of a window, if there are any.
    pub(super) fn get(&self, start_us: i64, end_us: i64) -> Option<ExcludedMessages> {
        self.windows.get(&(start_us, end_us)).copied()
    }

    /// All counts, in the order of windows.
    pub(super) fn iter(&self) -> impl Iterator<Item = ExcludedMessages> {
        self.windows.values().copied()
    }

    /// The counts of these windows, in their order.
    pub(super) fn of(&self, windows: &HashSet<(i64, i64)>) -> Vec<ExcludedMessages> {
        self.iter().filter(|counts| windows.contains(&(counts.start_us, counts.end_us))).collect()
    }
}
