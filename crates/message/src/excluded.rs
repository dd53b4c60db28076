//! Messages that belong to a window by their event time and are not part of it.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// How many messages of one commit are no part of a window that their event time lies in. Where windows overlap, a message
/// counts in each of its windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExcludedMessages {
    /// First instant of the window, microseconds since the epoch, UTC.
    pub start_us: i64,
    /// First instant after it.
    pub end_us: i64,
    /// They came after the window had closed for good.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub late: u64,
    /// They were seen before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duplicates: u64,
}

impl ExcludedMessages {
    /// None of this window.
    pub fn none_of(start_us: i64, end_us: i64) -> Self {
        Self { start_us, end_us, late: 0, duplicates: 0 }
    }
}

/// Adds counts of the same window.
impl AddAssign for ExcludedMessages {
    fn add_assign(&mut self, more: Self) {
        self.late += more.late;
        self.duplicates += more.duplicates;
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
