//! The original's stream job, run by Apache Spark over the same messages: its rows are those of the main pipeline.
//!
//! What the job does, and which of its faults are mended there, is in `clients/spark.py`.

use std::process::Command;

use crate::interop::{client, main_pipeline, produce, python, with_rows};
use crate::scene::{Scene, data_files, text, unpack};

const COLUMNS: &str = "CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS,START,END";

/// How many messages of each form a call of the original's producers sends.
const STATION: usize = 24;
const HEADER_ROW: usize = 5;

/// A reading as the original writes it, without its quotes.
fn reading(station: &str, entries: &str, exits: &str, id: &str, at: &str) -> String {
    // DATE and TIME are the sender's own: nothing follows from them.
    let sender = "456NQR,BMT,11-05-23,01:56:00,REGULAR";
    format!("A001,R001,02-00-00,{station},{sender},{entries},{exits},{id},{at}")
}

/// Readings that count, in the order of their times.
fn good() -> Vec<String> {
    let one = "Test-Station1";
    [
        // In the hour that a clock change repeats; the window's end is an hour earlier on the clock.
        (one, "7", "9", "a", "2023-11-05 01:56:00"),
        ("Test-Station2", "7", "9", "a", "2023-11-05 01:56:00"),
        (one, "5", "6", "a", "2023-11-05 01:57:00"),
        ("34 ST-PENN STA", " 7", "+9", "b", "2023-11-05 01:59:59"),
        // A sum beyond 32 bits, in the window after that hour, and the first second of the next one.
        (one, "2147483647", "2147483647", "c", "2023-11-05 02:00:00"),
        (one, "2147483647", "1", "d", "2023-11-05 02:04:59"),
        (one, "1", "2", "e", "2023-11-05 02:05:00"),
        // In the hour that a clock change skips: half past two is half past three.
        (one, "-3", "007", "f", "2024-03-10 01:58:00"),
        (one, "1", "1", "g", "2024-03-10 02:30:00"),
        (one, "1", "1", "h", "2024-03-10 03:31:00"),
        ("", "1", "1", "", "2024-03-10 03:32:00"),
        // A register that was not read is null, and a sum leaves it out.
        ("Test-Station3", "", "5", "j", "2024-03-10 03:33:00"),
        ("Test-Station3", "4", "", "k", "2024-03-10 03:33:30"),
    ]
    .map(|(station, entries, exits, id, at)| reading(station, entries, exits, id, at))
    .to_vec()
}

/// Two readings of `good` once more, the first with its time spelled as what it means.
fn duplicates() -> Vec<String> {
    let one = "Test-Station1";
    vec![reading(one, "1", "1", "g", "2024-03-10 03:30:00"), reading(one, "1", "1", "h", "2024-03-10 03:31:00")]
}

/// What the original would have summed as nothing, or not have seen.
fn bad() -> Vec<String> {
    let at = "2024-03-10 03:33:00";
    let whole = reading("Bad", "1", "1", "bad", at);
    let mut rows: Vec<String> = ["seven", "7.5", " ", "2147483648", "1e2", "0x7"]
        .iter()
        .flat_map(|number| [reading("Bad", number, "1", "bad", at), reading("Bad", "1", number, "bad", at)])
        .collect();
    let times = [
        "",
        "null",
        "2024-03-10",
        "2024-03-10 24:00:00",
        "2024-02-30 03:33:00",
        "2024-03-10T03:33:00",
        "03-10-24 03:33:00",
    ];
    rows.extend(times.iter().map(|at| reading("Bad", "1", "1", "bad", at)));
    rows.extend([whole.rsplit_once(',').unwrap().0.to_owned(), format!("{whole},more"), "no reading".to_owned()]);
    rows
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn spark_makes_the_main_pipelines_rows_by_the_originals_steps_without_their_faults() {
    let scene = Scene::apache("spark", 3);
    let send = |form: &str, seed: &str, count: usize, start: &str| {
        let output = scene.turnstile(&produce(&scene, form, seed, &count.to_string(), start));
        assert!(output.status.success(), "{}", text(&output));
    };
    // Midnight lies in it. A part is sent again before the watermark can leave it behind.
    let parts =
        [("1", "23:48"), ("2", "23:52"), ("3", "23:56")].map(|(seed, at)| (seed, format!("2023-09-22 {at}:00")));
    for (seed, start) in &parts {
        send("test-station", seed, STATION, start);
        send("test-station", seed, STATION, start);
    }
    send("test-station", "4", STATION, "2023-09-23 00:00:00");
    send("header-row", "5", HEADER_ROW, "2023-09-23 00:00:00");
    let (good, duplicates, bad) = (good(), duplicates(), bad());
    // Some as JSON strings and some as they are, with and without keys, and a tombstone.
    python("sender.py", &scene, &["plain", "lz4"], &[&good[..], &duplicates, &bad].concat());
    let accented = reading("Ménilmontant", "2", "3", "i", "2024-03-10 03:34:00").into_bytes();
    // Of the two bytes of its é the second alone.
    let mut not_utf8 = accented.clone();
    not_utf8.remove(accented.iter().position(|byte| !byte.is_ascii()).unwrap());
    scene.send([&accented[..], &not_utf8, b"", b"\"\"", b"CA,UNIT,SCP\nA001,R001,02-00-00"]);

    let aggregated = (parts.len() + 1) * STATION + good.len() + 1;
    let duplicate = parts.len() * STATION + duplicates.len();
    let bad = HEADER_ROW + bad.len() + 4;
    let read = aggregated + duplicate + bad + 1;

    let output = main_pipeline(&scene, &["run", "--drain"]);
    assert!(output.status.success(), "{}", text(&output));
    let status = text(&main_pipeline(&scene, &["status"])).replace(',', "");
    let became = format!(
        "{read} read = {aggregated} aggregated + 0 filtered + {duplicate} duplicate + 0 late + {bad} dead_lettered \
         + 1 tombstones"
    );
    assert!(status.contains(&became), "{became} is not in {status}");

    let (messages, rows) = (scene.dir.path().join("messages.jsonl"), scene.dir.path().join("rows.csv"));
    std::fs::write(&messages, python("capture.py", &scene, &[&read.to_string()], &[])).unwrap();
    let mut spark = Command::new(turnstile_testkit::spark());
    let said = with_rows(spark.arg(client("spark.py")).args([&messages, &rows]).current_dir(&scene.dir), &[]);
    let became = format!("{read} read = {aggregated} aggregated + {duplicate} duplicate + {bad} bad + 1 tombstones");
    assert!(said.contains(&became), "{became} is not in {said}");

    let mut published = Vec::new();
    for file in data_files(&scene.lake()) {
        let file = unpack(&file);
        let mut lines = file.lines().map(str::to_owned);
        assert_eq!(lines.next().as_deref(), Some(COLUMNS));
        published.extend(lines);
    }
    published.sort();
    let mut by_spark: Vec<String> = std::fs::read_to_string(&rows).unwrap().lines().map(str::to_owned).collect();
    by_spark.sort();
    assert!(published.len() > 20, "{published:?}");
    assert_eq!(published, by_spark);
    for end in ["/23/2023,00:00:00,", "/05/2023,01:00:00,", ",4294967294,"] {
        assert!(published.iter().any(|row| row.contains(end)), "{end} is in no row");
    }
}
