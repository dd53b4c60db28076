//! Windows, open and closed.

use turnstile_message::{FailedWindow, OffsetRange};

use super::partitions::WatermarkHolder;
use super::sql::SqlTable;

/// Which windows to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSelection {
    /// Only those in this condition.
    pub condition: Option<WindowCondition>,
    /// Leave out the newest this many.
    pub offset: u64,
    /// At most this many.
    pub limit: usize,
}

/// How far a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WindowCondition {
    /// It collects messages.
    Open,
    /// Published once.
    Closed,
    /// Published again, because late rows corrected it.
    Corrected,
    /// Removed by retention.
    Retired,
}

/// How many windows there are by condition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WindowCounts {
    /// Open.
    pub open: u64,
    /// Closed, once.
    pub closed: u64,
    /// Corrected.
    pub corrected: u64,
    /// Retired.
    pub retired: u64,
}

/// A page of windows.
#[derive(Debug, Clone, Default)]
pub struct WindowPage {
    /// Newest first.
    pub windows: Vec<WindowListing>,
    /// How many there are in all, whatever the selection.
    pub counts: WindowCounts,
    /// Event time that the watermark must pass for the next window to close.
    pub next_close_us: Option<i64>,
    /// The watermark.
    pub watermark_us: Option<i64>,
}

/// One window in a list.
#[derive(Debug, Clone)]
pub struct WindowListing {
    /// First instant.
    pub start_us: i64,
    /// First instant after it.
    pub end_us: i64,
    /// How far it is.
    pub condition: WindowCondition,
    /// Its newest version; 0 while it is open.
    pub version: u32,
    /// Rows of the newest version.
    pub rows: Option<u64>,
    /// Messages that are part of it.
    pub messages: Option<u64>,
    /// Messages that came after it was closed.
    pub late: Option<u64>,
    /// Messages that were seen before.
    pub duplicates: Option<u64>,
    /// Name of the newest version's file, below the lake's root.
    pub file: Option<String>,
    /// Size of that file.
    pub bytes: Option<u64>,
    /// When the newest version was published.
    pub published_at_us: Option<i64>,
}

/// One window.
#[derive(Debug, Clone)]
pub struct WindowDetail {
    /// As it is listed.
    pub window: WindowListing,
    /// Files of all versions, oldest first.
    pub files: Vec<WindowFile>,
    /// The first rows of the newest version; `None` where there is none or it cannot be read.
    pub preview: Option<SqlTable>,
    /// Late messages that became part of later versions.
    pub corrections: Option<u64>,
    /// Groups that could not be computed, of all versions.
    pub failed: Vec<FailedWindow>,
    /// Why it is not closed; `None` if it is.
    pub open: Option<OpenReason>,
    /// Starts of the windows before and after it, where there are any.
    pub neighbours: (Option<i64>, Option<i64>),
}

/// The file of one version of a window.
#[derive(Debug, Clone)]
pub struct WindowFile {
    /// 1, or more for a correction.
    pub version: u32,
    /// Name below the lake's root.
    pub name: String,
    /// Where a browser can open it, if anywhere; only `http` and `https` become links.
    pub url: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
    /// SHA-256 of its bytes, 64 hexadecimal digits.
    pub sha256: String,
    /// The commit that published it.
    pub seq: Option<u64>,
    /// When that was.
    pub published_at_us: Option<i64>,
    /// The file is deleted, or will be.
    pub retired: bool,
    /// The messages that it was made from.
    pub sources: Vec<OffsetRange>,
}

/// Why a window is not closed.
#[derive(Debug, Clone, Default)]
pub struct OpenReason {
    /// The watermark, which has to pass the window's end.
    pub watermark_us: Option<i64>,
    /// The partition that holds the watermark back.
    pub holder: Option<WatermarkHolder>,
    /// Anything else, in one sentence: nothing runs, the broker cannot be reached.
    pub note: Option<String>,
}
