//! Flow runs from the store, as pages show them.

use turnstile_console::data::{
    ConsoleError, NoteSeverity, RunCondition, RunDetail, RunListing, RunLogEntry, RunPage, TaskListing,
};
use turnstile_track::{CancelOutcome, FlowRun, LogLevel, RunFilter, RunLogLine, RunState, RunStore, TaskRun};
use uuid::Uuid;

use super::unavailable;
use crate::flow::Context;
use crate::tracking;

/// Flow runs, newest first: `limit` of them after the first `offset`.
pub(super) async fn page(context: &Context, offset: u64, limit: usize) -> Result<RunPage, ConsoleError> {
    let filter = RunFilter { pipeline: Some(context.pipeline().name.clone()), state: None };
    let (all, total) = with_store(context, move |store| {
        let total = store.count(&filter)?;
        Ok((store.runs(&filter, offset.saturating_add(limit as u64))?, total))
    })
    .await?;
    Ok(RunPage { runs: all.iter().skip(offset as usize).map(listing).collect(), total })
}

/// One flow run with its newest tasks and the newest lines of its log.
pub(super) async fn detail(
    context: &Context,
    id: &str,
    max_tasks: usize,
    max_logs: usize,
) -> Result<RunDetail, ConsoleError> {
    let run = parse(id)?;
    let found = with_store(context, move |store| {
        let Some(details) = store.show(run, max_tasks as u64)? else { return Ok(None) };
        Ok(Some((details, store.logs(run, LogLevel::Info, max_logs as u64)?, store.log_count(run)?)))
    });
    let (details, logs, logs_total) = found.await?.ok_or_else(|| not_found(id))?;
    Ok(RunDetail {
        parameters: details.run.parameters.clone().into_iter().collect(),
        tasks: details.tasks.into_iter().map(task).collect(),
        tasks_total: details.task_count,
        logs: logs.into_iter().map(line).collect(),
        logs_total,
        can_cancel: matches!(details.run.state, RunState::Running | RunState::Late),
        run: listing(&details.run),
    })
}

/// Asks a run to end.
pub(super) async fn cancel(context: &Context, id: &str) -> Result<(), ConsoleError> {
    let run = parse(id)?;
    let context = context.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let mut store = tracking::open_to_write(&context)?;
        anyhow::Ok(store.request_cancel(run, "a person cancelled it in the console")?)
    });
    match asked.await.map_err(|error| unavailable(error.into()))?.map_err(unavailable)? {
        CancelOutcome::Requested => Ok(()),
        CancelOutcome::Ended(state) => {
            Err(ConsoleError::Refused { fact: format!("the run has ended already: {}", state.name()), hint: None })
        }
        CancelOutcome::Unknown => Err(not_found(id)),
    }
}

/// Reads the store on a thread that may wait.
async fn with_store<T: Send + 'static>(
    context: &Context,
    read: impl FnOnce(&RunStore) -> Result<T, turnstile_track::RunStoreError> + Send + 'static,
) -> Result<T, ConsoleError> {
    let context = context.clone();
    let read = tokio::task::spawn_blocking(move || {
        let store = tracking::open_to_read(&context)?;
        anyhow::Ok(read(&store)?)
    });
    read.await.map_err(|error| unavailable(error.into()))?.map_err(unavailable)
}

fn parse(id: &str) -> Result<Uuid, ConsoleError> {
    Uuid::parse_str(id).map_err(|_| not_found(id))
}

fn not_found(id: &str) -> ConsoleError {
    ConsoleError::NotFound { what: "run", name: id.to_owned() }
}

fn listing(run: &FlowRun) -> RunListing {
    RunListing {
        id: run.id.to_string(),
        name: run.name.clone(),
        flow: run.flow.clone(),
        condition: condition(run.state),
        message: run.message.clone(),
        started_at_us: run.started_at_us,
        ended_at_us: run.ended_at_us,
        process: format!("{}, process {}", run.host, run.pid),
    }
}

fn task(task: TaskRun) -> TaskListing {
    TaskListing {
        task: task.task,
        number: task.number,
        condition: condition(task.state),
        message: task.message,
        started_at_us: task.started_at_us,
        ended_at_us: task.ended_at_us,
        retries: task.retries,
        counts: task.counts.into_iter().collect(),
        files: task.files,
    }
}

fn line(line: RunLogLine) -> RunLogEntry {
    let severity = match line.level {
        LogLevel::Info => NoteSeverity::Info,
        LogLevel::Warning => NoteSeverity::Warning,
        LogLevel::Error => NoteSeverity::Error,
    };
    RunLogEntry { at_us: line.at_us, severity, text: line.text }
}

fn condition(state: RunState) -> RunCondition {
    match state {
        RunState::Scheduled => RunCondition::Scheduled,
        RunState::Pending => RunCondition::Pending,
        RunState::Running => RunCondition::Running,
        RunState::Late => RunCondition::Late,
        RunState::Completed => RunCondition::Completed,
        RunState::Failed => RunCondition::Failed,
        RunState::Crashed => RunCondition::Crashed,
        RunState::Cancelling => RunCondition::Cancelling,
        RunState::Cancelled => RunCondition::Cancelled,
        RunState::Paused => RunCondition::Paused,
    }
}
