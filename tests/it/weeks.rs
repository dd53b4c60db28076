//! Weekly files of the MTA through a topic, against oracles that read the files themselves.
//!
//! The real week is not part of the project: `TURNSTILE_WEEKS` names the folder that holds it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use chrono::{NaiveDateTime, TimeZone};
use chrono_tz::America::New_York;

use crate::scene::{Scene, data_files, finish, signal, text, unpack, until};
use crate::targets::{FACTS, Sums, Targets, assert_same, embedded_sums, load};

/// A reading: turnstile, station, local time, entries, exits, in file order.
struct Reading {
    turnstile: [String; 3],
    station: String,
    at: NaiveDateTime,
    entries: i64,
    exits: i64,
}

/// Reads a weekly file of either header form, packed or not.
fn readings(path: &Path) -> Vec<Reading> {
    let bytes = std::fs::read(path).unwrap();
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
    } else {
        text = String::from_utf8(bytes).unwrap();
    }
    text.lines()
        .skip(1)
        .map(|line| {
            let f: Vec<&str> = line.split(',').collect();
            let at = NaiveDateTime::parse_from_str(&format!("{} {}", f[7], f[8]), "%m/%d/%Y %H:%M:%S").unwrap();
            let number = |text: &str| text.trim().parse().unwrap();
            Reading {
                turnstile: [f[1], f[2], f[3]].map(str::to_owned),
                station: f[4].to_owned(),
                at,
                entries: number(f[10]),
                exits: number(f[11]),
            }
        })
        .collect()
}

/// Seconds since the epoch of a New York wall clock; the first of two.
fn instant(at: NaiveDateTime) -> i64 {
    New_York.from_local_datetime(&at).earliest().expect("no reading lies in the hour that is skipped").timestamp()
}

/// Steps of every turnstile's registers in event time: turnstile, station, instant, entries, exits.
fn steps(readings: &[Reading]) -> Vec<(&Reading, Option<(i64, i64)>)> {
    let mut by_turnstile: BTreeMap<&[String; 3], Vec<&Reading>> = BTreeMap::new();
    for reading in readings {
        by_turnstile.entry(&reading.turnstile).or_default().push(reading);
    }
    let mut steps = Vec::new();
    for mut readings in by_turnstile.into_values() {
        readings.sort_by_key(|r| r.at);
        for (at, reading) in readings.iter().enumerate() {
            let before = at.checked_sub(1).map(|at| readings[at]);
            steps.push((*reading, before.map(|b| (reading.entries - b.entries, reading.exits - b.exits))));
        }
    }
    steps
}

fn believed(step: i64) -> i64 {
    if (0..=10_000).contains(&step) { step } else { 0 }
}

/// Replays the week into the scene's topic.
fn produce(scene: &Scene, week: &Path, more: &[&str]) {
    let week = week.to_str().unwrap();
    let mut args = vec!["produce", "--topic", &scene.topic, "--bootstrap", &scene.servers];
    args.extend(["--provider", "mta-replay", "--from", week]);
    args.extend(more);
    let produced = scene.turnstile(&args);
    assert!(produced.status.success(), "{}", text(&produced));
}

/// Increments a station and five-minute window equal the oracle's.
fn increments_agree(scene: &Scene, week: &Path) {
    produce(scene, week, &["--increments"]);
    let pipeline = scene.pipeline_with("", "", crate::scene::SQL);
    let new_york = std::fs::read_to_string(&pipeline).unwrap().replace("zone = \"UTC\"", "zone = \"America/New_York\"");
    std::fs::write(&pipeline, new_york).unwrap();
    let run = scene.drain(&pipeline);
    assert!(run.status.success(), "{}", text(&run));

    let readings = readings(week);
    let mut expected = crate::scene::Rows::new();
    for (reading, step) in steps(&readings) {
        let start = chrono::DateTime::from_timestamp(instant(reading.at) / 300 * 300, 0).unwrap();
        let key = (start.format("%Y-%m-%dT%H:%M:%SZ").to_string(), reading.station.clone());
        let row = expected.entry(key).or_default();
        let (entries, exits) = step.unwrap_or_default();
        *row = (row.0 + believed(entries), row.1 + believed(exits), row.2 + 1);
    }
    let found = scene.rows();
    assert_eq!(found.len(), expected.len());
    assert!(found == expected, "first difference: {:?}", found.iter().zip(&expected).find(|(a, b)| a != b));
    assert!(scene.audit(&pipeline).contains("all is well"));
}

