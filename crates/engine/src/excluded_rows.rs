//! Rows that are late or duplicates, counted by the windows that their event time lies in.

use std::collections::BTreeMap;
use std::mem;

use turnstile_message::ExcludedMessages;

use crate::stream_plan::StreamPlan;

/// Why a row is no part of its windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exclusion {
    Late,
    Duplicate,
}

/// Counts by the start of a window, since the last cut.
#[derive(Debug, Default)]
pub(crate) struct ExcludedRows {
    windows: BTreeMap<i64, ExcludedMessages>,
}

impl ExcludedRows {
    /// Counts a row in each of its windows.
    pub(crate) fn count(&mut self, plan: &StreamPlan, event_us: i64, why: Exclusion) {
        let mut start = plan.last_start(event_us);
        while plan.end(start) > event_us {
            let none = || ExcludedMessages::none_of(start, plan.end(start));
            let counts = self.windows.entry(start).or_insert_with(none);
            match why {
                Exclusion::Late => counts.late += 1,
                Exclusion::Duplicate => counts.duplicates += 1,
            }
            start -= plan.window.slide_us;
        }
    }

    /// Adds what another worker has counted.
    pub(crate) fn add(&mut self, other: Self) {
        for (start, more) in other.windows {
            *self.windows.entry(start).or_insert(ExcludedMessages::none_of(start, more.end_us)) += more;
        }
    }

    /// How many windows there are.
    pub(crate) fn len(&self) -> usize {
        self.windows.len()
    }

    /// The counts by window, in order; none are left.
    pub(crate) fn take(&mut self) -> Vec<ExcludedMessages> {
        mem::take(&mut self.windows).into_values().collect()
    }
}
