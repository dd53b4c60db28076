//! A timestamp as Spark's date-time pattern says: checked once, then written and read.
//!
//! In: a pattern such as `yyyy-MM-dd HH:mm:ss[.SSS]`; its pieces are [`PatternItem`]s.

use std::fmt;

use chrono::{DateTime, Datelike, TimeZone};
use chrono_tz::Tz;

use super::local_time::LocalTime;
use super::pattern_item::{self, PatternItem};
use super::read;
use super::write::write_item;

/// A checked date-time pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TimestampPattern {
    text: String,
    items: Vec<PatternItem>,
}

/// Instants (microseconds since the epoch) whose text a readable pattern must read back: digits of every width, the first
/// and the last moment of a day, an afternoon, midnight.
const SAMPLES_US: [i64; 5] = [
    1_767_582_245_123_456, // 2026-01-05 03:04:05.123456
    1_792_259_999_999_999, // 2026-10-17 17:59:59.999999
    1_069_286_400_000_000, // 2003-11-20 00:00:00
    1_704_110_400_500_000, // 2024-01-01 12:00:00.5
    1_325_375_999_000_001, // 2011-12-31 23:59:59.000001
];

impl TimestampPattern {
    /// Checks a pattern.
    ///
    /// # Errors
    /// A sentence that names the letter that is not supported, or the quote that does not end.
    pub fn parse(text: &str) -> Result<Self, String> {
        let items = pattern_item::parse(text)?;
        if items.is_empty() {
            return Err("the pattern is empty".to_owned());
        }
        Ok(Self { text: text.to_owned(), items })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its pieces, in order.
    pub fn items(&self) -> &[PatternItem] {
        &self.items
    }

    /// Whether text can be read by this pattern: it names year, month and day, each once and not as optional, it has
    /// nothing that only makes sense when written, and it reads what it writes.
    ///
    /// # Errors
    /// A sentence that says what is missing or not readable.
    pub fn check_readable(&self) -> Result<(), String> {
        let has = |wanted: fn(&PatternItem) -> bool| self.items.iter().filter(|item| wanted(item)).count() == 1;
        let whole_date = has(|i| matches!(i, PatternItem::Year(_)))
            && has(|i| matches!(i, PatternItem::Month(_) | PatternItem::MonthName { .. }))
            && has(|i| matches!(i, PatternItem::Day(_)));
        if !whole_date {
            return Err(format!("the pattern \"{}\" must contain year, month and day once each", self.text));
        }
        self.check_items(&self.items)?;
        for instant_us in SAMPLES_US {
            let written = self.written_in_utc(instant_us);
            let read = self.read(written.as_bytes());
            let again = read.map(|read| self.written_in_utc(read.micros_as_utc()));
            if again.as_ref() != Some(&written) {
                return Err(format!("the pattern \"{}\" cannot read what it writes: \"{written}\"", self.text));
            }
        }
        Ok(())
    }

    fn check_items(&self, items: &[PatternItem]) -> Result<(), String> {
        let half_day = self.items.iter().any(has_half_day);
        for item in items {
            match item {
                PatternItem::DayOfYear(_)
                | PatternItem::Weekday { .. }
                | PatternItem::Quarter(_)
                | PatternItem::ZoneName
                | PatternItem::ZoneId => {
                    return Err(format!("the pattern \"{}\" contains a letter that is for output only", self.text));
                }
                PatternItem::HalfDayHour(_) | PatternItem::HalfDayHourFrom0(_) if !half_day => {
                    return Err(format!("the pattern \"{}\" has a 12-hour clock without the letter a", self.text));
                }
                PatternItem::Optional(items) => self.check_items(items)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn written_in_utc(&self, instant_us: i64) -> String {
        let mut text = String::new();
        self.write(instant_us, Tz::UTC, &mut text);
        text
    }

    /// Reads `text`; `None` when it does not fit the pattern or is not a date of the calendar.
    #[inline]
    pub fn read(&self, text: &[u8]) -> Option<LocalTime> {
        read::by_items(&self.items, text)
    }

    /// Appends the instant (microseconds since the epoch) as local time of `zone`.
    ///
    /// False when the instant is beyond the years that can be written; nothing is appended then.
    pub fn write(&self, instant_us: i64, zone: Tz, out: &mut String) -> bool {
        let Some(utc) = DateTime::from_timestamp_micros(instant_us) else { return false };
        // chrono panics where a local time leaves its range, a day beyond each end of it.
        if !(-262_000..=262_000).contains(&utc.year()) {
            return false;
        }
        let local = zone.from_utc_datetime(&utc.naive_utc());
        for item in &self.items {
            // Writing to a String does not fail.
            let _ = write_item(item, &local, out);
        }
        true
    }
}

impl fmt::Display for TimestampPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn has_half_day(item: &PatternItem) -> bool {
    match item {
        PatternItem::HalfDay => true,
        PatternItem::Optional(items) => items.iter().any(has_half_day),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pattern: &str, instant_us: i64, zone: &str) -> String {
        let mut out = String::new();
        assert!(TimestampPattern::parse(pattern).unwrap().write(instant_us, zone.parse().unwrap(), &mut out));
        out
    }

    /// 2023-09-22 14:05:09.123456 in New York.
    const FRIDAY: i64 = 1_695_405_909_123_456;

    #[test]
    fn every_letter_is_written_as_spark_writes_it() {
        for (pattern, text) in [
            ("yyyy-MM-dd HH:mm:ss", "2023-09-22 14:05:09"),
            ("MM/dd/yyyy", "09/22/2023"),
            ("yy M d H h K k:m:s a", "23 9 22 14 2 2 14:5:9 PM"),
            ("MMM MMMM E EEEE", "Sep September Fri Friday"),
            ("SSS SSSSSS S", "123 123456 1"),
            ("XXX XX X xxx Z z VV", "-04:00 -0400 -04 -04:00 -0400 EDT America/New_York"),
            ("D DDD Q", "265 265 3"),
            ("yyyy'T'HH 'o''clock' ''", "2023T14 o'clock '"),
            ("yyyy[-MM[ HH]][.SSS] y", "2023-09 14.123 2023"),
        ] {
            assert_eq!(written(pattern, FRIDAY, "America/New_York"), text, "{pattern}");
        }
        assert_eq!(written("XXX X xxx Z", 0, "UTC"), "Z Z +00:00 +0000");
        assert_eq!(written("XXX", 0, "Asia/Kolkata"), "+05:30");
    }

    #[test]
    fn the_hour_that_a_clock_change_repeats_is_decided_by_its_offset() {
        // 2023-11-05 01:30 EDT and, an hour later, 01:30 EST.
        let first = 1_699_162_200_000_000;
        assert_eq!(written("HH:mm XXX", first, "America/New_York"), "01:30 -04:00");
        assert_eq!(written("HH:mm XXX", first + 3_600_000_000, "America/New_York"), "01:30 -05:00");
    }

    #[test]
    fn a_letter_that_is_not_offered_is_refused_by_name() {
        for pattern in ["YYYY", "yyyy-MM-dd'T", "hh[mm", "hh]mm", "hh{mm}", "G", "ww", "HHH", ""] {
            assert!(TimestampPattern::parse(pattern).is_err(), "{pattern}");
        }
        for pattern in ["HH:mm", "yyyy-MM", "yyyy-MM-dd hh:mm", "yyyy-MM-dd E", "yyyy-MM-dd dd", "yyyy[-MM-dd]"] {
            assert!(TimestampPattern::parse(pattern).unwrap().check_readable().is_err(), "{pattern}");
        }
        for pattern in ["yyyy-MM-dd HH:mm:ss", "MM/dd/yyyy hh:mm a", "yyyy-MM-dd'T'HH:mm:ss[.SSS]XXX", "yyyyMMddHHmmss"]
        {
            assert_eq!(TimestampPattern::parse(pattern).unwrap().check_readable(), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_cannot_read_what_it_writes_is_refused_with_the_text() {
        for (pattern, text) in [("dMMyyyy", "5012026"), ("yMMdd", "20260105"), ("yyyy-MM-dd H:m:s", "")] {
            let checked = TimestampPattern::parse(pattern).unwrap().check_readable();
            let expected = format!("the pattern \"{pattern}\" cannot read what it writes: \"{text}\"");
            assert_eq!(checked, if text.is_empty() { Ok(()) } else { Err(expected) });
        }
    }
}
