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
use args::{Chore, XtaskArgs};
use clap::{CommandFactory, Parser};

fn main() -> ExitCode {
    match run(XtaskArgs::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one chore; whether all of it succeeded.
fn run(args: XtaskArgs) -> Result<bool> {
    match args.chore {
        None => {
            XtaskArgs::command().print_help()?;
            Ok(true)
        }
        Some(Chore::Test(args)) => test::run(&args),
        Some(Chore::Lint) => lint::run(&[]),
        Some(Chore::Names) => lint::names(),
        Some(Chore::Servers { fetch_only }) => servers::run(fetch_only),
        Some(Chore::Bench(args)) => bench::run(&args),
    }
}
