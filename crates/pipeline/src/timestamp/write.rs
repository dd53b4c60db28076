//! Writes an instant by a pattern.

use std::fmt::{self, Write};

use chrono::{DateTime, Datelike, Offset, Timelike};
use chrono_tz::{OffsetName, Tz};

use super::pattern_item::PatternItem;

/// Writes one item of a pattern for the local time `local`.
pub(super) fn write_item(item: &PatternItem, local: &DateTime<Tz>, out: &mut String) -> fmt::Result {
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
        PatternItem::Offset { colon, short, zulu, seconds } => {
            write_offset(local, *colon, *short, *zulu, out)?;
            match local.offset().fix().local_minus_utc().abs() % 60 {
                rest if *seconds && rest > 0 => write!(out, ":{rest:02}"),
                _ => Ok(()),
            }
        }
        PatternItem::ZoneName => match local.offset().abbreviation() {
            Some(name) => out.write_str(name),
            None => write_offset(local, true, false, true, out),
        },
        PatternItem::ZoneId => out.write_str(local.timezone().name()),
        PatternItem::Optional(items) => items.iter().try_for_each(|item| write_item(item, local, out)),
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
pub(super) const MONTHS: [&str; 12] = [
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
