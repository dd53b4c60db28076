//! From the start of a process to its line that says "ready".

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::ground::Ground;
use super::measure::median;
use super::product;
use super::table::Table;

const TURNS: usize = 5;
const TOPIC: &str = "ready";

pub(super) fn run(ground: &mut Ground) -> Result<()> {
    ground.product()?;
    let bootstrap = ground.kafka()?;
    ground.make_topic(TOPIC)?;
    let pipeline = product::pipeline(ground.scratch(), "1 second")?;
    let (mut run, mut up) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let lake = ground.scratch().join(format!("ready-{turn}"));
        run.push(time_to_ready(&mut ground.product()?.run(&pipeline, &bootstrap, TOPIC, &lake)?)?);
        let data = ground.scratch().join(format!("up-{turn}"));
        up.push(time_to_ready(ground.product()?.verb("up").arg("--dir").arg(data))?);
    }
    let mut table = Table::new(&["to \"ready\"", "median ms", "worst ms"]);
    for (what, figures) in [("turnstile run", run), ("turnstile up", up)] {
        let worst = figures.iter().copied().fold(0.0, f64::max);
        table.row([what.into(), format!("{:.0}", median(figures).unwrap_or_default()), format!("{worst:.0}")]);
    }
    println!("\n{TURNS} starts each:\n\n{table}");
    Ok(())
}

/// Milliseconds until stderr says "ready"; the process is then killed.
fn time_to_ready(command: &mut Command) -> Result<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let begin = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let ready = wait_for_ready(&mut child);
    let passed = begin.elapsed();
    // It may have ended by itself; then there is nothing to kill.
    let _ = child.kill();
    child.wait()?;
    ready.map(|()| passed.as_secs_f64() * 1e3)
}

fn wait_for_ready(child: &mut Child) -> Result<()> {
    let stderr = child.stderr.take().context("stderr is not piped")?;
    let mut said = String::new();
    for line in BufReader::new(stderr).lines() {
        let line = line?;
        if line.contains("ready") {
            return Ok(());
        }
        said.push_str(&line);
        said.push('\n');
    }
    bail!("it ended without the word \"ready\":\n{said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_ready_stops_the_clock() {
        let mut ready = Command::new("sh");
        assert!(
            time_to_ready(ready.args(["-c", "echo starting >&2; echo ready: 4 partitions >&2; exec sleep 1000"]))
                .is_ok()
        );
    }

    #[test]
    fn a_process_that_never_says_it_is_shown() {
        let fault = time_to_ready(Command::new("sh").args(["-c", "echo error: no topic >&2"])).unwrap_err();
        assert!(fault.to_string().contains("no topic"), "{fault}");
    }
}
