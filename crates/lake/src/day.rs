//! UTC days.

use turnstile_values::DAY_US;

/// The day on which an instant lies, in days since the epoch, UTC.
pub(crate) fn day_of(us: i64) -> i64 {
    us.div_euclid(DAY_US)
}
