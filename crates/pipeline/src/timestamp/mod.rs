//! How timestamps are written: patterns of letters, ISO 8601, numbers since 1970.
//!
//! In: text of a message or an instant. Out: a [`LocalTime`], or text. Knows no zone but the one that it is given.

pub(crate) mod cast_text;
mod format;
mod iso;
mod local_time;
mod pattern;
mod pattern_item;
mod read;
mod write;

pub use format::{EpochUnit, TimestampFormat};
pub use local_time::LocalTime;
pub use pattern::TimestampPattern;
pub use pattern_item::PatternItem;
