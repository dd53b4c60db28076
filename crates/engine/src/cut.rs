//! What comes out of a cut, and what the next start resumes from.

use arrow::array::RecordBatch;
use turnstile_message::{Counters, ExcludedMessages, FailedWindow, OffsetRange, PartitionPosition};

use crate::dead_letter::DeadLetter;

/// Which windows a cut closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosePolicy {
    /// Those that the watermark has passed.
    Passed,
    /// All, unless messages came since the last cut: the stream was quiet for as long as the pipeline waits.
    Quiet,
    /// All: the stream is drained.
    All,
}

/// One window's result.
#[derive(Debug, Clone)]
pub struct ClosedWindow {
    /// First instant of the window, microseconds since the epoch.
    pub start_us: i64,
    /// First instant after it.
    pub end_us: i64,
    /// 1, or one more than the version that this one corrects.
    pub version: u32,
    /// The rows, of [`StreamPlan::output_schema`](crate::StreamPlan::output_schema), ordered by key.
    pub rows: RecordBatch,
    /// Messages that are part of it.
    pub messages: u64,
    /// Their offsets, one range per partition.
    pub sources: Vec<OffsetRange>,
}

/// How the state changed since the last cut; opaque bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateChange {
    /// Nothing changed.
    None,
    /// The earlier state is no longer needed.
    Clear,
    /// Adds to the earlier state. It is obsolete once every window that ends by `live_until_us` has closed.
    Add {
        /// The bytes.
        bytes: Vec<u8>,
        /// Compared with [`Cut::closed_until_us`].
        live_until_us: i64,
    },
    /// Replaces everything.
    Replace {
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// The result of one cut; to be committed as a whole.
#[derive(Debug)]
pub struct Cut {
    /// The windows that closed, oldest first.
    pub closed: Vec<ClosedWindow>,
    /// Those among them that lack groups which cannot be computed.
    pub failed: Vec<FailedWindow>,
    /// Late rows and duplicates since the last cut, by window.
    pub excluded: Vec<ExcludedMessages>,
    /// Messages that are in no window and are to be kept.
    pub dead_letters: Vec<DeadLetter>,
    /// Every partition's position.
    pub partitions: Vec<PartitionPosition>,
    /// The common watermark.
    pub watermark_us: Option<i64>,
    /// Windows that end by this instant accept no more rows.
    pub closed_until_us: i64,
    /// Windows that end by this instant were published.
    pub published_until_us: i64,
    /// Counts since the pipeline began.
    pub counters: Counters,
    /// The change of the state to resume from.
    pub state: StateChange,
    /// Which windows it closed: [`ClosePolicy::Quiet`] becomes [`ClosePolicy::Passed`] when messages arrived meanwhile.
    pub close: ClosePolicy,
    /// More windows are due than one cut closes: another cut should follow immediately.
    pub more: bool,
    /// Windows still open.
    pub open_windows: usize,
    /// Approximate bytes that windows and dedup hold.
    pub state_bytes: usize,
}

/// What a commit recorded, to resume from.
#[derive(Debug, Default)]
pub struct RestoredState {
    /// Every partition's position.
    pub partitions: Vec<PartitionPosition>,
    /// As [`Cut::published_until_us`].
    pub published_until_us: Option<i64>,
    /// Counts so far.
    pub counters: Counters,
    /// The live state changes, oldest first: bytes and `live_until_us`, `i64::MAX` for a replacement.
    pub state: Vec<(Vec<u8>, i64)>,
}
