//! Values as text for people: durations, counts, sizes, instants, errors.

use std::error::Error;

use chrono::{DateTime, SecondsFormat, Timelike};

use crate::duration::{DAY_US, HOUR_US, MILLISECOND_US, MINUTE_US, SECOND_US};

/// A duration in whole units, the largest first, nothing lost: `1 hour 30 minutes`.
pub fn duration(us: i64) -> String {
    let mut rest = us.unsigned_abs();
    let mut parts = Vec::new();
    for (word, unit_us) in [
        ("day", DAY_US),
        ("hour", HOUR_US),
        ("minute", MINUTE_US),
        ("second", SECOND_US),
        ("millisecond", MILLISECOND_US),
        ("microsecond", 1),
    ] {
        let count = rest / unit_us.unsigned_abs();
        rest %= unit_us.unsigned_abs();
        if count > 0 {
            parts.push(format!("{count} {word}{}", if count == 1 { "" } else { "s" }));
        }
    }
    match parts.is_empty() {
        true => "0 seconds".to_owned(),
        false => format!("{}{}", if us < 0 { "-" } else { "" }, parts.join(" ")),
    }
}

/// A duration rounded for reading: to the second below two minutes, to the minute below two days, then to the hour.
pub fn rough_duration(us: i64) -> String {
    let unit_us = match us.saturating_abs() {
        us if us < 2 * MINUTE_US => SECOND_US,
        us if us < 2 * DAY_US => MINUTE_US,
        _ => HOUR_US,
    };
    duration(us.saturating_add(unit_us / 2) / unit_us * unit_us)
}

/// Bytes as hexadecimal digits, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0'))
        .collect()
}

/// A count with its thousands apart: `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// How many there are of something: `1 message`, `1,234 messages`. `noun` is one whose plural takes an `s`.
pub fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// How many a second: `1,234/s`, and `0.2/s` where whole numbers would say little.
pub fn rate(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 9.95 {
        return format!("{per_second:.1}/s");
    }
    // `as` goes to the nearest that fits: no rate is negative or beyond 64 bits.
    format!("{}/s", count(per_second as u64))
}

/// A size in the largest binary unit that divides it: `256 MiB`, `1500 bytes`.
pub fn size(bytes: u64) -> String {
    for (word, unit) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{} {word}", bytes / unit);
        }
    }
    format!("{bytes} bytes")
}

/// An instant (microseconds since the epoch) as RFC 3339 in UTC: `2026-08-01T08:00:00Z`, with as many digits of the
/// second as it needs.
pub fn instant(us: i64) -> String {
    DateTime::from_timestamp_micros(us)
        .map_or_else(|| format!("{us} µs"), |at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// The same without seconds where they are zero: `2026-08-01T08:00Z`, as windows begin and end.
pub fn short_instant(us: i64) -> String {
    let at = DateTime::from_timestamp_micros(us).unwrap_or_default();
    let text = if at.second() == 0 && at.nanosecond() == 0 { "%Y-%m-%dT%H:%MZ" } else { "%Y-%m-%dT%H:%M:%S%.fZ" };
    at.format(text).to_string()
}

/// `text` with each run of white space as one space.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An error with its causes, in one line. A cause whose text is there already is left out: a library's error often
/// repeats its source's.
pub fn error(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| (*cause).source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    one_line(&text)
}

/// The cause below all others, which is the specific one: `Connection refused`.
pub fn innermost<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source()).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIGHT: i64 = 1_785_571_200_000_000;

    #[test]
    fn durations_are_shown_in_whole_units() {
        assert_eq!(duration(5_400_100_000), "1 hour 30 minutes 100 milliseconds");
        assert_eq!(duration(14 * DAY_US), "14 days");
        assert_eq!((duration(0), duration(-SECOND_US)), ("0 seconds".to_owned(), "-1 second".to_owned()));
    }

    #[test]
    fn long_durations_are_shown_roughly() {
        assert_eq!(rough_duration(19_500_000), "20 seconds");
        assert_eq!(rough_duration(5_000_400_000), "1 hour 23 minutes");
        assert_eq!(rough_duration(53 * HOUR_US + MINUTE_US), "2 days 5 hours");
    }

    #[test]
    fn bytes_are_shown_as_hexadecimal_digits() {
        assert_eq!(hex(&[0, 0x1f, 0xa0]), "001fa0");
    }

    #[test]
    fn counts_have_their_thousands_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((plural(1, "file"), plural(1_000, "file")), ("1 file".to_owned(), "1,000 files".to_owned()));
        assert_eq!([1_234.9, 10.0, 0.0, 0.1, 9.9].map(rate), ["1,234/s", "10/s", "0/s", "0.1/s", "9.9/s"]);
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_divides_them() {
        assert_eq!([256 << 20, 1 << 30, 1500].map(size), ["256 MiB", "1 GiB", "1500 bytes"]);
    }

    #[test]
    fn instants_are_utc_without_needless_digits() {
        assert_eq!(instant(EIGHT), "2026-08-01T08:00:00Z");
        assert_eq!(instant(EIGHT + 1_500_000), "2026-08-01T08:00:01.500Z");
        assert_eq!(short_instant(EIGHT), "2026-08-01T08:00Z");
        assert_eq!(short_instant(EIGHT + 1_500_000), "2026-08-01T08:00:01.500Z");
    }
}
