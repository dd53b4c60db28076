//! The `turnstile` binary: parses the command line, runs one verb, reports the outcome.

#[macro_use]
mod stdout;

mod cli;
mod exit;
mod flow;
mod progress;
mod report;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code.into(),
        Err(error) => report::print(&error),
    }
}
