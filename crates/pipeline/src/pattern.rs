//! Spark's date-time patterns: what their letters mean, and how an instant is written by one.
//!
//! In: a pattern such as `yyyy-MM-dd HH:mm:ss`. Out: its [`PatternItem`]s, for whoever reads local
//! times, and [`TimestampPattern::write`]. Source:
//! <https://spark.apache.org/docs/latest/sql-ref-datetime-pattern.html>.

use std::fmt::{self, Write};

use chrono::{DateTime, Datelike, Offset, TimeZone, Timelike};
use chrono_tz::{OffsetName, Tz};

/// A checked date-time pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TimestampPattern {
    text: String,
    items: Vec<PatternItem>,
}

/// One piece of a pattern. Widths are the least number of digits, filled with zeros.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PatternItem {
    /// Text that stands for itself.
    Literal(String),
    /// `y`, `u`: the year; two letters mean its last two digits (2000 to 2099 when read).
    Year(usize),
    /// `M`, `L`: the month, 1 to 12.
    Month(usize),
    /// `MMM` (`Jan`) or, when full, `MMMM` (`January`).
    MonthName {
        /// Whether the name is written out.
        full: bool,
    },
    /// `d`: the day of the month, 1 to 31.
    Day(usize),
    /// `D`: the day of the year, 1 to 366.
    DayOfYear(usize),
    /// `E` (`Tue`) or, when full, `EEEE` (`Tuesday`).
    Weekday {
        /// Whether the name is written out.
        full: bool,
    },
    /// `Q`, `q`: the quarter, 1 to 4.
    Quarter(usize),
    /// `H`: the hour, 0 to 23.
    Hour(usize),
    /// `k`: the hour, 1 to 24.
    HourFrom1(usize),
    /// `h`: the hour of the half day, 1 to 12.
    HalfDayHour(usize),
    /// `K`: the hour of the half day, 0 to 11.
    HalfDayHourFrom0(usize),
    /// `a`: `AM` or `PM`.
    HalfDay,
    /// `m`: the minute.
    Minute(usize),
    /// `s`: the second.
    Second(usize),
    /// `S`: this many digits of the fraction of the second.
    Fraction(usize),
    /// `X`, `x`, `Z`: the offset from UTC.
    Offset {
        /// Whether a colon parts hours and minutes.
        colon: bool,
        /// Whether minutes are left out when they are zero.
        short: bool,
        /// Whether an offset of zero is written `Z`.
        zulu: bool,
    },
    /// `z`: the short name of the zone (`EST`).
    ZoneName,
    /// `VV`: the IANA name of the zone.
    ZoneId,
}

impl TimestampPattern {
    /// Checks a pattern.
    ///
    /// # Errors
    /// A sentence that names the letter that is not supported, or the quote that does not end.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut items = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let count = rest.chars().take_while(|other| *other == c).count();
            let mut taken = count * c.len_utf8();
            if c == '\'' {
                taken = quoted(rest, &mut literal).ok_or_else(|| format!("the quote in \"{text}\" does not end"))?;
            } else if c.is_ascii_alphabetic() {
                if !literal.is_empty() {
                    items.push(PatternItem::Literal(std::mem::take(&mut literal)));
                }
                items.push(item(c, count).ok_or_else(|| refusal(c, count))?);
            } else if matches!(c, '[' | ']' | '{' | '}' | '#') {
                return Err(format!("the pattern \"{text}\" contains {c}, which is not supported"));
            } else {
                literal.push_str(&rest[..taken]);
            }
            rest = &rest[taken..];
        }
        if !literal.is_empty() {
            items.push(PatternItem::Literal(literal));
        }
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

    /// Whether text can be read by this pattern: it names a year, a month and a day, each once, and
    /// nothing that only makes sense when written.
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
        let half_day = has(|i| matches!(i, PatternItem::HalfDay));
        for item in &self.items {
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
                _ => {}
            }
        }
        Ok(())
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

/// Takes a quoted text, or the two quotes that mean one, from the start of `rest`; returns its length.
fn quoted(rest: &str, literal: &mut String) -> Option<usize> {
    if rest.starts_with("''") {
        literal.push('\'');
        return Some(2);
    }
    let mut at = 1;
    loop {
        let end = at + rest[at..].find('\'')?;
        literal.push_str(&rest[at..end]);
        at = end + 1;
        if !rest[at..].starts_with('\'') {
            return Some(at);
        }
        literal.push('\'');
        at += 1;
    }
}

