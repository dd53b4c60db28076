//! Names of the lake's files: they depend on the content, never on the time of writing.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use super::FileEncoding;
use crate::day::day_of;

/// The key of the folders of pipelines that published before the key could be chosen.
pub(crate) const LEGACY_KEY: &str = "date";

/// The folder of dead letters, below the lake's root.
pub(crate) const LETTERS: &str = "_dead_letters";

/// How names of dead letters end.
const LETTERS_EXTENSION: &str = "jsonl.gz";

/// Name of a window's file: `<key>=YYYY-MM-DD/<pipeline>_<start>_<end>[_v2].csv.gz`.
///
/// `key`: that of the pipeline's folders, see [`crate::Slot::partition_key`]. `start_us`, `end_us`: `[start, end)`,
/// microseconds since the epoch. Both and the date, that of the start, are UTC. The first version has no suffix.
pub fn window_name(
    key: &str,
    pipeline: &str,
    start_us: i64,
    end_us: i64,
    version: u32,
    format: FileEncoding,
) -> String {
    let date = date(start_us);
    let (start, end) = (compact_instant(start_us), compact_instant(end_us));
    let version = if version > 1 { format!("_v{version}") } else { String::new() };
    format!("{key}={date}/{pipeline}_{start}_{end}{version}.{}", format.extension())
}

/// The key and the day (since the epoch, UTC) in a name `<key>=YYYY-MM-DD/…`; none for any other name.
pub(crate) fn partition_of(name: &str) -> Option<(&str, i64)> {
    let (key, date) = name.split_once('/')?.0.split_once('=')?;
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok().filter(|_| !key.is_empty() && date.len() == 10)?;
    Some((key, day_of(date.and_time(NaiveTime::MIN).and_utc().timestamp_micros())))
}

/// Name of the dead letters of the commit with number `seq`: `_dead_letters/<pipeline>_<seq>.jsonl.gz`.
pub fn dead_letters_name(pipeline: &str, seq: u64) -> String {
    format!("{LETTERS}/{pipeline}_{seq:020}.{LETTERS_EXTENSION}")
}

/// Name of an object that holds several windows of one UTC day:
/// `<key>=YYYY-MM-DD/<pipeline>_<YYYYMMDD>_m<seq>_<mark>.parquet`.
///
/// `key`: that of the objects whose rows it holds. `seq`: the slot of the maintenance chain for which it was made. Whether that slot names it tells for ever whether it
/// is part of the lake. `mark` tells this attempt at the slot from any other.
pub(crate) fn compacted_name(
    key: &str,
    pipeline: &str,
    start_us: i64,
    seq: u64,
    mark: &str,
    format: FileEncoding,
) -> String {
    let start = utc(start_us);
    let (folder, date) = (start.format("%Y-%m-%d"), start.format("%Y%m%d"));
    format!("{key}={folder}/{pipeline}_{date}_m{seq:020}_{mark:.MARK$}.{}", format.extension())
}

/// Name of an object that holds the dead letters of several commits of one UTC day:
/// `_dead_letters/<pipeline>_<YYYYMMDD>_m<seq>_<mark>.jsonl.gz`. `seq` and `mark` as in a compacted object's name.
pub(crate) fn compacted_letters_name(pipeline: &str, at_us: i64, seq: u64, mark: &str) -> String {
    format!("{LETTERS}/{pipeline}_{}_m{seq:020}_{mark:.MARK$}.{LETTERS_EXTENSION}", utc(at_us).format("%Y%m%d"))
}

/// The commit whose dead letters a file of the pipeline is named for; none for any other name.
pub(crate) fn dead_letters_of(pipeline: &str, name: &str) -> Option<u64> {
    let seq = name.strip_suffix(".jsonl.gz")?.rsplit_once('_')?.1.parse().ok()?;
    (dead_letters_name(pipeline, seq) == name).then_some(seq)
}

/// Letters of an attempt's mark in the name of a compacted object, at most.
const MARK: usize = 12;

