//! From the start of a process to its line that says "ready", and of `up` to its first file.

use std::io::{BufRead, BufReader, PipeReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::ground::Ground;
use super::measure::median;
use super::product;
use super::table::BenchTable;

const TURNS: usize = 5;
/// Event time runs 60 times as fast as the clock: a window is closed after ten seconds at the earliest.
const FILE_TURNS: usize = 3;
const TOPIC: &str = "ready";

pub(super) fn run(ground: &mut Ground) -> Result<()> {
    ground.product()?;
    let bootstrap = ground.kafka()?;
    ground.make_topic(TOPIC)?;
    let pipeline = product::pipeline(ground.scratch(), "1 second")?;
    let (mut run, mut up) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let lake = ground.scratch().join(format!("ready-{turn}"));
        run.push(time_to("ready", &mut ground.product()?.run(&pipeline, &bootstrap, TOPIC, &lake)?)?);
        let data = ground.scratch().join(format!("up-{turn}"));
        up.push(time_to("ready", ground.product()?.verb("up").arg("--dir").arg(data))?);
    }
    let mut files = Vec::new();
    for turn in 0..FILE_TURNS {
        let data = ground.scratch().join(format!("file-{turn}"));
        files.push(time_to("published", ground.product()?.verb("up").arg("--dir").arg(data))?);
    }
    let mut table = BenchTable::new(&["from the start of", "median ms", "worst ms"]);
    let rows = [("turnstile run to \"ready\"", run), ("turnstile up to \"ready\"", up)];
    for (what, figures) in rows.into_iter().chain([("turnstile up to the first file", files)]) {
        let worst = figures.iter().copied().fold(0.0, f64::max);
        table.row([what.into(), format!("{:.0}", median(figures).unwrap_or_default()), format!("{worst:.0}")]);
    }
    println!("\n{TURNS} starts each, {FILE_TURNS} to the first file:\n\n{table}");
    Ok(())
}

/// Milliseconds until a line has `word`; the process is then killed.
fn time_to(word: &str, command: &mut Command) -> Result<f64> {
    let (lines, out) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    let begin = Instant::now();
    let child = command.spawn();
    // What is left of the pipe's writing end here would keep the lines from ending.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = child.with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let said = wait_for(word, lines);
    let passed = begin.elapsed();
    // It may have ended by itself; then there is nothing to kill.
    let _ = child.kill();
    child.wait()?;
    said.map(|()| passed.as_secs_f64() * 1e3)
}

fn wait_for(word: &str, lines: PipeReader) -> Result<()> {
    let mut said = String::new();
    for line in BufReader::new(lines).lines() {
        let line = line?;
        if line.contains(word) {
            return Ok(());
        }
        said.push_str(&line);
        said.push('\n');
    }
    bail!("it ended without the word \"{word}\":\n{said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_stops_the_clock_on_either_stream() {
        for script in ["echo starting; echo ready: 4 partitions; exec sleep 1000", "echo ready >&2; exec sleep 1000"] {
            assert!(time_to("ready", Command::new("sh").args(["-c", script])).is_ok());
        }
    }

    #[test]
    fn a_process_that_never_says_it_is_shown() {
        let fault = time_to("ready", Command::new("sh").args(["-c", "echo error: no topic >&2"])).unwrap_err();
        assert!(fault.to_string().contains("no topic"), "{fault}");
    }
}