/// Increments, loaded into the embedded warehouse and PostgreSQL while they are published, equal the oracle's a station
/// and window in both.
fn loads_agree(scene: &Scene, week: &Path, database: &str) {
    produce(scene, week, &["--increments"]);
    let targets = Targets::make(database, false);
    // A minute of a person's is a second here.
    let pipeline = scene.pipeline_with("", &targets.settings("1 second", 1_000_000), FACTS);
    let new_york = std::fs::read_to_string(&pipeline).unwrap().replace("zone = \"UTC\"", "zone = \"America/New_York\"");
    std::fs::write(&pipeline, new_york).unwrap();
    let running = scene.spawn(&["run", pipeline.to_str().unwrap()], &targets.environment());
    until("the stream is loaded while it runs", || {
        let status = scene.turnstile(&["warehouse", "status", "--json", "--last", "100", pipeline.to_str().unwrap()]);
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        let runs = status["runs"].as_array().cloned().unwrap_or_default();
        let loaded =
            |target: &str| runs.iter().any(|run| run["target"] == target && run["rows_out"].as_u64() > Some(0));
        loaded("embedded") && loaded("postgres")
    });
    signal(&running, "INT");
    let ended = finish(running);
    assert!(ended.status.success(), "{}", text(&ended));
    let drained = scene.drain(&pipeline);
    assert!(drained.status.success(), "{}", text(&drained));
    load(scene, &pipeline, &targets);

    let readings = readings(week);
    let mut expected = Sums::new();
    for (reading, step) in steps(&readings) {
        let row = expected.entry((instant(reading.at) / 300 * 300, reading.station.clone())).or_default();
        let (entries, exits) = step.unwrap_or_default();
        *row = (row.0 + believed(entries), row.1 + believed(exits));
    }
    assert_same(&embedded_sums(scene, &pipeline, "fact_turnstile"), &expected, "embedded");
    assert_same(&targets.postgres_sums(), &expected, "PostgreSQL");
}

/// `increase`, `resets` and `jumps` over the registers equal the oracle's; gives the sums of resets and jumps.
fn registers_agree(scene: &Scene, week: &Path, pipeline: &str, size_hours: i64, offset_hours: i64) -> (i64, i64) {
    produce(scene, week, &[]);
    let pipeline = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines").join(pipeline);
    let set = [
        format!("source.kafka={{ \"bootstrap.servers\" = \"{}\" }}", scene.servers),
        format!("source.topic={}", scene.topic),
        format!("lake.url=file:{}", scene.lake().display()),
    ];
    let mut args = vec!["run", pipeline.to_str().unwrap(), "--drain"];
    set.iter().for_each(|s| args.extend(["--set", s]));
    let run = scene.turnstile(&args);
    assert!(run.status.success(), "{}", text(&run));
    let mut args = vec!["audit", pipeline.to_str().unwrap()];
    set.iter().for_each(|s| args.extend(["--set", s]));
    let audit = scene.turnstile(&args);
    assert!(audit.status.success() && text(&audit).contains("all is well"), "{}", text(&audit));

    let (size, offset) = (size_hours * 3600, offset_hours * 3600);
    type Cells = [i64; 7];
    let readings = readings(week);
    let mut expected: BTreeMap<(String, i64), Cells> = BTreeMap::new();
    for (reading, step) in steps(&readings) {
        let start = (instant(reading.at) - offset).div_euclid(size) * size + offset;
        let row = expected.entry((reading.turnstile.join(","), start)).or_default();
        let (entries, exits) = step.unwrap_or_default();
        let counts = [(entries < 0).into(), (entries > 10_000).into(), (exits < 0).into(), (exits > 10_000).into()];
        row[0] += believed(entries);
        row[1] += believed(exits);
        for (cell, count) in row[2..6].iter_mut().zip::<[i64; 4]>(counts) {
            *cell += count;
        }
        row[6] += 1;
    }
    let mut found: BTreeMap<(String, i64), Cells> = BTreeMap::new();
    for file in data_files(&scene.lake()) {
        let csv = unpack(&file);
        let header: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
        let column = |name: &str| header.iter().position(|h| *h == name).unwrap_or_else(|| panic!("no column {name}"));
        let cells = ["ENTRIES", "EXITS", "ENTRIES_RESETS", "ENTRIES_JUMPS", "EXITS_RESETS", "EXITS_JUMPS", "READINGS"]
            .map(column);
        for line in csv.lines().skip(1) {
            let f: Vec<&str> = line.split(',').collect();
            let start = chrono::DateTime::parse_from_rfc3339(f[column("START")]).unwrap().timestamp();
            let before = found.insert((f[..3].join(","), start), cells.map(|at| f[at].parse().unwrap()));
            assert_eq!(before, None, "{line}");
        }
    }
    assert_eq!(found.len(), expected.len());
    assert!(found == expected, "first difference: {:?}", found.iter().zip(&expected).find(|(a, b)| a != b));
    (found.values().map(|c| c[2]).sum(), found.values().map(|c| c[3]).sum())
}

