//! The `test` chore: lints, builds once, runs every test, with servers unless asked for a quick run.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::args::TestOptions;
use crate::command::{cargo, shown};
use crate::fetch::{self, Fetched};
use crate::servers::Servers;
use crate::tally::TestTally;
use crate::{debian, lint, place};

/// Runs the chore; whether everything passed. The last line printed is the summary.
pub(crate) fn run(options: &TestOptions) -> Result<bool> {
    let begin = Instant::now();
    debian::install_missing(!options.quick)?;
    let packages: Vec<String> = options.only.iter().map(|room| package(room)).collect();

    // Fetching waits for networks, building for cores: side by side.
    let (fetched, linted, built) = std::thread::scope(|scope| -> Result<_> {
        let fetching = (!options.quick).then(|| scope.spawn(fetch::all));
        let linted = lint::run(&packages)?;
        let built = build(&packages)?;
        let fetched = fetching.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let fetched = fetched.transpose()?;
        let allowed = match &fetched {
            Some(fetched) if packages.is_empty() => lint::dependencies(&fetched.checkers)?,
            _ => true,
        };
        Ok((fetched, linted && allowed, built))
    })?;
    if !built {
        eprintln!("error: the tests did not build; none was run");
        return Ok(false);
    }

    let (tally, servers_lived) = match fetched {
        None => (tests(&packages, options, |_| ())?, true),
        Some(fetched) => with_servers(&packages, options, &fetched)?,
    };
    println!();
    if !linted {
        println!(
            "xtask: formatting, clippy or cargo-deny found something, see above (`cargo xtask lint` runs the first two alone)"
        );
    }
    if tally.passed + tally.failed == 0 {
        println!("xtask: no test ran: does a filter match nothing?");
    }
    if tally.crashed() > 0 {
        println!("xtask: {} test binaries ended without a result", tally.crashed());
    }
    println!("xtask: tests took {}", minutes(begin.elapsed()));
    println!("{}", tally.closing());
    Ok(linted && servers_lived && tally.is_good())
}

fn with_servers(packages: &[String], options: &TestOptions, fetched: &Fetched) -> Result<(TestTally, bool)> {
    let scratch = place::scratch()?;
    let mut servers = Servers::start(fetched, scratch.path())?;
    let tally = tests(packages, options, |command| servers.set_variables(command))?;
    let ended = servers.ended();
    if !ended.is_empty() {
        println!("xtask: ended while the tests ran: {}", ended.join(", "));
    }
    Ok((tally, ended.is_empty()))
}

fn build(packages: &[String]) -> Result<bool> {
    shown(cargo_test(packages).arg("--no-run"))
}

/// Runs the tests with their output passed on line by line.
fn tests(packages: &[String], options: &TestOptions, prepare: impl FnOnce(&mut Command)) -> Result<TestTally> {
    let mut command = cargo_test(packages);
    // The other binaries run even if one fails.
    command.args(["--no-fail-fast", "--"]);
    if !options.quick {
        command.arg("--include-ignored");
        match place::weeks() {
            Some(folder) => {
                command.env("TURNSTILE_WEEKS", folder);
            }
            None => {
                println!("xtask: the MTA's weekly files are not here (TURNSTILE_WEEKS names their folder):");
                println!("xtask: the tests on the real week do not run; those on a generated week do");
                command.args(["--skip", "the_real_week"]);
            }
        }
    }
    if std::io::stdout().is_terminal() {
        command.arg("--color=always");
    }
    command.args(&options.filter);
    prepare(&mut command);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("cargo's output is not piped")?;
    let mut tally = TestTally::default();
    let mut out = std::io::stdout().lock();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        out.write_all(&line)?;
        out.write_all(b"\n")?;
        tally.line(&String::from_utf8_lossy(&line));
    }
    let status = child.wait()?;
    // A failure without a line of output, such as a doc test that did not compile.
    if !status.success() && tally.failed == 0 && tally.crashed() == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

fn cargo_test(packages: &[String]) -> Command {
    let mut command = cargo();
    command.arg("test");
    if packages.is_empty() {
        command.arg("--workspace");
    }
    for package in packages {
        command.args(["-p", package]);
    }
    // Crash tests end the binary at named steps, which only a build for tests can.
    if packages.is_empty() || packages.iter().any(|package| package == "turnstile") {
        command.args(["--features", "turnstile/failpoints"]);
    }
    command
}

/// A room's package: `kafka` is `turnstile-kafka`; the binary and xtask have their own names.
fn package(room: &str) -> String {
    match room {
        "turnstile" | "xtask" => room.into(),
        room if room.starts_with("turnstile-") => room.into(),
        room => format!("turnstile-{room}"),
    }
}

fn minutes(time: Duration) -> String {
    format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_names_its_package() {
        assert_eq!(
            ["kafka", "turnstile-kafka", "turnstile", "xtask"].map(package),
            ["turnstile-kafka", "turnstile-kafka", "turnstile", "xtask"]
        );
    }
}
