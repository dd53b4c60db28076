//! Reads a local time by the items of a pattern.
//!
//! A single letter takes one or two digits, a run of letters exactly as many as it has; `y` takes all digits that come, the
//! fraction of a second as many as its letters or fewer. What is optional and does not fit is skipped.

use chrono::NaiveDate;

use super::local_time::LocalTime;
use super::pattern_item::PatternItem;
use super::write::MONTHS;

/// The most digits of a year.
const YEAR_DIGITS: usize = 9;

/// The fields of a local time, as far as they were read.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeFields {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    pub(super) micros: i64,
    pub(super) afternoon: Option<bool>,
    pub(super) offset_secs: Option<i64>,
}

impl TimeFields {
    pub(super) const EPOCH: Self = Self {
        year: 1970,
        month: 1,
        day: 1,
        hour: 0,
        minute: 0,
        second: 0,
        micros: 0,
        afternoon: None,
        offset_secs: None,
    };

    /// The local time; `None` when it is none of the calendar or the clock.
    #[inline]
    pub(super) fn local_time(self) -> Option<LocalTime> {
        let hour = match self.afternoon {
            Some(afternoon) => self.hour % 12 + if afternoon { 12 } else { 0 },
            None => self.hour,
        };
        if hour > 23 || self.minute > 59 || self.second > 59 {
            return None;
        }
        let days = days_from_civil(self.year, self.month, self.day)?;
        let secs = days * 86_400 + hour * 3_600 + self.minute * 60 + self.second;
        Some(LocalTime { secs, micros: self.micros, offset_secs: self.offset_secs })
    }
}

/// Reads all of `text` by `items`.
#[inline]
pub(super) fn by_items(items: &[PatternItem], text: &[u8]) -> Option<LocalTime> {
    let (mut fields, mut rest) = (TimeFields::EPOCH, text);
    take(items, &mut fields, &mut rest)?;
    if rest.is_empty() { fields.local_time() } else { None }
}

#[inline]
fn take(items: &[PatternItem], fields: &mut TimeFields, rest: &mut &[u8]) -> Option<()> {
    for item in items {
        match item {
            PatternItem::Literal(literal) => *rest = rest.strip_prefix(literal.as_bytes())?,
            PatternItem::Year(2) => fields.year = 2000 + number(rest, 2)?,
            PatternItem::Year(1) => fields.year = digits(rest, 1, YEAR_DIGITS)?,
            PatternItem::Year(3) => fields.year = digits(rest, 3, YEAR_DIGITS)?,
            PatternItem::Year(width) => fields.year = number(rest, *width)?,
            PatternItem::Month(width) => fields.month = number(rest, *width)?,
            PatternItem::MonthName { full } => fields.month = month_name(rest, *full)?,
            PatternItem::Day(width) => fields.day = number(rest, *width)?,
            PatternItem::Hour(width) => fields.hour = number(rest, *width)?,
            PatternItem::HourFrom1(width) => fields.hour = from_1(number(rest, *width)?, 24)?,
            PatternItem::HalfDayHour(width) => fields.hour = from_1(number(rest, *width)?, 12)?,
            PatternItem::HalfDayHourFrom0(width) => fields.hour = number(rest, *width).filter(|hour| *hour < 12)?,
            PatternItem::HalfDay => fields.afternoon = Some(half(rest)?),
            PatternItem::Minute(width) => fields.minute = number(rest, *width)?,
            PatternItem::Second(width) => fields.second = number(rest, *width)?,
            PatternItem::Fraction(digits) => fields.micros = fraction(rest, *digits)?,
            PatternItem::Offset { .. } => fields.offset_secs = Some(offset(rest)?),
            PatternItem::Optional(items) => take_optional(items, fields, rest),
            // `check_readable` has refused the others.
            _ => return None,
        }
    }
    Some(())
}

#[cold]
fn take_optional(items: &[PatternItem], fields: &mut TimeFields, rest: &mut &[u8]) {
    let before = (*fields, *rest);
    if take(items, fields, rest).is_none() {
        (*fields, *rest) = before;
    }
}

