//! Event time of synthetic readings: a start, a step, a zone.

use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike, Utc};
use chrono_tz::Tz;
use turnstile_values::offset_of_local;

/// The wall clock of `zone` at an instant (seconds since the epoch).
fn wall(zone: Tz, second: i64) -> NaiveDateTime {
    DateTime::from_timestamp(second, 0).unwrap_or_default().with_timezone(&zone).naive_local()
}

/// The instant at which the wall clock of `zone` shows this, in milliseconds since the epoch, by the rule of
/// [`offset_of_local`].
pub(super) fn instant_ms(zone: Tz, wall: NaiveDateTime) -> i64 {
    let wall = wall.and_utc();
    wall.timestamp_millis() - offset_of_local(zone, wall.timestamp()).0 * 1_000
}

/// When synthetic message `i` happened: `start + i × step`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntheticClock {
    start_ms: i64,
    step: Duration,
    zone: Tz,
}

impl SyntheticClock {
    /// A clock that shows `start` in `zone` for message 0 and advances by `step` a message.
    pub fn starting(start: NaiveDateTime, step: Duration, zone: Tz) -> Self {
        Self { start_ms: instant_ms(zone, start), step, zone }
    }

    /// A clock that starts at the present moment.
    pub fn starting_now(step: Duration, zone: Tz) -> Self {
        Self { start_ms: Utc::now().timestamp_millis(), step, zone }
    }

    /// Milliseconds since the epoch at which message `index` happened.
    pub fn event_at_ms(&self, index: u64) -> i64 {
        let passed_ms = u128::from(index) * self.step.as_nanos() / 1_000_000;
        self.start_ms.saturating_add(i64::try_from(passed_ms).unwrap_or(i64::MAX))
    }

    pub(super) fn wall_clock(&self) -> WallClock {
        WallClock { zone: self.zone, second: i64::MIN, text: *b"0000-00-00 00:00:00", hour: 0 }
    }
}

/// The wall clock's text, kept while the second stays the same.
#[derive(Debug, Clone)]
pub(super) struct WallClock {
    zone: Tz,
    second: i64,
    text: [u8; 19],
    hour: usize,
}

impl WallClock {
    /// Turns to an instant.
    #[inline]
    pub(super) fn set(&mut self, at_ms: i64) {
        let second = at_ms.div_euclid(1000);
        if second != self.second {
            self.set_second(second);
        }
    }

    fn set_second(&mut self, second: i64) {
        let wall = wall(self.zone, second);
        self.second = second;
        self.hour = wall.hour() as usize;
        self.text = stamp(wall);
    }

    /// Hour of the day, 0 to 23.
    pub(super) fn hour(&self) -> usize {
        self.hour
    }

    /// `yyyy-MM-dd HH:mm:ss`.
    pub(super) fn timestamp(&self) -> &[u8] {
        &self.text
    }

    /// `HH:MM:SS`.
    pub(super) fn time(&self) -> &[u8] {
        &self.text[11..]
    }

    /// `mm-dd-yy`.
    pub(super) fn date(&self) -> [u8; 8] {
        let t = &self.text;
        [t[5], t[6], b'-', t[8], t[9], b'-', t[2], t[3]]
    }
}

/// `yyyy-MM-dd HH:mm:ss`; years beyond four digits show their last four.
pub(super) fn stamp(wall: NaiveDateTime) -> [u8; 19] {
    let mut text = *b"0000-00-00 00:00:00";
    let year = wall.year().rem_euclid(10_000) as u32;
    let fields = [
        (0, year / 100),
        (2, year % 100),
        (5, wall.month()),
        (8, wall.day()),
        (11, wall.hour()),
        (14, wall.minute()),
        (17, wall.second()),
    ];
    for (at, number) in fields {
        text[at] = b'0' + (number / 10) as u8;
        text[at + 1] = b'0' + (number % 10) as u8;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap()
    }

    #[test]
    fn a_clock_steps_and_shows_the_zone_s_wall_clock() {
        let clock = SyntheticClock::starting(
            wall("2026-08-01 23:59:59"),
            Duration::from_millis(500),
            "America/New_York".parse().unwrap(),
        );
        let mut wall_clock = clock.wall_clock();
        wall_clock.set(clock.event_at_ms(1));
        assert_eq!((wall_clock.timestamp(), wall_clock.hour()), (&b"2026-08-01 23:59:59"[..], 23));
        wall_clock.set(clock.event_at_ms(2));
        assert_eq!(
            (wall_clock.timestamp(), &wall_clock.date()[..], wall_clock.time()),
            (&b"2026-08-02 00:00:00"[..], &b"08-02-26"[..], &b"00:00:00"[..])
        );
        assert_eq!(clock.event_at_ms(2), 1_785_643_200_000);
    }

    #[test]
    fn an_hour_shown_twice_is_the_first_and_one_never_shown_is_taken_from_before_the_gap() {
        let zone: Tz = "America/New_York".parse().unwrap();
        assert_eq!(instant_ms(zone, wall("2026-11-01 01:30:00")), 1_793_511_000_000);
        // 02:30 is skipped on 2026-03-08; at UTC-5 it would be 07:30 UTC.
        assert_eq!(instant_ms(zone, wall("2026-03-08 02:30:00")), 1_772_955_000_000);
    }
}
