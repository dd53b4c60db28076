//! UTC days.

/// Microseconds of a UTC day.
pub(crate) const DAY_US: i64 = 86_400_000_000;

/// The day on which an instant lies, in days since the epoch, UTC.
pub(crate) fn day_of(us: i64) -> i64 {
    us.div_euclid(DAY_US)
}
