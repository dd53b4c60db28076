//! What maintenance is asked to do, and what it must wait for.

use serde::Serialize;

/// What maintenance is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MaintenancePolicy {
    /// Which files are made into daily ones.
    pub compact: Compact,
    /// Which files of dead letters are made into one: those of days that are over; while a day is not over, when there are
    /// many, or all (`Compact::All`).
    pub letters: Compact,
    /// Retire windows that ended longer ago than this before the event time reached, and dead letters that were written
    /// longer ago than this before the newest commit, microseconds. `None`: keep all.
    pub retain_us: Option<i64>,
    /// Delete objects that were retired longer ago than this, microseconds: readers that are still on an older snapshot
    /// read them till then. `None`: delete none.
    pub grace_us: Option<i64>,
    /// Look for what crashed compactions left behind on all days, not only on those that are compacted now.
    pub sweep_all: bool,
}

/// Which files are made into daily ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compact {
    /// None.
    #[default]
    Off,
    /// Those of days that are over, once; and corrections that came later when they are enough to be worth it.
    ClosedDays,
    /// Those of days that are over, and every correction that came later.
    All,
}

/// The commit up to which a warehouse has loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadedBound {
    /// The warehouse, for people.
    pub target: String,
    /// The commit; `None` when it is not known: then nothing is retired.
    pub seq: Option<u64>,
}
