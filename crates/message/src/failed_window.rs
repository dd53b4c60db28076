//! Groups of a window that could not be computed and were left out of its file.

use serde::{Deserialize, Serialize};

use crate::position::OffsetRange;

/// A window that was published without some of its groups, because an expression of the query fails on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedWindow {
    /// First instant of the window, microseconds since the epoch, UTC.
    pub start_us: i64,
    /// First instant after it.
    pub end_us: i64,
    /// The version of the window's file that lacks them.
    pub version: u32,
    /// How many groups were left out.
    pub groups: u64,
    /// The first of them, at most [`FailedWindow::SHOWN`].
    pub shown: Vec<FailedGroup>,
    /// Messages that are part of the window, those of other groups included.
    pub messages: u64,
    /// Where those messages stand, one range per partition.
    pub sources: Vec<OffsetRange>,
}

impl FailedWindow {
    /// Groups that are listed one by one; more are only counted.
    pub const SHOWN: usize = 100;
}

/// One group that could not be computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedGroup {
    /// Its key: the names and values that the query groups by, other than the window.
    pub key: String,
    /// Why.
    pub reason: String,
}
