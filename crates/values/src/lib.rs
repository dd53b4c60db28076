//! Values that every room shares, in one form each, for pipeline keys, flags, SQL settings and output alike.
//!
//! In: text that a person wrote. Out: microseconds, bytes, waits; and back: text for people ([`human`]).
//! Knows no other room, reads no clock, does no I/O. Start at [`duration`].

mod caused;
mod connection;
pub mod duration;
pub mod human;
mod local_zone;
mod nearest;
mod retry;
mod scaled;
mod secret;
pub mod size;

pub use caused::{BoxError, caused};
pub use connection::is_private;
pub use duration::{DAY_US, DurationError, HOUR_US, MILLISECOND_US, MINUTE_US, SECOND_US};
pub use local_zone::{LocalTimeKind, offset_of_local};
pub use nearest::{edit_distance, nearest, suggest};
pub use retry::{RetryPolicy, RetryWaits};
pub use secret::Secret;
pub use size::SizeError;