/// The slot of the maintenance chain for which a compacted object of the pipeline was made, by the object's name; none
/// for any other name.
pub(crate) fn compacted_for(pipeline: &str, name: &str) -> Option<u64> {
    let (folder, file) = name.split_once('/')?;
    let of_letters = folder == LETTERS;
    if !of_letters {
        partition_of(name)?;
    }
    let rest = file.strip_prefix(pipeline)?.strip_prefix('_')?;
    let (date, rest) = rest.split_once("_m")?;
    let (seq, rest) = rest.split_once('_')?;
    let (mark, extension) = rest.split_once('.')?;
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let of_windows = [FileEncoding::CsvGz, FileEncoding::Parquet].iter().any(|format| format.extension() == extension);
    let known = if of_letters { extension == LETTERS_EXTENSION } else { of_windows };
    let marked = (1..=MARK).contains(&mark.len()) && mark.bytes().all(|byte| byte.is_ascii_hexdigit());
    (digits(date, 8) && digits(seq, 20) && marked && known).then(|| seq.parse().ok()).flatten()
}

/// `2026-08-01`: the UTC date of an instant.
pub(crate) fn date(us: i64) -> String {
    utc(us).format("%Y-%m-%d").to_string()
}

/// `20260801T080000Z`; with a fraction only where it is not zero.
pub(crate) fn compact_instant(us: i64) -> String {
    utc(us).format("%Y%m%dT%H%M%S%.fZ").to_string()
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
            window_name("date", "mta-turnstile", EIGHT, EIGHT + FIVE_MINUTES, 1, FileEncoding::CsvGz),
            "date=2026-08-01/mta-turnstile_20260801T080000Z_20260801T080500Z.csv.gz"
        );
        assert_eq!(
            window_name("window_date", "p", EIGHT + 500_000, EIGHT + FIVE_MINUTES, 2, FileEncoding::Parquet),
            "window_date=2026-08-01/p_20260801T080000.500Z_20260801T080500Z_v2.parquet"
        );
    }

    #[test]
    fn the_window_before_midnight_belongs_to_the_day_that_it_starts_on() {
        let midnight = 1_785_542_400_000_000;
        let name = window_name("date", "p", midnight - FIVE_MINUTES, midnight, 1, FileEncoding::CsvGz);
        assert_eq!(name, "date=2026-07-31/p_20260731T235500Z_20260801T000000Z.csv.gz");
    }

    #[test]
    fn a_compacted_object_differs_from_any_other_name() {
        let name = compacted_name("date", "mta", EIGHT, 7, "0123456789abcdef", FileEncoding::Parquet);
        assert_eq!(name, "date=2026-08-01/mta_20260801_m00000000000000000007_0123456789ab.parquet");
        assert_eq!(compacted_for("mta", &name), Some(7));
        for other in ["mt", "mta_20260801", "stations"] {
            assert_eq!(compacted_for(other, &name), None, "{other}");
        }
        let window = window_name(
            "day",
            "mta_20260801_m00000000000000000007",
            EIGHT,
            EIGHT + FIVE_MINUTES,
            1,
            FileEncoding::Parquet,
        );
        assert_eq!(compacted_for("mta", &window), None);
        let published = dead_letters_name("mta", 7);
        assert_eq!((compacted_for("mta", &published), dead_letters_of("mta", &published)), (None, Some(7)));
        let letters = compacted_letters_name("mta", EIGHT, 7, "0123456789");
        assert_eq!(letters, "_dead_letters/mta_20260801_m00000000000000000007_0123456789.jsonl.gz");
        assert_eq!((compacted_for("mta", &letters), dead_letters_of("mta", &letters)), (Some(7), None));
    }

    #[test]
    fn a_folder_of_any_key_names_its_day() {
        let name = window_name("window_date", "p", EIGHT, EIGHT + FIVE_MINUTES, 1, FileEncoding::CsvGz);
        assert_eq!(partition_of(&name), Some(("window_date", EIGHT.div_euclid(86_400_000_000))));
        for other in ["_dead_letters/p_7.jsonl.gz", "date=2026-08-01", "=2026-08-01/x", "date=2026-8-1/x", "date=x/y"] {
            assert_eq!(partition_of(other), None, "{other}");
        }
    }
}
