//! `mta-replay` on small files in both forms, and on the real weeks where they are at hand.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

const NEW: &str = ",CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS\n\
    0,A002,R051,02-00-00,59 ST,NQR456W,BMT,12/30/2023,03:00:00,REGULAR,100,73801\n\
    1,A002,R051,02-00-00,59 ST,NQR456W,BMT,12/30/2023,07:00:00,REGULAR,105,73815\n\
    2,A002,R051,02-00-00,59 ST,NQR456W,BMT,12/30/2023,11:00:00,RECOVR AUD,90,99999\n\
    3,A002,R051,02-00-01,59 ST,NQR456W,BMT,12/30/2023,03:00:00,REGULAR,7,8\n\
    4,A002,R051,02-00-01,59 ST,NQR456W,BMT,12/30/2023,07:00:00,REGULAR,9,8\n";

const OLD: &str = "C/A,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS                    \n\
    A002,R051,02-00-00,59 ST,NQR456W,BMT,05/27/2023,00:00:00,REGULAR,0002040,0000985                        \n";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn write_gz(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        let mut gz = GzEncoder::new(std::fs::File::create(&path).unwrap(), Compression::fast());
        gz.write_all(text.as_bytes()).unwrap();
        gz.finish().unwrap();
        path
    }
}

fn new_york() -> chrono_tz::Tz {
    chrono_tz::America::New_York
}

fn replay(files: &[PathBuf], registers: RegisterMode) -> Result<Vec<(String, String, i64)>, ProviderError> {
    let mut provider = MtaReplayProvider::open(files, registers, new_york(), false)?;
    let mut record = ProducerRecord::default();
    let mut all = Vec::new();
    while provider.next(&mut record)? {
        let key = String::from_utf8(record.key().unwrap().to_vec()).unwrap();
        all.push((key, serde_json::from_slice(&record.value).unwrap(), record.event_at_ms));
    }
    assert_eq!(provider.total(), Some(all.len() as u64));
    Ok(all)
}

/// ENTRIES and EXITS of each message, with its key's last part and hour.
fn counts(messages: &[(String, String, i64)]) -> Vec<String> {
    let short = |(key, line, _): &(String, String, i64)| {
        let f: Vec<&str> = line.split(',').collect();
        format!("{} {} {} {}", &key[key.len() - 2..], &f[7][..2], f[9], f[10])
    };
    messages.iter().map(short).collect()
}

#[test]
fn rows_come_in_event_order_across_turnstiles_with_registers_as_in_the_file() {
    let folder = Folder::new();
    let all = replay(&[folder.write("w.csv", NEW)], RegisterMode::AsInFile).unwrap();
    assert_eq!(counts(&all), ["00 03 100 73801", "01 03 7 8", "00 07 105 73815", "01 07 9 8", "00 11 90 99999"]);
    let (key, line, at) = &all[0];
    assert_eq!(key, "A002,R051,02-00-00");
    let fields: Vec<&str> = line.split(',').collect();
    assert_eq!(fields[..11].join(","), "A002,R051,02-00-00,59 ST,NQR456W,BMT,12/30/2023,03:00:00,REGULAR,100,73801");
    assert_eq!((fields.len(), fields[12]), (13, "2023-12-30 03:00:00"));
    assert_eq!(*at, 1_703_923_200_000, "03:00 in New York is 08:00 UTC");
}

#[test]
fn increments_are_steps_and_neither_a_reset_nor_a_jump_counts() {
    let folder = Folder::new();
    let all = replay(&[folder.write("w.csv", NEW)], RegisterMode::Increments { cap: DEFAULT_STEP_CAP }).unwrap();
    assert_eq!(counts(&all), ["00 03 0 0", "01 03 0 0", "00 07 5 14", "01 07 2 0", "00 11 0 0"]);
}

#[test]
fn increments_go_on_from_one_week_to_the_next_in_whatever_order_the_files_are_named() {
    let folder = Folder::new();
    let next = "CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS\n\
        A002,R051,02-00-00,59 ST,NQR456W,BMT,01/06/2024,03:00:00,REGULAR,95,100000\n";
    let files = [folder.write("2.csv", next), folder.write("1.csv", NEW)];
    let all = replay(&files, RegisterMode::Increments { cap: DEFAULT_STEP_CAP }).unwrap();
    assert_eq!(counts(&all).last().unwrap(), "00 03 5 1");
}

#[test]
fn the_old_header_padded_and_without_an_index_reads_alike_packed_or_plain_under_any_name() {
    let folder = Folder::new();
    let plain = replay(&[folder.write("turnstile_230603.txt", OLD)], RegisterMode::AsInFile).unwrap();
    let packed = replay(&[folder.write_gz("renamed", OLD)], RegisterMode::AsInFile).unwrap();
    assert_eq!(plain, packed);
    assert!(
        plain[0].1.starts_with("A002,R051,02-00-00,59 ST,NQR456W,BMT,05/27/2023,00:00:00,REGULAR,2040,985,"),
        "{}",
        plain[0].1
    );
}

