//! The command line: one file per verb, each with its arguments and a `run`.

mod audit;
mod broker;
mod check;
mod check_spark;
mod cluster;
mod completions;
mod connect;
mod console;
mod consume;
mod deadletter;
mod explain;
mod json;
mod lag;
mod lake;
mod last_run;
mod ledger_at;
mod listeners;
mod migrate;
mod models;
mod pipeline_args;
mod pipeline_file;
mod produce;
mod produce_display;
mod replay;
mod run;
mod runs;
mod serve;
mod spark_address;
mod sql;
mod status;
mod stream;
mod text_table;
mod topic;
mod up;
mod warehouse;
mod zone;

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use turnstile_values::duration;

use crate::exit::Exit;
use crate::process::Process;

/// Turn a Kafka topic into tables in a data lake: aggregated in event-time windows, exactly once.
#[derive(Debug, Parser)]
#[command(name = "turnstile", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: docs/exit-codes.md. TURNSTILE_LOG=debug prints debug logs, TURNSTILE_LOG_FORMAT=human or json how."
)]
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
    Migrate(migrate::MigrateArgs),
    Explain(explain::ExplainArgs),
    Audit(audit::AuditArgs),
    Replay(replay::ReplayArgs),
    Deadletter(deadletter::DeadletterArgs),
    Runs(runs::RunsArgs),
    Console(console::ConsoleArgs),
    Topic(topic::TopicArgs),
    Broker(broker::BrokerArgs),
    Completions(completions::CompletionsArgs),
}

/// Parses the command line and runs its verb.
pub(crate) fn run(process: &Process) -> anyhow::Result<Exit> {
    let cli = Cli::try_parse().unwrap_or_else(|error| without_escape_tip(error).exit());
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
        CliCommand::Migrate(args) => migrate::run(args, process),
        CliCommand::Explain(args) => explain::run(args, process),
        CliCommand::Audit(args) => audit::run(args, process),
        CliCommand::Replay(args) => replay::run(args, process),
        CliCommand::Deadletter(args) => deadletter::run(args, process),
        CliCommand::Runs(args) => runs::run(args, process),
        CliCommand::Console(args) => console::run(args, process),
        CliCommand::Topic(args) => topic::run(args, process),
        CliCommand::Broker(args) => broker::run(args, process),
        CliCommand::Completions(args) => completions::run(args, Cli::command()),
    }
}

/// clap advises to pass an unknown flag as a value, after `--`: no verb has such values.
fn without_escape_tip(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::StyledStrs(mut tips)) = error.remove(ContextKind::Suggested) {
        tips.retain(|tip| !tip.to_string().contains("as a value, use"));
        if !tips.is_empty() {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
        }
    }
    error
}

/// A duration that an option gives.
fn duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| format!("{error}; {}", duration::HINT))
}

/// The environment variable that says what is logged.
const LOG: &str = "TURNSTILE_LOG";

/// The environment variable that says how: `human` or `json`.
const LOG_FORMAT: &str = "TURNSTILE_LOG_FORMAT";

/// What is logged of parts that print every frame, unless they are asked for by name.
const QUIET: &str = "h2=warn,hyper_util=info";

/// Logs go to stderr: warnings, or what TURNSTILE_LOG asks for; as text on a terminal, as JSON lines otherwise.
fn start_logging() {
    let asked = std::env::var(LOG).ok().filter(|text| !text.is_empty());
    let asked = asked.map(|asked| format!("{QUIET},{asked}"));
    let filter = asked.map_or_else(|| Ok(EnvFilter::new("warn")), EnvFilter::try_new).unwrap_or_else(|error| {
        crate::report::warn(&format!("{LOG} is not used: {error}; write it as in {LOG}=debug"));
        EnvFilter::new("warn")
    });
    let logging = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(crate::style::on_stderr());
    match std::env::var(LOG_FORMAT).as_deref() {
        Ok("human") => logging.init(),
        Ok("json") => logging.json().flatten_event(true).init(),
        Err(_) | Ok("") if std::io::stderr().is_terminal() => logging.init(),
        Err(_) | Ok("") => logging.json().flatten_event(true).init(),
        Ok(other) => {
            logging.init();
            crate::report::warn(&format!("{LOG_FORMAT} is not used: {other:?} is neither human nor json"));
        }
    }
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
    fn a_duration_has_a_unit_and_is_above_0() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2 min"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["10", "s", "-1s", "0s", "1e30h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
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
    fn an_unknown_flag_is_answered_with_the_nearest_one_and_no_way_to_escape_it() {
        let error = |line: &[&str]| without_escape_tip(Cli::try_parse_from(line).unwrap_err()).to_string();
        let text = error(&["turnstile", "status", "--pipelin", "x"]);
        assert!(text.contains("'--pipeline'") && !text.contains("-- --pipelin"), "{text}");
        let text = error(&["turnstile", "status", "--zzz"]);
        assert!(text.contains("unexpected argument '--zzz'") && !text.contains("tip"), "{text}");
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
