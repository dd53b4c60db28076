//! The warehouse over a year: a question about one day and one about all of it, through the PostgreSQL port, beside
//! DuckDB and Spark on the same files; and what one window more costs to load when the tables are young and old.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use turnstile_testkit::servers::{Process, tail};

use super::ground::Ground;
use super::measure::{Cost, median};
use super::table::Table;
use crate::command::{cargo, shown};
use crate::{fetch, place};

/// Days in the tables that windows are loaded into, beside those asked for.
const YOUNGER: [u32; 2] = [1, 30];
/// Rounds of loads: each goes to every age once, so that a slow minute of the machine meets all of them.
const ROUNDS: usize = 3;
/// Windows loaded a round and age.
const LOADS: usize = 7;
/// How often a question is asked.
const TURNS: usize = 9;
/// The same of Spark, which is slow to start and to answer.
const SPARK_TURNS: usize = 3;
/// How long the server may take to open its port.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// A city of so many days, made by the program `year` of the warehouse.
#[derive(Debug)]
struct City {
    days: u32,
    lake: PathBuf,
    /// What each load took, milliseconds.
    loads: Vec<f64>,
}

pub(super) fn run(ground: &mut Ground, days: u32) -> Result<()> {
    ground.product()?;
    let year = year()?;
    let mut ages: Vec<u32> = YOUNGER.into_iter().filter(|age| *age < days).collect();
    ages.push(days);
    let mut cities = Vec::new();
    for days in ages {
        cities.push(City { days, lake: made(&year, days)?, loads: Vec::new() });
    }
    for round in 0..ROUNDS {
        println!("loads, round {} of {ROUNDS} …", round + 1);
        for city in &mut cities {
            let mut load = Command::new(&year);
            load.arg("load").arg(&city.lake).arg(LOADS.to_string());
            let said = Cost::of(&mut load, &ground.scratch().join(format!("load-{}-{round}", city.days)))?.said;
            for line in said.lines() {
                city.loads.push(line.parse().with_context(|| format!("`{line}` is no time"))?);
            }
        }
    }
    let lake = cities.last().map(|city| city.lake.clone()).context("there is no city")?;
    let mut answers = Table::new(&["question", "program", "median ms", "worst ms", "rows"]);
    for line in asked(ground, &lake, days)?.lines() {
        answers.row(line.split('\t').map(Into::into));
    }
    let mut loads = Table::new(&["one window loaded into", "median ms", "worst ms"]);
    for city in cities {
        let worst = city.loads.iter().copied().fold(0.0, f64::max);
        let median = median(city.loads).unwrap_or_default();
        loads.row([format!("{} days", city.days), format!("{median:.0}"), format!("{worst:.0}")]);
    }
    println!("\n{days} days of 288 windows, warm, medians of {TURNS} (Spark {SPARK_TURNS}):\n\n{answers}");
    println!("medians of {}:\n\n{loads}", ROUNDS * LOADS);
    Ok(())
}

/// The program that makes cities and loads windows.
fn year() -> Result<PathBuf> {
    let mut build = cargo();
    // With turnstile, whose features its dependencies then have: they are compiled once for both.
    build.args(["build", "--release", "-p", "turnstile", "-p", "turnstile-warehouse"]);
    build.args(["--bin", "year", "--features", "turnstile-warehouse/year"]);
    ensure!(shown(&mut build)?, "the program `year` does not build");
    Ok(place::target().join("release/year"))
}

/// The lake of a city of `days`. It is kept below the target folder: the next run makes none. One that a run did not
/// finish is made anew.
fn made(year: &Path, days: u32) -> Result<PathBuf> {
    let folder = place::target().join("bench/warehouse").join(format!("days-{days}"));
    let (lake, complete) = (folder.join("lake"), folder.join("complete"));
    if complete.exists() {
        println!("{days} days are there: {}", lake.display());
        return Ok(lake);
    }
    println!("making {days} days in {}; a year takes minutes and gigabytes …", lake.display());
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    fs::create_dir_all(&lake)?;
    ensure!(shown(Command::new(year).arg("make").arg(&lake).arg(days.to_string()))?, "the city was not made");
    fs::write(&complete, "")?;
    Ok(lake)
}

