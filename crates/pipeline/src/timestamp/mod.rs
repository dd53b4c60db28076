//! How timestamps are written: patterns of letters, ISO 8601, numbers since 1970.
//!
//! In: text of a message or an instant. Out: a [`LocalTime`], or text. Knows no zone but the one that it is given.

mod format;
mod iso;
mod pattern;
mod read;
mod write;

pub use format::{EpochUnit, TimestampFormat};
pub use pattern::{PatternItem, TimestampPattern};
pub use read::LocalTime;
