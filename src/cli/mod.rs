//! The command line: one file per verb, each with its arguments and a `run`.

use clap::{Parser, Subcommand};

use crate::exit::Exit;

/// A Kafka topic into warehouse tables: aggregated in event-time windows, exactly once.
#[derive(Debug, Parser)]
#[command(name = "turnstile", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {}

/// Parses the command line and runs its verb.
pub(crate) fn run() -> anyhow::Result<Exit> {
    match Cli::parse().verb {}
}