/// A small week in the older header form: a reset, a jump, a turnstile that counts down, two readings of one instant.
fn small_week(scene: &Scene) -> PathBuf {
    let path = scene.dir.path().join("week.csv.gz");
    let mut file = flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), flate2::Compression::fast());
    writeln!(file, ",C/A,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS          ").unwrap();
    let mut row = 0;
    for day in 28..=30 {
        for hour in (0..24).step_by(4) {
            for turnstile in 0..6i64 {
                let reading = i64::from(day) * 600 + hour * 20 + turnstile;
                let entries = match (turnstile, day, hour) {
                    (1, 29, 8) => 7,
                    (2, 29, 12) => reading + 5_000_000,
                    (3, ..) => 2_000_000_000 - reading,
                    (4, ..) => 4_000_000_000 + reading,
                    _ => reading,
                };
                let line = format!(
                    "A00{turnstile},R051,02-00-0{turnstile},59 ST {},NQR456W,BMT,10/{day}/2023,{hour:02}:00:00,REGULAR,{entries},{}",
                    turnstile % 2,
                    reading / 2
                );
                writeln!(file, "{row},{line}").unwrap();
                row += 1;
                if (turnstile, day, hour) == (5, 29, 16) {
                    writeln!(file, "{row},{}", line.replace("REGULAR", "RECOVR AUD")).unwrap();
                    row += 1;
                }
            }
        }
    }
    file.finish().unwrap();
    path
}

#[test]
fn a_small_week_of_increments_equals_the_oracle() {
    let scene = Scene::embedded(3);
    let week = small_week(&scene);
    assert_eq!(twins(&readings(&week)), 1);
    increments_agree(&scene, &week);
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_small_week_loaded_while_it_runs_is_the_same_in_embedded_and_postgresql() {
    let scene = Scene::embedded(3);
    let week = small_week(&scene);
    loads_agree(&scene, &week, "small_week");
}

#[test]
fn a_small_week_of_registers_equals_the_oracle_in_windows_of_a_day_and_of_four_hours() {
    for (pipeline, size, offset) in [("mta-registers.toml", 24, 5), ("mta-registers-4h.toml", 4, 0)] {
        let scene = Scene::embedded(3);
        let week = small_week(&scene);
        let (resets, jumps) = registers_agree(&scene, &week, pipeline, size, offset);
        // Turnstile 1 drops and leaps back, 2 leaps and falls back, 3 counts down at each of 17 steps.
        assert_eq!((resets, jumps), (19, 2), "{pipeline}");
    }
}

fn real_week() -> PathBuf {
    let folder = std::env::var("TURNSTILE_WEEKS").expect("TURNSTILE_WEEKS names the folder with 240106.csv.gz");
    Path::new(&folder).join("240106.csv.gz")
}

#[test]
#[ignore = "needs the MTA's files and servers: TURNSTILE_WEEKS=DIR cargo xtask test"]
fn the_real_week_240106_of_increments_equals_the_oracle() {
    increments_agree(&Scene::apache("week-increments", 4), &real_week());
}

#[test]
#[ignore = "needs the MTA's files and servers: TURNSTILE_WEEKS=DIR cargo xtask test"]
fn the_real_week_240106_loaded_while_it_runs_is_the_same_in_embedded_and_postgresql() {
    loads_agree(&Scene::apache("week-loads", 4), &real_week(), "real_week");
}

#[test]
#[ignore = "needs the MTA's files and servers: TURNSTILE_WEEKS=DIR cargo xtask test"]
fn the_real_week_240106_of_registers_equals_the_oracle() {
    let scene = Scene::apache("week-registers", 4);
    let (resets, jumps) = registers_agree(&scene, &real_week(), "mta-registers.toml", 24, 5);
    assert_eq!((resets, jumps), (1_939, 10));
    // Of these either may come first; that both are in the sums above is what counts.
    assert_eq!(twins(&readings(&real_week())), 2);
}

/// Readings that share turnstile and time with the one before.
fn twins(readings: &[Reading]) -> usize {
    let mut seen = std::collections::BTreeSet::new();
    readings.iter().filter(|reading| !seen.insert((&reading.turnstile, reading.at))).count()
}
