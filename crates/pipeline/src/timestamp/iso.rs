//! Reads ISO 8601's calendar dates and times of day as people and programs write them.
//!
//! Taken: `2026-01-05`, then after `T`, `t` or one blank the time to the minute, the second or a fraction of it (`.` or `,`,
//! one to nine digits, to the microsecond), then `Z`, `z` or an offset `+HH`, `+HHMM`, `+HH:MM`. Source: RFC 3339, and
//! ISO 8601-1:2019, 5.2.2.1 and 5.3 (extended format).

use super::local_time::LocalTime;
use super::read::{TimeFields, fraction, number, offset};

/// Reads `text`; `None` when it has another form or is not a date of the calendar.
pub(super) fn read(text: &[u8]) -> Option<LocalTime> {
    let (mut fields, mut rest) = (TimeFields::EPOCH, text);
    fields.year = number(&mut rest, 4)?;
    fields.month = after(&mut rest, b"-").then(|| number(&mut rest, 2))??;
    fields.day = after(&mut rest, b"-").then(|| number(&mut rest, 2))??;
    if after(&mut rest, b"Tt ") {
        fields.hour = number(&mut rest, 2)?;
        fields.minute = after(&mut rest, b":").then(|| number(&mut rest, 2))??;
        if after(&mut rest, b":") {
            fields.second = number(&mut rest, 2)?;
            if after(&mut rest, b".,") {
                fields.micros = fraction(&mut rest, 9)?;
            }
        }
        if after(&mut rest, b"z") {
            fields.offset_secs = Some(0);
        } else if !rest.is_empty() {
            fields.offset_secs = Some(offset(&mut rest)?);
        }
    }
    if rest.is_empty() { fields.local_time() } else { None }
}

/// Takes one of `bytes`, if it is next.
fn after(rest: &mut &[u8], bytes: &[u8]) -> bool {
    match rest.split_first() {
        Some((first, others)) if bytes.contains(first) => {
            *rest = others;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(text: &str) -> Option<(i64, i64, Option<i64>)> {
        read(text.as_bytes()).map(|read| (read.secs, read.micros, read.offset_secs))
    }

    #[test]
    fn dates_and_times_are_read_in_every_form_that_writers_choose() {
        for (text, expected) in [
            ("1970-01-02", (86_400, 0, None)),
            ("1970-01-01T00:01", (60, 0, None)),
            ("1970-01-01 00:01:02", (62, 0, None)),
            ("1970-01-01T00:01:02Z", (62, 0, Some(0))),
            ("1970-01-01t00:01:02z", (62, 0, Some(0))),
            ("1970-01-01T00:01:02.5Z", (62, 500_000, Some(0))),
            ("1970-01-01T00:01:02,123456789+05:30", (62, 123_456, Some(19_800))),
            ("1970-01-01T00:01:02-0800", (62, 0, Some(-28_800))),
            ("1970-01-01T00:01+01", (60, 0, Some(3_600))),
        ] {
            assert_eq!(secs(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_forms_and_dates_that_do_not_exist_are_refused() {
        for text in [
            "",
            "1970",
            "1970-01",
            "19700101",
            "1970-1-1",
            "1970-02-30",
            "1970-01-01T",
            "1970-01-01T24:00",
            "1970-01-01T00",
            "1970-01-01T00:00:",
            "1970-01-01T00:00:00.",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:60",
            "1970-01-01Z",
            "1970-01-01T00:00:00Zulu",
            "1970-01-01T00:00:00+",
            " 1970-01-01",
        ] {
            assert_eq!(secs(text), None, "{text}");
        }
    }
}
