//! Functions that DataFusion does not have, or that differ from Spark's.
//!
//! In: Arrow arrays. Out: Arrow arrays, by Spark's rules. Knows nothing of SQL text or of the pipeline;
//! `query` decides which name of the dialect stands for which function.

mod arithmetic;
mod calendar;
mod cast_text;
mod decimal_sum;
mod digits;
mod double;
mod elementwise;
mod local_time;
mod narrowed;
mod registers;
mod row_choice;
mod substring;
mod sum;
mod text_of_time;
mod tuple;

pub(crate) use arithmetic::{Arithmetic, checked};
pub(crate) use calendar::{TimeUnitName, moved, truncated};
pub(crate) use cast_text::text_as;
pub(crate) use decimal_sum::{SAFE_DIGITS, decimal_sum, is_decimal_sum};
pub use double::normalized_double;
pub(crate) use double::{DoubleFunction, ORDERED_BITS, double, from_ordered_bits};
pub(crate) use local_time::{LocalTimeSource, local_time};
pub(crate) use narrowed::narrowed;
pub(crate) use registers::{RegisterFunction, register};
pub(crate) use row_choice::{Choice, row_choice, written_arguments};
pub(crate) use substring::substring;
pub(crate) use sum::exact_sum;
pub(crate) use text_of_time::{date_format, timestamp_text};
pub(crate) use tuple::tuple;
