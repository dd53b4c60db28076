//! Which instant a time on a zone's clock is, in the two hours a year that come twice or never too.
//!
//! A local time that a clock change repeats means the first of its two instants; one that it skips moves later by the length
//! of the gap. This is the rule of `java.time.ZonedDateTime.ofLocal`, and so of Spark.

use chrono::{DateTime, MappedLocalTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

/// How a local time maps to an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalTimeKind {
    /// It is one instant.
    Unique,
    /// It is two instants: the clock was set back.
    Ambiguous,
    /// It is none: the clock was set forward.
    Nonexistent,
}

/// Seconds that the clock of `zone` is ahead of UTC when it shows `local_secs` (seconds since 1970-01-01T00:00:00 on that
/// clock). 0 beyond the years of the calendar.
pub fn offset_of_local(zone: Tz, local_secs: i64) -> (i64, LocalTimeKind) {
    let Some(local) = DateTime::from_timestamp(local_secs, 0) else { return (0, LocalTimeKind::Unique) };
    let local = local.naive_utc();
    let seconds = |offset: &<Tz as TimeZone>::Offset| i64::from(offset.fix().local_minus_utc());
    match zone.offset_from_local_datetime(&local) {
        MappedLocalTime::Single(offset) => (seconds(&offset), LocalTimeKind::Unique),
        // The earlier instant is the one with the larger offset to UTC.
        MappedLocalTime::Ambiguous(a, b) => (seconds(&a).max(seconds(&b)), LocalTimeKind::Ambiguous),
        // In a gap the offset before the change moves the time later by the gap's length.
        MappedLocalTime::None => {
            let day_before = local.checked_sub_signed(TimeDelta::hours(24));
            let before = day_before.and_then(|day| zone.offset_from_local_datetime(&day).earliest());
            (before.as_ref().map_or(0, seconds), LocalTimeKind::Nonexistent)
        }
    }
}
