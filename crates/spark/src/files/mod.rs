//! What a streaming query leaves in its folders and says of itself: the offsets of its batches, the files that they wrote,
//! their counts.
//!
//! In: bytes and JSON as Spark writes them. Out: values. Does no I/O: the caller reads the folders. Sources of the formats:
//! Spark's `OffsetSeqLog`, `FileStreamSinkLog` and `StreamingQueryProgress`, as Spark 4.2 was seen to write them.
//! Start at [`SinkLog::parse`] and [`BatchOffsets::parse`].

mod offset_log;
mod progress;
mod sink_log;
mod window_rows;

use thiserror::Error;

pub use offset_log::{BatchOffsets, PartitionOffsets, offsets_path};
pub use progress::BatchProgress;
pub use sink_log::{SinkFile, SinkLog, compact_path, sink_path};
pub use window_rows::{BatchFiles, BlockRanges, SparkWindowBounds, SparkWindowRows, offsets_of_blocks};

/// What Spark wrote is not what this release knows.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}: {reason}")]
pub struct UnknownFormat {
    what: &'static str,
    reason: String,
}

impl UnknownFormat {
    fn new(what: &'static str, reason: impl ToString) -> Self {
        Self { what, reason: reason.to_string() }
    }
}

/// The lines of a file of Spark's logs after its version.
fn lines<'a>(what: &'static str, bytes: &'a [u8]) -> Result<std::str::Lines<'a>, UnknownFormat> {
    let text = std::str::from_utf8(bytes).map_err(|error| UnknownFormat::new(what, error))?;
    let mut lines = text.lines();
    match lines.next() {
        Some("v1") => Ok(lines),
        Some(other) => Err(UnknownFormat::new(what, format!("version {other:?}; v1 is known"))),
        None => Err(UnknownFormat::new(what, "it is empty")),
    }
}
