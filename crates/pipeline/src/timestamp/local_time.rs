//! A date and time on a local clock.

use chrono_tz::Tz;

use turnstile_values::offset_of_local;

/// A local time that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// Seconds since 1970-01-01T00:00:00 on the local clock.
    pub secs: i64,
    /// Microseconds of the second.
    pub micros: i64,
    /// Seconds that the local clock is ahead of UTC, when the text says so.
    pub offset_secs: Option<i64>,
}

impl LocalTime {
    /// The time in UTC of an instant, microseconds since the epoch.
    pub(super) fn of_instant(us: i64) -> Self {
        Self { secs: us.div_euclid(1_000_000), micros: us.rem_euclid(1_000_000), offset_secs: Some(0) }
    }

    /// The instant in microseconds since the epoch; without an offset, the time is one on the clock of `zone`. `None` beyond
    /// 64 bits.
    pub(crate) fn instant_us(self, zone: Tz) -> Option<i64> {
        let offset = self.offset_secs.unwrap_or_else(|| offset_of_local(zone, self.secs).0);
        self.secs.checked_sub(offset)?.checked_mul(1_000_000)?.checked_add(self.micros)
    }

    /// The instant in microseconds since the epoch; without an offset, that of the local time in UTC.
    pub(super) fn micros_as_utc(self) -> i64 {
        (self.secs - self.offset_secs.unwrap_or(0)) * 1_000_000 + self.micros
    }
}
