//! The project's chores: `cargo xtask <chore>`. Start at [`main`]; one file or folder per chore.

mod args;
mod bench;
mod command;
mod debian;
mod fetch;
mod lint;
mod place;
mod servers;
mod tally;
mod test;

use std::process::ExitCode;

use anyhow::Result;

const HELP: &str = "\
The project's chores.

Usage: cargo xtask <chore>

  test      all tests, and the servers they need: fetched, started, stopped
              --quick       only what needs no server
              --only ROOM   only that room's tests: kafka, lake, …; turnstile is the binary (repeatable)
              -- FILTER     as for cargo test: names of tests, flags of the test runner
  lint      formatting and clippy, as the test chore runs them
  servers   starts the test servers, prints their addresses as shell variables, stops them on Ctrl-C
              --fetch-only  only fetches them
  bench     benchmarks, beside what a user would pick instead; prints a table
              engine | e2e | latency | broker | produce | ready | failover | warehouse   (default: all of them)
              --messages N     size of the topic (default 5000000)
              --kills N        how often failover kills a leader (default 20)
              --days N         days in the tables that the warehouse answers from (default 365: minutes to make, 2 GB)
              --reference DIR  folder with the programs to compare with (default ../shared/bench)
              --binary FILE    measure this turnstile instead of building one

Examples:
  cargo xtask test
  cargo xtask test --quick --only engine -- late
  cargo xtask servers
  cargo xtask bench e2e --messages 1000000
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match chore(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("error: {fault:#}");
            if fault.is::<args::Usage>() {
                eprintln!("hint:  `cargo xtask` alone lists the chores");
                return ExitCode::from(2);
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs one chore; whether all of it went well.
fn chore(arguments: &[String]) -> Result<bool> {
    let Some((chore, rest)) = arguments.split_first() else {
        print!("{HELP}");
        return Ok(true);
    };
    match chore.as_str() {
        "test" => test::run(&args::test(rest)?),
        "lint" => {
            args::none(rest)?;
            lint::run(&[])
        }
        "servers" => servers::run(args::servers(rest)?),
        "bench" => bench::run(&args::bench(rest)?),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(true)
        }
        other => Err(args::Usage(format!("there is no chore `{other}`")).into()),
    }
}