/// What the programs that ask say: a line for each question and program.
fn asked(ground: &mut Ground, lake: &Path, days: u32) -> Result<String> {
    let python = fetch::python::duckdb()?;
    let scratch = ground.scratch().to_path_buf();
    let pipeline = scratch.join("year.toml");
    fs::write(&pipeline, PIPELINE.replace("{lake}", &lake.display().to_string()))?;
    let log = scratch.join("serve.log");
    let mut serve = ground.product()?.verb("warehouse");
    serve.arg("serve").arg(&pipeline).args(["--listen", "127.0.0.1:0"]);
    let mut server = Process::start("turnstile warehouse serve", &mut serve, &log)?;
    server.wait_ready(READY_LIMIT, || port(&log).is_some())?;
    let port = port(&log).context("the server does not say where it listens")?;

    println!("asking turnstile and DuckDB …");
    let mut ask = Command::new(&python);
    ask.arg("-c").arg(include_str!("warehouse.py")).arg(port).arg(lake).args([day(days), TURNS.to_string()]);
    let mut said = Cost::of(&mut ask, &scratch.join("ask"))?.said;
    server.stop()?;

    let Some(spark) = fetch::python::spark_if_there() else {
        println!("Spark is left out: `cargo xtask servers --fetch-only` fetches it");
        return Ok(said);
    };
    println!("asking Spark …");
    let mut spark = Command::new(spark);
    spark.arg("-c").arg(include_str!("spark.py")).arg(lake).arg(SPARK_TURNS.to_string());
    match Cost::of(&mut spark, &scratch.join("spark")) {
        Ok(cost) => said.push_str(&cost.said),
        // It needs a Java, which not every machine has.
        Err(fault) => println!("Spark was left out: {fault:#}"),
    }
    Ok(said)
}

/// `listening at 127.0.0.1:40123: psql …` in the server's log.
fn port(log: &Path) -> Option<String> {
    let said = tail(log, 20);
    let (_, rest) = said.split_once("listening at 127.0.0.1:")?;
    let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
    (!digits.is_empty() && digits.len() < rest.len()).then(|| digits.to_owned())
}

/// A day in the middle of those from 2025-01-01 on: one that is compacted.
fn day(days: u32) -> String {
    let mut left = days / 2;
    let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (mut year, mut month) = (2025, 0);
    while left >= lengths[month] {
        left -= lengths[month];
        (year, month) = if month == 11 { (year + 1, 0) } else { (year, month + 1) };
    }
    format!("{year}-{:02}-{:02}", month + 1, left + 1)
}

/// The pipeline whose files `year` writes: only asked, so no topic is needed.
const PIPELINE: &str = r#"name = "year"

[source]
topic  = "turnstile"
kafka  = { "bootstrap.servers" = "127.0.0.1:9092" }
format = "csv"

[source.schema]
CA = "string"
UNIT = "string"
SCP = "string"
STATION = "string"
LINENAME = "string"
DIVISION = "string"
DESC = "string"
ENTRIES = "int"
EXITS = "int"
TIMESTAMP = { type = "timestamp", format = "yyyy-MM-dd HH:mm:ss", zone = "UTC" }

[stream]
event_time = "TIMESTAMP"
watermark = "5 minutes"

[query]
sql = """
SELECT CA, UNIT, SCP, STATION, LINENAME, DIVISION, DESC, sum(ENTRIES) AS ENTRIES, sum(EXITS) AS EXITS,
       window.start AS START, window.end AS END
FROM turnstile
GROUP BY window(TIMESTAMP, '5 minutes'), CA, UNIT, SCP, STATION, LINENAME, DIVISION, DESC
"""

[lake]
url = "file:{lake}"
format = "parquet"

[warehouse]
table = "ext_turnstile"
schedule = "1 minute"
models = "built-in"
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_asked_for_lies_in_the_middle() {
        assert_eq!(day(1), "2025-01-01");
        assert_eq!(day(30), "2025-01-16");
        assert_eq!(day(365), "2025-07-02");
        assert_eq!(day(800), "2026-02-05");
    }

    #[test]
    fn the_port_is_read_once_its_line_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, "listening at 127.0.0.1:401").unwrap();
        assert_eq!(port(&log), None);
        fs::write(&log, "listening at 127.0.0.1:40123: psql -h 127.0.0.1\n").unwrap();
        assert_eq!(port(&log).as_deref(), Some("40123"));
    }
}
