//! Event time of synthetic readings: a start, a step, a zone.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Datelike, Local, LocalResult, NaiveDateTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

use super::ProviderError;

/// The zone in which a reading's date and time are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockZone {
    /// This machine's.
    Local,
    /// A named one, such as `America/New_York` or `UTC`.
    Named(Tz),
}

impl FromStr for ClockZone {
    type Err = ProviderError;

    fn from_str(text: &str) -> Result<Self, ProviderError> {
        if text == "local" {
            return Ok(Self::Local);
        }
        text.parse().map(Self::Named).map_err(|_| {
            ProviderError::Settings(format!(
                "\"{text}\" is not a time zone; write `local` or a name such as America/New_York"
            ))
        })
    }
}

impl ClockZone {
    /// The wall clock at an instant (seconds since the epoch).
    fn wall(self, second: i64) -> NaiveDateTime {
        let utc = DateTime::from_timestamp(second, 0).unwrap_or_default();
        match self {
            Self::Local => utc.with_timezone(&Local).naive_local(),
            Self::Named(zone) => utc.with_timezone(&zone).naive_local(),
        }
    }

    /// The instant at which the wall clock shows this, in milliseconds since the epoch: the first when it shows it twice,
    /// and as if the clock had not been put forward when it never does.
    pub fn instant_ms(self, wall: NaiveDateTime) -> i64 {
        match self {
            Self::Local => instant_in(&Local, wall),
            Self::Named(zone) => instant_in(&zone, wall),
        }
    }
}

fn instant_in<Z: TimeZone>(zone: &Z, wall: NaiveDateTime) -> i64 {
    match zone.from_local_datetime(&wall) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.timestamp_millis(),
        LocalResult::None => {
            let before = wall - chrono::Duration::hours(3);
            let offset_before = zone
                .from_local_datetime(&before)
                .earliest()
                .map_or(0, |at| before.and_utc().timestamp_millis() - at.timestamp_millis());
            wall.and_utc().timestamp_millis() - offset_before
        }
    }
}

/// When synthetic message `i` happened: `start + i × step`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntheticClock {
    start_ms: i64,
    step: Duration,
    zone: ClockZone,
}

impl SyntheticClock {
    /// A clock that shows `start` in `zone` for message 0 and advances by `step` a message.
    pub fn starting(start: NaiveDateTime, step: Duration, zone: ClockZone) -> Self {
        Self { start_ms: zone.instant_ms(start), step, zone }
    }

    /// A clock that starts at the present moment.
    pub fn starting_now(step: Duration, zone: ClockZone) -> Self {
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
    zone: ClockZone,
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
        let wall = self.zone.wall(second);
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
        let zone: ClockZone = "America/New_York".parse().unwrap();
        assert_eq!(zone.instant_ms(wall("2026-11-01 01:30:00")), 1_793_511_000_000);
        // 02:30 is skipped on 2026-03-08; at UTC-5 it would be 07:30 UTC.
        assert_eq!(zone.instant_ms(wall("2026-03-08 02:30:00")), 1_772_955_000_000);
        assert!("Mars/Base".parse::<ClockZone>().is_err());
    }
}
