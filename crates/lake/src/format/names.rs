//! Names of the lake's files: a function of what is in them, never of when they were written.

use chrono::{DateTime, Timelike, Utc};

use super::Format;

/// Name of a window's file: `date=YYYY-MM-DD/<pipeline>_<start>_<end>[_v2].csv.gz`.
///
/// `start_us`, `end_us`: `[start, end)`, microseconds since the epoch. Both and the date, that of the
/// start, are UTC. The first version has no suffix.
pub fn window_name(pipeline: &str, start_us: i64, end_us: i64, version: u32, format: Format) -> String {
    let date = utc(start_us).format("%Y-%m-%d");
    let (start, end) = (compact_instant(start_us), compact_instant(end_us));
    let version = if version > 1 { format!("_v{version}") } else { String::new() };
    format!("date={date}/{pipeline}_{start}_{end}{version}.{}", format.extension())
}

/// Name of the dead letters of the commit with number `seq`: `_dead_letters/<pipeline>_<seq>.jsonl.gz`.
pub fn dead_letters_name(pipeline: &str, seq: u64) -> String {
    format!("_dead_letters/{pipeline}_{seq:020}.jsonl.gz")
}

/// `20260801T080000Z`; with a fraction only where it is not zero.
pub(crate) fn compact_instant(us: i64) -> String {
    utc(us).format("%Y%m%dT%H%M%S%.fZ").to_string()
}

/// An instant (microseconds since the epoch) as a person reads it, in UTC: `2026-08-01T08:00Z`, with
/// seconds and fraction only where they are not zero.
pub fn readable_instant(us: i64) -> String {
    let at = utc(us);
    let text = if at.second() == 0 && at.nanosecond() == 0 { "%Y-%m-%dT%H:%MZ" } else { "%Y-%m-%dT%H:%M:%S%.fZ" };
    at.format(text).to_string()
}

/// The first instant that chrono cannot hold is 262,000 years away; windows never reach it.
fn utc(us: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(us).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIGHT: i64 = 1_785_571_200_000_000;
    const FIVE_MINUTES: i64 = 300_000_000;

    #[test]
    fn a_file_is_named_by_its_window() {
        assert_eq!(
            window_name("mta-turnstile", EIGHT, EIGHT + FIVE_MINUTES, 1, Format::CsvGz),
            "date=2026-08-01/mta-turnstile_20260801T080000Z_20260801T080500Z.csv.gz"
        );
        assert_eq!(
            window_name("p", EIGHT + 500_000, EIGHT + FIVE_MINUTES, 2, Format::Parquet),
            "date=2026-08-01/p_20260801T080000.500Z_20260801T080500Z_v2.parquet"
        );
    }

    #[test]
    fn the_window_before_midnight_belongs_to_the_day_that_it_starts_on() {
        let midnight = 1_785_542_400_000_000;
        let name = window_name("p", midnight - FIVE_MINUTES, midnight, 1, Format::CsvGz);
        assert_eq!(name, "date=2026-07-31/p_20260731T235500Z_20260801T000000Z.csv.gz");
    }

    #[test]
    fn a_person_reads_instants_without_needless_digits() {
        assert_eq!(readable_instant(EIGHT), "2026-08-01T08:00Z");
        assert_eq!(readable_instant(EIGHT + 1_500_000), "2026-08-01T08:00:01.500Z");
    }
}
