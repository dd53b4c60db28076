//! End to end: from the topic to published files, beside a bare consumer and a hand-written script.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::ground::Ground;
use super::measure::{Cost, median};
use super::product;
use super::table::{BenchTable, thousands};

/// Every program runs this often, in turns, so that a slow minute of the machine meets all of them.
const TURNS: usize = 3;

/// What makes messages duplicates in the pipeline that the project ships, which removes them.
const DEDUP: &str = r#"["ID", "STATION", "TIMESTAMP"]"#;

/// One program's runs.
#[derive(Debug)]
struct Runs {
    program: &'static str,
    costs: Vec<Cost>,
    rows: Option<u64>,
}

pub(super) fn run(ground: &mut Ground) -> Result<()> {
    ground.product()?;
    ground.reference()?;
    let (bootstrap, topic) = ground.filled_topic()?;
    let pipeline = product::pipeline(ground.scratch(), "1 second")?;

    let mut limit = Runs::new("limit parse (librdkafka, parse and sum)");
    let mut script = Runs::new("polars_job.py (a script, no recovery)");
    let mut turnstile = Runs::new("turnstile run --drain, every message counts");
    let mut dedup = Runs::new("turnstile run --drain, duplicates removed");
    for turn in 0..TURNS {
        println!("turn {} of {TURNS} …", turn + 1);
        let scratch = ground.scratch().join(format!("e2e-{turn}"));
        fs::create_dir_all(&scratch)?;
        if let Some(reference) = ground.reference()? {
            let mut command = reference.program("limit");
            limit.costs.push(Cost::of(command.args([&bootstrap, topic, "parse"]), &scratch.join("limit"))?);

            let out = scratch.join("polars.csv.gz");
            let mut command = reference.script("script/polars_job.py");
            script.costs.push(Cost::of(command.args([&bootstrap, topic]).arg(&out), &scratch.join("polars"))?);
            script.rows = Some(rows_of(&out)?);
        }
        for (runs, dedup, name) in [(&mut turnstile, "off", "turnstile"), (&mut dedup, DEDUP, "dedup")] {
            let lake = scratch.join(format!("{name}-lake"));
            let mut command = ground.product()?.run(&pipeline, &bootstrap, topic, &lake)?;
            command.args(["--drain", "--set", &format!("stream.dedup={dedup}")]);
            runs.costs.push(Cost::of(&mut command, &scratch.join(name))?);
            runs.rows = Some(rows_below(&lake)?);
        }
        // Three lakes would be two too many on a small disk.
        fs::remove_dir_all(&scratch).with_context(|| format!("cannot clear {}", scratch.display()))?;
    }

    let messages = ground.messages;
    let mut table = BenchTable::new(&["program", "messages/s", "CPU s per million", "peak MB", "rows out"]);
    for runs in [&limit, &script, &turnstile, &dedup] {
        runs.print(&mut table, messages);
    }
    println!("\n{messages} messages, medians of {TURNS}, start-up included, the broker beside them:\n\n{table}");
    let rate = |runs: &Runs| runs.median(|cost| cost.per_second(messages));
    if let (Some(own), Some(limit), Some(script)) = (rate(&turnstile), rate(&limit), rate(&script)) {
        println!("turnstile does {:.2} of `limit parse` and {:.1} times the script", own / limit, own / script);
    }
    if script.rows.is_some() && script.rows != turnstile.rows {
        println!("the rows differ: a figure for another job is no comparison");
    }
    Ok(())
}

impl Runs {
    fn new(program: &'static str) -> Self {
        Self { program, costs: Vec::new(), rows: None }
    }

    fn median(&self, figure: impl Fn(&Cost) -> f64) -> Option<f64> {
        median(self.costs.iter().map(figure).collect())
    }

    fn print(&self, table: &mut BenchTable, messages: u64) {
        let Some(rate) = self.median(|cost| cost.per_second(messages)) else { return };
        let cpu = self.median(|cost| cost.cpu_per_million(messages)).unwrap_or_default();
        // Of memory the worst run counts: that is what the machine must have.
        let peak = self.costs.iter().map(Cost::peak_mb).fold(0.0, f64::max);
        let rows = self.rows.map_or_else(|| "-".into(), |rows| thousands(rows as f64));
        table.row([self.program.into(), thousands(rate), format!("{cpu:.2}"), thousands(peak), rows]);
    }
}

/// Rows in all csv.gz files of a lake, its own folders (`_…`) left out.
fn rows_below(dir: &Path) -> Result<u64> {
    let mut rows = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() && !name.starts_with('_') {
            rows += rows_below(&entry.path())?;
        } else if name.ends_with(".csv.gz") {
            rows += rows_of(&entry.path())?;
        }
    }
    Ok(rows)
}

/// Rows under the heading of one csv.gz file. No value of this job holds a line break.
fn rows_of(file: &Path) -> Result<u64> {
    let out = Command::new("gzip").args(["--decompress", "--stdout"]).arg(file).stderr(Stdio::inherit()).output();
    let out = out.context("cannot start gzip")?;
    anyhow::ensure!(out.status.success(), "{} is no gzip file", file.display());
    let lines = out.stdout.iter().filter(|byte| **byte == b'\n').count();
    Ok(lines.saturating_sub(1) as u64)
}