#[test]
fn ids_are_the_same_each_time_and_differ_even_between_equal_readings() {
    let folder = Folder::new();
    let row = "A002,R051,02-00-00,59 ST,NQR456W,BMT,12/30/2023,03:00:00,REGULAR,100,73801\n";
    let text = format!("CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS\n{row}{row}");
    let ids = |path| -> Vec<String> {
        let all = replay(&[path], RegisterMode::AsInFile).unwrap();
        all.iter().map(|(_, line, _)| line.split(',').nth(11).unwrap().to_owned()).collect()
    };
    let first = ids(folder.write("a.csv", &text));
    assert_eq!(first, ids(folder.write_gz("b.csv.gz", &text)));
    assert_ne!(first[0], first[1]);
    uuid::Uuid::parse_str(&first[0]).unwrap();
}

#[test]
fn a_bad_row_names_file_line_and_field() {
    let folder = Folder::new();
    let error = |from: &str, to: &str| {
        let path = folder.write("bad.csv", &NEW.replacen(from, to, 1));
        let text = replay(std::slice::from_ref(&path), RegisterMode::AsInFile).unwrap_err().to_string();
        text.replace(&path.display().to_string(), "bad.csv")
    };
    assert_eq!(error("105,73815", "many,73815"), "bad.csv:3: ENTRIES: expected a whole number, found \"many\"");
    assert_eq!(error("105,73815", "105"), "bad.csv:3: 11 fields where the header has 12");
    assert_eq!(
        error("12/30/2023,11:00:00", "13/30/2023,11:00:00"),
        "bad.csv:4: DATE: expected mm/dd/yyyy, found \"13/30/2023\""
    );
    assert_eq!(error("11:00:00", "11:00"), "bad.csv:4: TIME: expected HH:MM:SS, found \"11:00\"");
    assert_eq!(error("STATION", "PLACE"), "bad.csv:1: the header has no column STATION");
    let comma = error("59 ST", "\"59 ST, N\"");
    assert!(comma.starts_with("bad.csv:2: a field with a comma or a quote in it"), "{comma}");
    let header_only = folder.write("empty.csv", NEW.lines().next().unwrap());
    assert!(
        replay(&[header_only], RegisterMode::AsInFile).unwrap_err().to_string().ends_with(":1: a header without rows")
    );
    assert!(
        replay(&[folder.0.path().join("absent")], RegisterMode::AsInFile)
            .unwrap_err()
            .to_string()
            .contains("cannot be read")
    );
    assert!(replay(&[], RegisterMode::AsInFile).is_err());
}

#[test]
fn files_of_the_same_time_are_refused() {
    let folder = Folder::new();
    let (a, b) = (folder.write("a.csv", NEW), folder.write("b.csv", NEW));
    assert!(matches!(replay(&[a.clone(), b], RegisterMode::AsInFile), Err(ProviderError::Overlap { .. })));
    let late = "CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS\n\
        A002,R051,02-00-00,59 ST,NQR456W,BMT,12/30/2023,10:00:00,REGULAR,95,100000\n";
    assert!(matches!(
        replay(&[a, folder.write("c.csv", late)], RegisterMode::AsInFile),
        Err(ProviderError::Overlap { .. })
    ));
}

fn real_week(name: &str) -> PathBuf {
    let folder = std::env::var("TURNSTILE_WEEKS").expect("TURNSTILE_WEEKS names the folder with the MTA's files");
    Path::new(&folder).join(name)
}

#[test]
#[ignore = "needs the MTA's files: TURNSTILE_WEEKS=DIR cargo xtask test"]
fn the_real_week_is_replayed_whole_in_order() {
    let week = real_week("240106.csv.gz");
    let all = replay(&[week], RegisterMode::AsInFile).unwrap();
    assert_eq!(all.len(), 250_816);
    assert!(all.windows(2).all(|pair| pair[0].2 <= pair[1].2));
    assert_eq!(all.iter().map(|(key, ..)| key).collect::<HashSet<_>>().len(), 5_026);
    let id = |(_, line, _): &(String, String, i64)| line.split(',').nth(11).unwrap().to_owned();
    assert_eq!(all.iter().map(id).collect::<HashSet<_>>().len(), 250_816);
}

#[test]
#[ignore = "needs the MTA's files: TURNSTILE_WEEKS=DIR cargo xtask test"]
fn the_real_week_of_2023_reads_with_its_padded_header() {
    let week = real_week("turnstile_230603.csv.gz");
    assert_eq!(replay(&[week], RegisterMode::Increments { cap: DEFAULT_STEP_CAP }).unwrap().len(), 253_237);
}

