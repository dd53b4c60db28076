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
    windows: BTreeMap<i64, RowCounts>,
}

#[derive(Debug, Default, Clone, Copy)]
struct RowCounts {
    late: u64,
    duplicates: u64,
}

impl ExcludedRows {
    /// Counts a row in each of its windows.
    pub(crate) fn count(&mut self, plan: &StreamPlan, event_us: i64, why: Exclusion) {
        let mut start = plan.last_start(event_us);
        while plan.end(start) > event_us {
            let counts = self.windows.entry(start).or_default();
            match why {
                Exclusion::Late => counts.late += 1,
                Exclusion::Duplicate => counts.duplicates += 1,
            }
            start -= plan.window.slide_us;
        }
    }

    /// Adds what another worker has counted.
    pub(crate) fn add(&mut self, other: Self) {
        for (start, RowCounts { late, duplicates }) in other.windows {
            let counts = self.windows.entry(start).or_default();
            counts.late += late;
            counts.duplicates += duplicates;
        }
    }

    /// How many windows there are.
    pub(crate) fn len(&self) -> usize {
        self.windows.len()
    }

    /// The counts by window, in order; none are left.
    pub(crate) fn take(&mut self, plan: &StreamPlan) -> Vec<ExcludedMessages> {
        let of_window = |(start_us, RowCounts { late, duplicates })| ExcludedMessages {
            start_us,
            end_us: plan.end(start_us),
            late,
            duplicates,
        };
        mem::take(&mut self.windows).into_iter().map(of_window).collect()
    }
}
