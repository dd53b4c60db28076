//! Text as Spark casts it to a date or a timestamp.
//!
//! Source: the forms that Spark's `SparkDateTimeUtils.stringToDate` and `stringToTimestamp` list:
//! `[+-]yyyy[-[m]m[-[d]d]]`, followed by ` ` or `T` and anything in a date, and by `[h]h[:[m]m[:[s]s[.fraction]]][zone]` in a
//! timestamp. A time without its date, which Spark takes as today's, is refused: a replay would read another day.

use chrono_tz::Tz;

use super::local_time::LocalTime;
use super::read::{days_from_civil, digits};

/// Text without the blanks and control characters around it, which Spark's casts ignore.
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c <= ' ' || c == '\u{7f}')
}

/// Days since 1970-01-01 of a date.
pub(crate) fn date(text: &str) -> Option<i32> {
    let mut rest = trimmed(text).as_bytes();
    let (days, parts) = civil(&mut rest, 7)?;
    // What follows a whole date is ignored.
    if !rest.is_empty() && (parts < 3 || !matches!(rest[0], b' ' | b'T')) {
        return None;
    }
    i32::try_from(days).ok()
}

/// The instant of a timestamp, microseconds since the epoch; without a zone in the text it is local time of `zone`.
pub(crate) fn timestamp(text: &str, zone: Tz) -> Option<i64> {
    let mut rest = trimmed(text).as_bytes();
    let (days, parts) = civil(&mut rest, 6)?;
    let (mut secs, mut micros) = (days.checked_mul(86_400)?, 0);
    let mut offset = None;
    if !rest.is_empty() {
        if parts < 3 || !matches!(rest[0], b' ' | b'T') {
            return None;
        }
        rest = &rest[1..];
        let (of_day, fraction) = clock(&mut rest)?;
        (secs, micros) = (secs + of_day, fraction);
        if !rest.is_empty() {
            offset = Some(zone_text(std::str::from_utf8(rest).ok()?.trim())?);
        }
    }
    match offset {
        None => LocalTime { secs, micros, offset_secs: None }.instant_us(zone),
        Some(WrittenZone::Offset(offset)) => LocalTime { secs, micros, offset_secs: Some(offset) }.instant_us(zone),
        Some(WrittenZone::Named(named)) => LocalTime { secs, micros, offset_secs: None }.instant_us(named),
    }
}

/// The days of `[+-]yyyy[-[m]m[-[d]d]]`, whose year has at most `year_digits` digits, and how many of its parts there are.
fn civil(rest: &mut &[u8], year_digits: usize) -> Option<(i64, usize)> {
    let negative = rest.first() == Some(&b'-');
    if negative || rest.first() == Some(&b'+') {
        *rest = &rest[1..];
    }
    let year = digits(rest, 4, year_digits)?;
    let mut parts = [if negative { -year } else { year }, 1, 1];
    let mut count = 1;
    while count < 3 && rest.first() == Some(&b'-') {
        *rest = &rest[1..];
        parts[count] = digits(rest, 1, 2)?;
        count += 1;
    }
    Some((days_from_civil(parts[0], parts[1], parts[2])?, count))
}

/// Seconds and microseconds of `[h]h[:[m]m[:[s]s[.fraction]]]`.
fn clock(rest: &mut &[u8]) -> Option<(i64, i64)> {
    let mut parts = [digits(rest, 1, 2)?, 0, 0];
    let mut count = 1;
    while count < 3 && rest.first() == Some(&b':') {
        *rest = &rest[1..];
        parts[count] = digits(rest, 1, 2)?;
        count += 1;
    }
    let mut micros = 0;
    if count == 3 && rest.first() == Some(&b'.') {
        *rest = &rest[1..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        for at in 0..6 {
            micros = micros * 10 + if at < count { i64::from(rest[at] - b'0') } else { 0 };
        }
        *rest = &rest[count..];
    }
    // A zone follows a whole clock only.
    if !rest.is_empty() && count < 3 {
        return None;
    }
    let [hour, minute, second] = parts;
    (hour < 24 && minute < 60 && second < 60).then_some((hour * 3_600 + minute * 60 + second, micros))
}

enum WrittenZone {
    /// Seconds ahead of UTC.
    Offset(i64),
    Named(Tz),
}

/// `Z`, `+hh:mm` (also after `UTC`, `GMT` and `UT`) or an IANA name.
fn zone_text(text: &str) -> Option<WrittenZone> {
    let after = ["UTC", "GMT", "UT"].iter().find_map(|name| text.strip_prefix(name)).unwrap_or(text);
    if after.is_empty() || after == "Z" {
        return Some(WrittenZone::Offset(0));
    }
    let sign = match after.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return text.parse().ok().map(WrittenZone::Named),
    };
    let written = &after[1..];
    let (hours, minutes, seconds) = match written.split(':').collect::<Vec<_>>().as_slice() {
        [one] if one.len() <= 2 => (*one, "0", "0"),
        [four] if four.len() == 4 && four.is_ascii() => (&four[..2], &four[2..], "0"),
        [hours, minutes] => (*hours, *minutes, "0"),
        [hours, minutes, seconds] => (*hours, *minutes, *seconds),
        _ => return None,
    };
    let part = |text: &str| -> Option<i64> {
        let plain = !text.is_empty() && text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten()
    };
    let (hours, minutes, seconds) = (part(hours)?, part(minutes)?, part(seconds)?);
    let total = hours * 3_600 + minutes * 60 + seconds;
    (minutes < 60 && seconds < 60 && total <= 18 * 3_600).then_some(WrittenZone::Offset(sign * total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_in_sparks_forms_and_in_no_other() {
        for (text, days) in [
            ("1970-01-02", 1),
            (" 1970-1-2 ", 1),
            ("1970-01", 0),
            ("1971", 365),
            ("1970-01-02T", 1),
            ("1970-01-02 whatever", 1),
            ("-0001-01-01", -719_893),
        ] {
            assert_eq!(date(text), Some(days), "{text}");
        }
        for text in ["", "70-01-01", "1970-13-01", "1970-02-30", "1970/01/01", "1970-01-02Z", "1970-", "1970-001-01"] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn a_timestamp_is_read_in_sparks_forms_and_in_no_other() {
        let hour = 3_600_000_000;
        for (text, us) in [
            ("1970-01-01", 5 * hour),
            ("1970-01-01 01:02:03.5", 6 * hour + 123_500_000),
            ("1970-1-1T1:2", 6 * hour + 120_000_000),
            ("1970-01-01 00:00:00.1234567", 5 * hour + 123_456),
            ("1970-01-01 00:00:00Z", 0),
            ("1970-01-01 00:00:00 UTC", 0),
            ("1970-01-01 00:00:00+5:30", -5 * hour - hour / 2),
            ("1970-01-01 00:00:00 Asia/Kolkata", -5 * hour - hour / 2),
        ] {
            assert_eq!(timestamp(text, Tz::America__New_York), Some(us), "{text}");
        }
        for text in ["", "12:00:00", "1970-01-01 24:00:00", "1970-01-01 00:00:00 Nowhere", "1970-01 00:00", "1.5"] {
            assert_eq!(timestamp(text, Tz::UTC), None, "{text}");
        }
    }
}