/// Takes all digits that come, at least `least` and at most `most`, which is less than 19.
pub(super) fn digits(rest: &mut &[u8], least: usize, most: usize) -> Option<i64> {
    let len = rest.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
    if len < least {
        return None;
    }
    let (text, after) = rest.split_at(len);
    *rest = after;
    Some(text.iter().fold(0, |n, byte| n * 10 + i64::from(byte - b'0')))
}

/// Takes one to `most` digits of the fraction of a second; microseconds. Further digits of those are cut off, as Spark's
/// timestamps do.
#[inline]
pub(super) fn fraction(rest: &mut &[u8], most: usize) -> Option<i64> {
    let (mut micros, mut scale, mut len) = (0, 1_000_000, 0);
    while len < most && rest.get(len).is_some_and(u8::is_ascii_digit) {
        scale /= 10;
        micros += i64::from(rest[len] - b'0') * scale;
        len += 1;
    }
    *rest = &rest[len..];
    (len > 0).then_some(micros)
}

/// Takes digits: exactly `width` of them, or one or two for a width of 1.
#[inline]
pub(super) fn number(rest: &mut &[u8], width: usize) -> Option<i64> {
    let digit = |at: usize| rest.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10);
    let len = if width == 1 && digit(1).is_some() { 2 } else { width };
    let mut number = 0;
    for at in 0..len {
        number = number * 10 + i64::from(digit(at)?);
    }
    *rest = &rest[len..];
    Some(number)
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
pub(super) fn offset(rest: &mut &[u8]) -> Option<i64> {
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
pub(super) fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    // chrono checks month lengths and leap years; its day number counts from 0001-01-01.
    const EPOCH: i64 = 719_163;
    let date = NaiveDate::from_ymd_opt(year as i32, month as u32, day as u32)?;
    Some(i64::from(chrono::Datelike::num_days_from_ce(&date)) - EPOCH)
}

#[cfg(test)]
mod tests {
    use crate::timestamp::TimestampPattern;

    fn secs(pattern: &str, text: &str) -> Option<(i64, i64, Option<i64>)> {
        let pattern = TimestampPattern::parse(pattern).unwrap();
        pattern.read(text.as_bytes()).map(|r| (r.secs, r.micros, r.offset_secs))
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

    #[test]
    fn a_fraction_may_have_fewer_digits_than_letters_and_never_more() {
        let pattern = "yyyy-MM-dd HH:mm:ss.SSS";
        for (text, micros) in [("00.250", 250_000), ("00.25", 250_000), ("00.2", 200_000), ("00.002", 2_000)] {
            assert_eq!(secs(pattern, &format!("1970-01-01 00:00:{text}")), Some((0, micros, None)), "{text}");
        }
        for wrong in ["00.", "00", "00.1234", "00.1x"] {
            assert_eq!(secs(pattern, &format!("1970-01-01 00:00:{wrong}")), None, "{wrong}");
        }
        assert_eq!(secs("yyyy-MM-dd.SSSSSSSSS", "1970-01-01.123456789"), Some((0, 123_456, None)));
    }

    #[test]
    fn what_is_optional_may_be_missing_and_never_half_there() {
        let pattern = "yyyy-MM-dd[ HH:mm[:ss][.SSS][.SSSSSS]][XXX]";
        for (text, expected) in [
            ("1970-01-02", Some((86_400, 0, None))),
            ("1970-01-01 00:01", Some((60, 0, None))),
            ("1970-01-01 00:01:02", Some((62, 0, None))),
            ("1970-01-01 00:01:02.5", Some((62, 500_000, None))),
            ("1970-01-01 00:01.000001", None),
            ("1970-01-01 00:01:02Z", Some((62, 0, Some(0)))),
            ("1970-01-01 00:01:", None),
            ("1970-01-01 00", None),
        ] {
            assert_eq!(secs(pattern, text), expected, "{text}");
        }
    }

    #[test]
    fn a_year_of_one_letter_takes_all_its_digits() {
        for text in ["2026-1-5 1:2:3", "02026-01-05 01:02:03"] {
            assert_eq!(secs("y-M-d H:m:s", text), Some((1_767_574_923, 0, None)), "{text}");
        }
        assert_eq!(secs("yyy-MM-dd", "26-01-05"), None);
    }
}
