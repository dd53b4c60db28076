//! From "the window may close" to "its rows are in a visible file", at a steady rate.

use std::fs;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use turnstile_testkit::servers::{ServerProcess, tail};

use super::ground::{Ground, PARTITIONS};
use super::measure::Cost;
use super::product;
use super::table::BenchTable;

const RATE: u32 = 20_000;
const SECONDS: u32 = 60;
/// Event time runs this much faster than the clock: a five-minute window every five seconds.
const SPEED: u32 = 60;
/// How long the watcher continues after the last message.
const AFTERGLOW_SECONDS: u32 = 10;
const READY_LIMIT: Duration = Duration::from_secs(30);

pub(super) fn run(ground: &mut Ground) -> Result<()> {
    if ground.reference()?.is_none() {
        println!("without the reference programs `live` and `watch.py` there is nothing to measure with");
        return Ok(());
    }
    let mut table = BenchTable::new(&["commit", "windows", "p50", "p99", "max"]);
    for commit in ["1 second", "100 ms"] {
        println!("commit = \"{commit}\": {RATE} messages/s for {SECONDS} s, event time {SPEED} times as fast …");
        let said = one(ground, commit)?;
        table.row(std::iter::once(commit.into()).chain(figures(&said)));
    }
    println!("\n{table}");
    Ok(())
}

/// One run; what the watcher said.
fn one(ground: &mut Ground, commit: &str) -> Result<String> {
    let name = format!("live-{}", commit.replace(' ', "-"));
    let scratch = ground.scratch().join(&name);
    let (lake, windows) = (scratch.join("lake"), scratch.join("windows.log"));
    fs::create_dir_all(&scratch)?;
    let bootstrap = ground.kafka()?;
    ground.make_topic(&name)?;
    let pipeline = product::pipeline(&scratch, commit)?;

    let log = scratch.join("turnstile.log");
    let mut command = ground.product()?.run(&pipeline, &bootstrap, &name, &lake)?;
    let mut turnstile = ServerProcess::start("turnstile run", &mut command, &log)?;
    turnstile.wait_ready(READY_LIMIT, || tail(&log, 20).contains("ready"))?;

    let reference = ground.reference()?.context("no reference programs")?;
    let mut watch = reference.script("watch.py");
    watch.arg(&lake).arg((SECONDS + AFTERGLOW_SECONDS).to_string()).arg(&windows);
    let mut live = reference.program("live");
    live.args([&bootstrap, &name]).args([RATE, SECONDS, SPEED, PARTITIONS].map(|n| n.to_string())).arg(&windows);
    // The watcher reads the log of windows at its end only; `live` writes it meanwhile.
    let (sent, watched) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| Cost::of(&mut watch, &scratch.join("watch")));
        let sent = Cost::of(&mut live, &scratch.join("live"));
        (sent, watching.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    print!("{}", sent?.said);
    let said = watched?.said;
    print!("{said}");
    std::io::stdout().flush()?;
    turnstile.stop()?;
    Ok(said)
}

/// `windows=10 p50=480 ms p99=810 ms max=810 ms` as four cells.
fn figures(said: &str) -> Vec<String> {
    ["windows=", "p50=", "p99=", "max="]
        .iter()
        .map(|name| {
            let figure = said.split(name).nth(1).and_then(|rest| rest.split_whitespace().next());
            match (figure, *name) {
                (None, _) => "-".into(),
                (Some(count), "windows=") => count.into(),
                (Some(ms), _) => format!("{ms} ms"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchers_line_becomes_cells() {
        assert_eq!(figures("windows=10 p50=480 ms p99=810 ms max=811 ms\n"), ["10", "480 ms", "810 ms", "811 ms"]);
        assert_eq!(figures("no window became visible\n"), ["-", "-", "-", "-"]);
    }
}
