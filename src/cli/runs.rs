//! `turnstile runs`: the flow runs of a pipeline, their tasks and logs.

use clap::Subcommand;
use serde_json::{Value, json};
use turnstile_track::{CancelOutcome, FlowRun, LogLevel, RunFilter, RunState, RunStore, TaskRun};
use turnstile_values::{SECOND_US, human};

use super::pipeline_args::PipelineArgs;
use super::text_table::TextTable;
use crate::exit::Exit;
use crate::flow::{self, Context, LakeAccess};
use crate::process::Process;
use crate::report::Failure;
use crate::tracking;

/// List, show or cancel runs of a pipeline, with their tasks and logs
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, subcommand_required = true)]
#[command(after_help = "\
Examples:
  turnstile runs list
  turnstile runs show 3f2a pipelines/mta-turnstile.toml
  turnstile runs logs 3f2a --level warning
  turnstile runs cancel 3f2a

A run is named by its id, or by as much of its beginning as no other run has. What is kept, and for how long:
docs/tracking.md.")]
pub(crate) struct RunsArgs {
    #[command(subcommand)]
    command: RunsCommand,
}

#[derive(Debug, Subcommand)]
enum RunsCommand {
    /// One line per run, the newest first
    #[command(after_help = "\
Examples:
  turnstile runs list
  turnstile runs list pipelines/mta-turnstile.toml --state failed --json")]
    List {
        #[command(flatten)]
        pipeline: PipelineArgs,
        /// Only runs in this state, such as `failed` or `running`
        #[arg(long, value_name = "STATE", value_parser = state)]
        state: Option<RunState>,
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u64,
        /// Print JSON lines
        #[arg(long)]
        json: bool,
    },
    /// A run with its newest tasks
    #[command(after_help = "\
Examples:
  turnstile runs show 3f2a
  turnstile runs show 3f2a pipelines/mta-turnstile.toml --limit 100 --json")]
    Show {
        #[command(flatten)]
        of: RunArg,
        /// At most this many tasks, the newest
        #[arg(long, value_name = "N", default_value_t = 30)]
        limit: u64,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// The log of a run
    #[command(after_help = "\
Examples:
  turnstile runs logs 3f2a
  turnstile runs logs 3f2a --level error --json")]
    Logs {
        #[command(flatten)]
        of: RunArg,
        /// Only lines that matter this much: info, warning or error
        #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = level)]
        level: LogLevel,
        /// At most this many lines, the newest
        #[arg(long, value_name = "N", default_value_t = 1_000)]
        limit: u64,
        /// Print JSON lines
        #[arg(long)]
        json: bool,
    },
    /// Ask a run to end: it commits what it has read and leaves windows open
    #[command(after_help = "\
Examples:
  turnstile runs cancel 3f2a
  turnstile runs cancel 3f2a pipelines/mta-turnstile.toml")]
    Cancel {
        #[command(flatten)]
        of: RunArg,
    },
}

#[derive(Debug, clap::Args)]
struct RunArg {
    /// The run's id, or its beginning
    #[arg(value_name = "RUN")]
    run: String,
    #[command(flatten)]
    pipeline: PipelineArgs,
}

fn state(text: &str) -> Result<RunState, String> {
    let known = || RunState::ALL.map(|state| state.name().to_lowercase()).join(", ");
    RunState::parse(text).ok_or_else(|| format!("it is none of {}", known()))
}

fn level(text: &str) -> Result<LogLevel, String> {
    LogLevel::parse(text).ok_or_else(|| "it is none of info, warning, error".to_owned())
}

pub(crate) fn run(args: RunsArgs, process: &Process) -> anyhow::Result<Exit> {
    match args.command {
        RunsCommand::List { pipeline, state, limit, json } => {
            let context = pipeline.open(process, LakeAccess::Read)?;
            let filter = RunFilter { pipeline: Some(context.pipeline().name.clone()), state };
            list(&tracking::open_to_read(&context)?.runs(&filter, limit)?, json);
        }
        RunsCommand::Show { of, limit, json } => {
            let (_, store, run) = of.find(process)?;
            let Some(details) = store.show(run.id, limit)? else { return Err(unknown(&of.run)) };
            match json {
                true => outln!("{}", details_json(&details.run, &details.tasks, details.task_count)),
                false => out!("{}", render(&details.run, &details.tasks, details.task_count)),
            }
        }
        RunsCommand::Logs { of, level, limit, json } => {
            let (_, store, run) = of.find(process)?;
            for line in store.logs(run.id, level, limit)? {
                let (at, level) = (human::instant(line.at_us), line.level.name());
                match json {
                    true => outln!("{}", json!({ "at": at, "level": level, "text": line.text })),
                    false => outln!("{at}  {level:<7}  {}", line.text),
                }
            }
        }
        RunsCommand::Cancel { of } => {
            let (context, _, run) = of.find(process)?;
            return cancel(&context, &run);
        }
    }
    Ok(Exit::Done)
}

impl RunArg {
    /// The run that is meant, and the store that it is in.
    fn find(&self, process: &Process) -> anyhow::Result<(Context, RunStore, FlowRun)> {
        let context = self.pipeline.open(process, LakeAccess::Read)?;
        let store = tracking::open_to_read(&context)?;
        let run = store.find(&self.run)?.ok_or_else(|| unknown(&self.run))?;
        Ok((context, store, run))
    }
}

fn unknown(run: &str) -> anyhow::Error {
    Failure::new(Exit::Usage, format!("{run:?} names no run, or several"))
        .hint("`turnstile runs list` shows their ids")
        .into()
}

fn cancel(context: &Context, run: &FlowRun) -> anyhow::Result<Exit> {
    let mut store = tracking::open_to_write(context)?;
    match store.request_cancel(run.id, "a person cancelled it with turnstile runs cancel")? {
        CancelOutcome::Requested => {
            outln!("{} is asked to end; it sees that within seconds", run.name);
            Ok(Exit::Done)
        }
        CancelOutcome::Ended(state) => {
            let fact = format!("{} has ended already: {}", run.name, state.name());
            Err(Failure::new(Exit::Failed, fact).into())
        }
        CancelOutcome::Unknown => Err(unknown(&run.id.to_string())),
    }
}

fn list(runs: &[FlowRun], json: bool) {
    if json {
        return runs.iter().for_each(|run| outln!("{}", run_json(run)));
    }
    let mut table = TextTable::headless(0..0);
    for run in runs {
        let id = run.id.to_string();
        let message = run.message.clone().unwrap_or_default();
        table.row([id[..8].to_owned(), run.state.name().to_owned(), run.name.clone(), took(run), message]);
    }
    out!("{table}");
}

/// How long it ran, or since when it runs.
fn took(run: &FlowRun) -> String {
    let until_us = run.ended_at_us.unwrap_or_else(flow::now_us);
    let took = human::rough_duration((until_us - run.started_at_us).max(0));
    if run.ended_at_us.is_some() { took } else { format!("for {took}") }
}

fn render(run: &FlowRun, tasks: &[TaskRun], count: u64) -> String {
    let mut out = format!("{}  {}\n", run.name, run.id);
    let mut line = |name: &str, text: &str| out.push_str(&format!("  {name:<10} {text}\n"));
    line("flow", &run.flow);
    let message = run.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
    line("state", &format!("{}{message}", run.state.name()));
    line("began", &format!("{} on {}, process {}", human::instant(run.started_at_us), run.host, run.pid));
    if let Some(ended_at_us) = run.ended_at_us {
        line("ended", &format!("{} after {}", human::instant(ended_at_us), took(run)));
    }
    run.parameters.iter().for_each(|(name, value)| line(name, value));
    let shown = tasks.len() as u64;
    if shown < count {
        line("tasks", &format!("the newest {shown} of {}", human::count(count)));
    }
    let mut table = TextTable::headless(0..0);
    for task in tasks {
        table.row([format!("{} {}", task.task, task.number), task.state.name().to_owned(), summary(task)]);
    }
    out.push_str(&table.to_string());
    out
}

/// What a task did: in its own words, then what else it counted, and how long it took.
fn summary(task: &TaskRun) -> String {
    let said = task.message.clone().unwrap_or_default();
    let is_said = |count: &str| said.split(' ').any(|word| word.trim_end_matches(',') == count);
    let counts = task.counts.iter().filter(|(_, count)| **count > 0);
    let counts = counts.map(|(name, count)| (name.replace('_', " "), human::count(*count)));
    let counts = counts.filter(|(_, count)| !is_said(count)).map(|(name, count)| format!("{name} {count}"));
    let took = task.ended_at_us.map(|ended| (ended - task.started_at_us).max(0)).filter(|took| *took >= SECOND_US);
    let retries = (task.retries > 0).then(|| format!("retries {}", task.retries));
    let own = (!said.is_empty()).then(|| said.clone());
    let parts: Vec<String> =
        own.into_iter().chain(counts).chain(retries).chain(took.map(human::rough_duration)).collect();
    parts.join(", ")
}

fn run_json(run: &FlowRun) -> Value {
    json!({
        "id": run.id.to_string(), "flow": run.flow, "pipeline": run.pipeline, "name": run.name,
        "state": run.state.code(), "message": run.message, "started_at": human::instant(run.started_at_us),
        "ended_at": run.ended_at_us.map(human::instant), "host": run.host, "pid": run.pid,
        "parameters": run.parameters,
    })
}

fn details_json(run: &FlowRun, tasks: &[TaskRun], count: u64) -> Value {
    let task = |task: &TaskRun| {
        let files = task.files.iter().map(|(name, url)| json!({ "name": name, "url": url })).collect::<Vec<_>>();
        json!({
            "id": task.id.to_string(), "task": task.task, "number": task.number, "state": task.state.code(),
            "message": task.message, "started_at": human::instant(task.started_at_us),
            "ended_at": task.ended_at_us.map(human::instant), "retries": task.retries, "counts": task.counts,
            "files": files, "upstream": task.upstream.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    };
    let mut object = run_json(run);
    object["tasks"] = tasks.iter().map(task).collect();
    object["task_count"] = count.into();
    object
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use turnstile_track::RunState;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_task_tells_each_count_once_and_no_zeros() {
        let counts = [("messages", 1_227), ("commits", 6), ("dead_letters", 3), ("late", 0)];
        let mut task = TaskRun {
            id: Uuid::nil(),
            flow_run: Uuid::nil(),
            task: "Read data stream".to_owned(),
            number: 1,
            state: RunState::Completed,
            message: Some("1,227 messages".to_owned()),
            started_at_us: 0,
            ended_at_us: Some(5_200_000),
            upstream: Vec::new(),
            retries: 0,
            counts: counts.map(|(name, count)| (name.to_owned(), count)).into_iter().collect::<BTreeMap<_, _>>(),
            files: Vec::new(),
        };
        assert_eq!(summary(&task), "1,227 messages, commits 6, dead letters 3, 5 seconds");
        (task.message, task.ended_at_us, task.retries) = (None, Some(9), 2);
        assert_eq!(summary(&task), "commits 6, dead letters 3, messages 1,227, retries 2");
    }
}
