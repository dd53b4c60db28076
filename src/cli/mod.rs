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
mod models;
mod produce;
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

use std::io::IsTerminal;
use std::path::Path;

use clap::{CommandFactory, Parser, Subcommand};
use turnstile_lake::StoreOptions;
use turnstile_pipeline::Pipeline;

use crate::exit::Exit;
use crate::flow;
use crate::process::Process;
use crate::report::Failure;

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

/// Reads a pipeline file; `set` are `KEY=VALUE` pairs.
fn load_pipeline(path: &Path, set: &[String]) -> anyhow::Result<Pipeline> {
    load_pipeline_with(path, &split_set(set)?)
}

fn load_pipeline_with(path: &Path, set: &[(String, String)]) -> anyhow::Result<Pipeline> {
    Pipeline::from_path_with(path, set).map_err(pipeline_failure)
}

/// Reads a pipeline file for a verb that talks to its cluster: client settings in the environment override the file's.
fn load_pipeline_for_cluster(path: &Path, set: &[String]) -> anyhow::Result<Pipeline> {
    let mut pipeline = load_pipeline(path, set)?;
    add_environment(&mut pipeline)?;
    Ok(pipeline)
}

fn add_environment(pipeline: &mut Pipeline) -> anyhow::Result<()> {
    let environment =
        turnstile_kafka::ClientSettings::from_environment().map_err(|error| flow::client(error.into()))?;
    pipeline.source.kafka.extend(environment.pairs().map(|(key, value)| (key.to_owned(), value.to_owned())));
    Ok(())
}

fn parse_pipeline(text: &str, name: &str, set: &[(String, String)]) -> anyhow::Result<Pipeline> {
    Pipeline::from_str_with(text, name, set).map_err(pipeline_failure)
}

fn pipeline_failure(error: turnstile_pipeline::PipelineError) -> anyhow::Error {
    Failure::new(Exit::Config, error.to_string()).into()
}

/// `KEY=VALUE` pairs of the command line.
fn split_set(set: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    set.iter()
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
            // The text is not shown: without the sign, it may be a secret.
            None => Err(Failure::new(Exit::Usage, "an argument of --set is not KEY=VALUE")
                .hint("write it as in --set stream.commit='100 ms'")
                .into()),
        })
        .collect()
}

/// `--set` with `--lake`: options of the store. A secret is refused, as in the keys of a pipeline.
fn store_set(set: &[String]) -> anyhow::Result<StoreOptions> {
    let options = split_set(set)?;
    if let Some((key, _)) = options.iter().find(|(key, _)| turnstile_pipeline::is_secret(key)) {
        let fact = format!("\"{key}\" is a secret, and every user of the machine can see a command's arguments");
        return Err(Failure::new(Exit::Config, fact)
            .hint("set the environment variable that the store's own tools use")
            .into());
    }
    Ok(options.into_iter().collect())
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
