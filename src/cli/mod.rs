//! The command line: one file per verb, each with its arguments and a `run`.

mod audit;
mod broker;
mod check;
mod cluster;
mod completions;
mod connect;
mod consume;
mod deadletter;
mod explain;
mod lag;
mod lake;
mod last_run;
mod ledger_args;
mod models;
mod pipeline_args;
mod pipeline_file;
mod produce;
mod produce_display;
mod replay;
mod run;
mod serve;
mod sql;
mod status;
mod stream;
mod text_table;
mod topic;
mod up;
mod warehouse;
mod zone;

use std::io::IsTerminal;

use clap::{CommandFactory, Parser, Subcommand};

use crate::exit::Exit;
use crate::process::Process;

/// Turn a Kafka topic into tables in a data lake: aggregated in event-time windows, exactly once.
#[derive(Debug, Parser)]
#[command(name = "turnstile", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: docs/exit-codes.md. TURNSTILE_LOG=debug prints debug logs.")]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    Up(up::UpArgs),
    Run(run::RunArgs),
    Stream(Box<stream::StreamArgs>),
    Check(check::CheckArgs),
    Produce(Box<produce::ProduceArgs>),
    Consume(Box<consume::ConsumeArgs>),
    Sql(sql::SqlArgs),
    Warehouse(warehouse::WarehouseArgs),
    Models(models::ModelsArgs),
    Status(status::StatusArgs),
    Lag(Box<lag::LagArgs>),
    Lake(lake::LakeArgs),
    Explain(explain::ExplainArgs),
    Audit(audit::AuditArgs),
    Replay(replay::ReplayArgs),
    Deadletter(deadletter::DeadletterArgs),
    Topic(topic::TopicArgs),
    Broker(broker::BrokerArgs),
    Completions(completions::CompletionsArgs),
}

/// Parses the command line and runs its verb.
pub(crate) fn run(process: &Process) -> anyhow::Result<Exit> {
    let cli = Cli::parse();
    start_logging();
    match cli.command {
        CliCommand::Up(args) => up::run(args, process),
        CliCommand::Run(args) => run::run(args, process),
        CliCommand::Stream(args) => stream::run(*args, process),
        CliCommand::Check(args) => check::run(args, process),
        CliCommand::Produce(args) => produce::run(*args, process),
        CliCommand::Consume(args) => consume::run(*args, process),
        CliCommand::Sql(args) => sql::run(args, process),
        CliCommand::Warehouse(args) => warehouse::run(args, process),
        CliCommand::Models(args) => models::run(args, process),
        CliCommand::Status(args) => status::run(args, process),
        CliCommand::Lag(args) => lag::run(*args, process),
        CliCommand::Lake(args) => lake::run(args, process),
        CliCommand::Explain(args) => explain::run(args, process),
        CliCommand::Audit(args) => audit::run(args, process),
        CliCommand::Replay(args) => replay::run(args, process),
        CliCommand::Deadletter(args) => deadletter::run(args, process),
        CliCommand::Topic(args) => topic::run(args, process),
        CliCommand::Broker(args) => broker::run(args, process),
        CliCommand::Completions(args) => completions::run(args, Cli::command()),
    }
}

/// Logs go to stderr: warnings, or what TURNSTILE_LOG asks for.
fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TURNSTILE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let colour = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(colour)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command without subcommands, with its full path.
    fn leaves(command: &clap::Command, path: &str, out: &mut Vec<(String, clap::Command)>) {
        if command.get_subcommands().next().is_none() {
            out.push((path.to_owned(), command.clone()));
        }
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            leaves(verb, &format!("{path} {}", verb.get_name()), out);
        }
    }

    #[test]
    fn the_help_of_every_command_has_an_example_of_it() {
        let mut all = Vec::new();
        leaves(&Cli::command(), "turnstile", &mut all);
        assert!(all.len() > 25, "{}", all.len());
        for (path, mut command) in all {
            let help = command.render_long_help().to_string();
            let examples = help.split_once("Example").unwrap_or_else(|| panic!("{path} --help has no example")).1;
            assert!(examples.contains(&path), "no example of {path} --help runs that command");
        }
    }

    #[test]
    fn completions_of_every_shell_know_the_verbs() {
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "turnstile", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(["deadletter", "audit", "completions"].iter().all(|verb| script.contains(verb)), "{shell}");
        }
    }
}