/// Case E3, and quotes as spreadsheets write them.
#[test]
fn files_from_before_october_2014_and_quoted_ones_are_read() {
    let folder = Folder::new();
    let old = "B100,R900,00-00-00,05-21-11,00:00:00,REGULAR,000000100,000000050,05-21-11,04:00:00,REGULAR,000000110,000000055\r\n\
        B100,R900,00-00-00,05-21-11,12:00:00,RECOVR AUD,000000130,000000065   \n";
    let replayed = replay(&[folder.write("turnstile_110521.txt", old)], RegisterMode::AsInFile).unwrap();
    let texts: Vec<&str> = replayed.iter().map(|(_, text, _)| text.as_str()).collect();
    assert!(texts[0].starts_with("B100,R900,00-00-00,,,,05/21/2011,00:00:00,REGULAR,100,50,"), "{texts:?}");
    assert!(texts[1].starts_with("B100,R900,00-00-00,,,,05/21/2011,04:00:00,REGULAR,110,55,"), "{texts:?}");
    assert!(texts[2].starts_with("B100,R900,00-00-00,,,,05/21/2011,12:00:00,RECOVR AUD,130,65,"), "{texts:?}");
    assert!(texts[0].ends_with("2011-05-21 00:00:00"), "{texts:?}");

    let quoted = |row: &str| row.split(',').map(|field| format!("\"{}\"", field.trim())).collect::<Vec<_>>().join(",");
    let plain = replay(&[folder.write("plain.txt", OLD)], RegisterMode::AsInFile).unwrap();
    let lines: Vec<String> = OLD.lines().map(quoted).collect();
    assert_eq!(replay(&[folder.write("quoted.csv", &lines.join("\n"))], RegisterMode::AsInFile).unwrap(), plain);
}

#[test]
fn a_reading_without_a_number_is_named_and_skipped_where_that_is_asked_for() {
    let folder = Folder::new();
    let file = folder.write("week.csv", &NEW.replace(",105,", ",,"));
    let error = MtaReplayProvider::open(std::slice::from_ref(&file), RegisterMode::AsInFile, new_york(), false)
        .and_then(|mut provider| provider.next(&mut ProducerRecord::default()))
        .unwrap_err();
    assert!(error.to_string().contains("week.csv:3: ENTRIES: expected a whole number, found \"\""), "{error}");
    let mut provider = MtaReplayProvider::open(&[file], RegisterMode::AsInFile, new_york(), true).unwrap();
    let mut record = ProducerRecord::default();
    let sent = std::iter::from_fn(|| provider.next(&mut record).unwrap().then_some(())).count();
    let skipped = provider.skipped_rows();
    assert_eq!((sent, skipped.rows, skipped.first.len()), (4, 1, 1));
}

/// Cases E1 and E3, as spreadsheets write them.
#[test]
fn a_byte_order_mark_before_a_weekly_file_is_no_part_of_it() {
    let folder = Folder::new();
    let quoted: String = OLD
        .lines()
        .map(|row| row.split(',').map(|field| format!("\"{}\"", field.trim())).collect::<Vec<_>>().join(",") + "\n")
        .collect();
    let grouped = "B100,R900,00-00-00,05-21-11,00:00:00,REGULAR,000000100,000000050\n";
    for text in [OLD, NEW, &quoted, grouped] {
        let marked = format!("\u{feff}{text}");
        let plain = replay(&[folder.write("plain.csv", text)], RegisterMode::AsInFile).unwrap();
        assert_eq!(replay(&[folder.write("marked.csv", &marked)], RegisterMode::AsInFile).unwrap(), plain);
        assert_eq!(replay(&[folder.write_gz("marked.csv.gz", &marked)], RegisterMode::AsInFile).unwrap(), plain);
        assert!(plain[0].0.starts_with(['A', 'B']), "{plain:?}");
    }
}

/// Odd readings of real weeks: another reading of a moment, a counter that runs back, one that leaps.
#[test]
fn a_recovered_reading_a_counter_that_runs_back_and_one_that_leaps_are_sent_and_counted_as_such() {
    let folder = Folder::new();
    let row = |time: &str, desc: &str, entries: u32, exits: u32| {
        format!("B100,R900,00-00-00,NORTH GATE,1,IRT,05/06/2017,{time},{desc},{entries},{exits}\n")
    };
    let header = OLD.lines().next().unwrap();
    let rows = [
        row("01:00:00", "REGULAR", 100, 50),
        row("04:00:00", "REGULAR", 110, 55),
        row("04:00:00", "RECOVR AUD", 111, 55),
        row("04:00:00", "REGULAR", 110, 55),
        row("08:00:00", "REGULAR", 90, 60),
        row("12:22:37", "REGULAR", 2_000_000_000, 70),
    ];
    let file = folder.write("odd.csv", &format!("{header}\n{}", rows.concat()));
    let all = replay(&[file], RegisterMode::Increments { cap: DEFAULT_STEP_CAP }).unwrap();
    assert_eq!(counts(&all), ["00 01 0 0", "00 04 10 5", "00 04 1 0", "00 04 0 0", "00 08 0 5", "00 12 0 10"]);
    assert!(all[2].1.contains(",RECOVR AUD,") && all[5].1.ends_with("2017-05-06 12:22:37"), "{all:?}");
}