fn item(letter: char, count: usize) -> Option<PatternItem> {
    Some(match (letter, count) {
        ('y' | 'u', 1..=6) => PatternItem::Year(count),
        ('M' | 'L', 1 | 2) => PatternItem::Month(count),
        ('M' | 'L', 3 | 4) => PatternItem::MonthName { full: count == 4 },
        ('d', 1 | 2) => PatternItem::Day(count),
        ('D', 1..=3) => PatternItem::DayOfYear(count),
        ('E', 1..=4) => PatternItem::Weekday { full: count == 4 },
        ('Q' | 'q', 1 | 2) => PatternItem::Quarter(count),
        ('H', 1 | 2) => PatternItem::Hour(count),
        ('k', 1 | 2) => PatternItem::HourFrom1(count),
        ('h', 1 | 2) => PatternItem::HalfDayHour(count),
        ('K', 1 | 2) => PatternItem::HalfDayHourFrom0(count),
        ('a', 1) => PatternItem::HalfDay,
        ('m', 1 | 2) => PatternItem::Minute(count),
        ('s', 1 | 2) => PatternItem::Second(count),
        ('S', 1..=9) => PatternItem::Fraction(count),
        ('X' | 'x', 1..=3) => PatternItem::Offset { colon: count == 3, short: count == 1, zulu: letter == 'X' },
        ('Z', 1..=3) => PatternItem::Offset { colon: false, short: false, zulu: false },
        ('Z', 5) => PatternItem::Offset { colon: true, short: false, zulu: true },
        ('z', 1..=3) => PatternItem::ZoneName,
        ('V', 2) => PatternItem::ZoneId,
        _ => return None,
    })
}

fn refusal(letter: char, count: usize) -> String {
    let run: String = std::iter::repeat_n(letter, count).collect();
    match letter {
        'Y' => format!("the pattern letters {run} mean the year of the week, which Spark refuses too; write yyyy"),
        _ => format!("the pattern letters {run} are not supported; quote text with '…'"),
    }
}

fn write_item(item: &PatternItem, local: &DateTime<Tz>, out: &mut String) -> fmt::Result {
    let half = local.hour() % 12;
    match item {
        PatternItem::Literal(text) => out.write_str(text),
        PatternItem::Year(2) => write!(out, "{:02}", local.year().rem_euclid(100)),
        PatternItem::Year(width) => {
            // As java.time: a year with more digits than letters carries a sign.
            let sign = if *width >= 4 && local.year() > 9_999 { "+" } else { "" };
            let minus = if local.year() < 0 { "-" } else { "" };
            write!(out, "{sign}{minus}{:0width$}", local.year().unsigned_abs())
        }
        PatternItem::Month(width) => write!(out, "{:0width$}", local.month()),
        PatternItem::MonthName { full } => out.write_str(name(MONTHS[local.month0() as usize], *full)),
        PatternItem::Day(width) => write!(out, "{:0width$}", local.day()),
        PatternItem::DayOfYear(width) => write!(out, "{:0width$}", local.ordinal()),
        PatternItem::Weekday { full } => {
            out.write_str(name(WEEKDAYS[local.weekday().num_days_from_monday() as usize], *full))
        }
        PatternItem::Quarter(width) => write!(out, "{:0width$}", local.month0() / 3 + 1),
        PatternItem::Hour(width) => write!(out, "{:0width$}", local.hour()),
        PatternItem::HourFrom1(width) => {
            write!(out, "{:0width$}", if local.hour() == 0 { 24 } else { local.hour() })
        }
        PatternItem::HalfDayHour(width) => write!(out, "{:0width$}", if half == 0 { 12 } else { half }),
        PatternItem::HalfDayHourFrom0(width) => write!(out, "{half:0width$}"),
        PatternItem::HalfDay => out.write_str(if local.hour() < 12 { "AM" } else { "PM" }),
        PatternItem::Minute(width) => write!(out, "{:0width$}", local.minute()),
        PatternItem::Second(width) => write!(out, "{:0width$}", local.second()),
        PatternItem::Fraction(digits) => {
            let nanos = format!("{:09}", local.nanosecond() % 1_000_000_000);
            out.write_str(&nanos[..*digits])
        }
        PatternItem::Offset { colon, short, zulu } => write_offset(local, *colon, *short, *zulu, out),
        PatternItem::ZoneName => match local.offset().abbreviation() {
            Some(name) => out.write_str(name),
            None => write_offset(local, true, false, true, out),
        },
        PatternItem::ZoneId => out.write_str(local.timezone().name()),
    }
}

fn write_offset(local: &DateTime<Tz>, colon: bool, short: bool, zulu: bool, out: &mut String) -> fmt::Result {
    let seconds = local.offset().fix().local_minus_utc();
    if seconds == 0 && zulu {
        return out.write_str("Z");
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    write!(out, "{sign}{:02}", minutes / 60)?;
    if short && minutes % 60 == 0 {
        return Ok(());
    }
    write!(out, "{}{:02}", if colon { ":" } else { "" }, minutes % 60)
}

fn name(full_name: &'static str, full: bool) -> &'static str {
    if full { full_name } else { &full_name[..3] }
}

/// The names of the months, January first.
pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

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
        for pattern in ["YYYY", "yyyy-MM-dd'T", "hh[mm]", "G", "ww", "HHH", ""] {
            assert!(TimestampPattern::parse(pattern).is_err(), "{pattern}");
        }
        for pattern in ["HH:mm", "yyyy-MM", "yyyy-MM-dd hh:mm", "yyyy-MM-dd E", "yyyy-MM-dd dd"] {
            assert!(TimestampPattern::parse(pattern).unwrap().check_readable().is_err(), "{pattern}");
        }
        for pattern in ["yyyy-MM-dd HH:mm:ss", "MM/dd/yyyy hh:mm a", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX"] {
            assert_eq!(TimestampPattern::parse(pattern).unwrap().check_readable(), Ok(()), "{pattern}");
        }
    }
}
