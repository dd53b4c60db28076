//! Reads timestamps by their declared pattern.
//!
//! [`TimestampPattern`] defines the letters; here text becomes an instant. A single letter takes one or two digits, a
//! run of letters exactly as many as it has.

use chrono::NaiveDate;
use turnstile_pipeline::{MONTHS, PatternItem, TimestampPattern};

/// A local time that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ParsedTimestamp {
    /// Seconds since 1970-01-01T00:00:00 on the local clock.
    pub(crate) secs: i64,
    /// Microseconds of the second.
    pub(crate) micros: i64,
    /// Seconds that the local clock is ahead of UTC, when the text says so.
    pub(crate) offset_secs: Option<i64>,
}

/// Reads `text`; `None` when it does not fit the pattern or is not a date of the calendar.
#[inline]
pub(crate) fn read(pattern: &TimestampPattern, text: &[u8]) -> Option<ParsedTimestamp> {
    let (mut year, mut month, mut day) = (1970i64, 1i64, 1i64);
    let (mut hour, mut minute, mut second, mut micros) = (0i64, 0i64, 0i64, 0i64);
    let (mut half_day, mut offset_secs) = (None, None);
    let mut rest = text;
    for item in pattern.items() {
        match item {
            PatternItem::Literal(literal) => rest = rest.strip_prefix(literal.as_bytes())?,
            PatternItem::Year(2) => year = 2000 + number(&mut rest, 2)?,
            PatternItem::Year(width) => year = number(&mut rest, *width)?,
            PatternItem::Month(width) => month = number(&mut rest, *width)?,
            PatternItem::MonthName { full } => month = month_name(&mut rest, *full)?,
            PatternItem::Day(width) => day = number(&mut rest, *width)?,
            PatternItem::Hour(width) => hour = number(&mut rest, *width)?,
            PatternItem::HourFrom1(width) => hour = from_1(number(&mut rest, *width)?, 24)?,
            PatternItem::HalfDayHour(width) => hour = from_1(number(&mut rest, *width)?, 12)?,
            PatternItem::HalfDayHourFrom0(width) => hour = number(&mut rest, *width).filter(|hour| *hour < 12)?,
            PatternItem::HalfDay => half_day = Some(half(&mut rest)?),
            PatternItem::Minute(width) => minute = number(&mut rest, *width)?,
            PatternItem::Second(width) => second = number(&mut rest, *width)?,
            PatternItem::Fraction(digits) => {
                let fraction = digits_of(&mut rest, *digits)?;
                // Digits beyond microseconds are cut off, as Spark's timestamps do.
                micros = fraction * 1_000_000 / 10i64.pow(*digits as u32);
            }
            PatternItem::Offset { .. } => offset_secs = Some(offset(&mut rest)?),
            // `check_readable` has refused the others.
            _ => return None,
        }
    }
    if let Some(afternoon) = half_day {
        hour = hour % 12 + if afternoon { 12 } else { 0 };
    }
    if !rest.is_empty() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let secs = days_from_civil(year, month, day)? * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(ParsedTimestamp { secs, micros, offset_secs })
}

/// Takes digits: exactly `width` of them, or one or two for a width of 1.
#[inline]
fn number(rest: &mut &[u8], width: usize) -> Option<i64> {
    let digit = |at: usize| rest.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10);
    let len = if width == 1 && digit(1).is_some() { 2 } else { width };
    let mut number = 0;
    for at in 0..len {
        number = number * 10 + i64::from(digit(at)?);
    }
    *rest = &rest[len..];
    Some(number)
}

/// Takes exactly `width` digits.
fn digits_of(rest: &mut &[u8], width: usize) -> Option<i64> {
    let (text, after) = rest.split_at_checked(width)?;
    *rest = after;
    text.iter().try_fold(0, |n, byte| Some(n * 10 + i64::from(Some(byte.wrapping_sub(b'0')).filter(|d| *d < 10)?)))
}

fn from_1(hour: i64, hours: i64) -> Option<i64> {
    (1..=hours).contains(&hour).then_some(hour % hours)
}

fn half(rest: &mut &[u8]) -> Option<bool> {
    let (text, after) = rest.split_at_checked(2)?;
    *rest = after;
    if text.eq_ignore_ascii_case(b"AM") {
        Some(false)
    } else if text.eq_ignore_ascii_case(b"PM") {
        Some(true)
    } else {
        None
    }
}

fn month_name(rest: &mut &[u8], full: bool) -> Option<i64> {
    for (month, name) in MONTHS.iter().enumerate() {
        let name = if full { name } else { &name[..3] };
        if let Some((text, after)) = rest.split_at_checked(name.len())
            && text.eq_ignore_ascii_case(name.as_bytes())
        {
            *rest = after;
            return Some(month as i64 + 1);
        }
    }
    None
}

/// `Z`, `+HH`, `+HHMM` or `+HH:MM`.
fn offset(rest: &mut &[u8]) -> Option<i64> {
    let (sign, after) = rest.split_first()?;
    *rest = after;
    let sign = match sign {
        b'Z' => return Some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = number(rest, 2)?;
    if let [b':', after @ ..] = *rest {
        *rest = after;
    }
    let minutes = if rest.first().is_some_and(u8::is_ascii_digit) { number(rest, 2)? } else { 0 };
    (hours < 19 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Days since 1970-01-01, or `None` for a date that is not in the calendar.
#[inline]
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    // chrono checks month lengths and leap years; its day number counts from 0001-01-01.
    const EPOCH: i64 = 719_163;
    let date = NaiveDate::from_ymd_opt(year as i32, month as u32, day as u32)?;
    Some(i64::from(chrono::Datelike::num_days_from_ce(&date)) - EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(pattern: &str, text: &str) -> Option<(i64, i64, Option<i64>)> {
        let pattern = TimestampPattern::parse(pattern).unwrap();
        read(&pattern, text.as_bytes()).map(|r| (r.secs, r.micros, r.offset_secs))
    }

    #[test]
    fn a_pattern_reads_what_it_says_and_nothing_else() {
        let usual = "yyyy-MM-dd HH:mm:ss";
        assert_eq!(secs(usual, "2023-09-22 14:05:00"), Some((1_695_391_500, 0, None)));
        assert_eq!(secs(usual, "1969-12-31 23:59:59"), Some((-1, 0, None)));
        for wrong in ["2023-09-22 14:05", "2023-09-22 14:05:00Z", "2023-02-30 00:00:00", "2023-09-22 24:00:00", ""] {
            assert_eq!(secs(usual, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn other_letters_are_read_too() {
        assert_eq!(secs("MM/dd/yy'T'HH:mm:ss.SSS", "01/01/70T00:00:01.250"), Some((3_155_760_001, 250_000, None)));
        assert_eq!(secs("d MMM yyyy h:mm a", "1 Jan 1970 12:30 am"), Some((1_800, 0, None)));
        assert_eq!(secs("d MMMM yyyy h:mm a", "10 January 1970 1:30 PM"), Some((826_200, 0, None)));
        assert_eq!(secs("yyyy-MM-dd'T'HH:mm:ssXXX", "1970-01-01T02:00:00+02:00"), Some((7_200, 0, Some(7_200))));
        assert_eq!(secs("yyyy-MM-dd'T'HH:mm:ssX", "1970-01-01T00:00:00Z"), Some((0, 0, Some(0))));
    }
}
