//! Rows of the tables as runs, tasks and log lines.

use rusqlite::types::Type;
use rusqlite::{Error, Row};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::event::LogLevel;
use crate::run::{FlowRun, RunLogLine, RunState, TaskRun};

/// The columns that [`flow_run`] reads, in order.
pub(super) const FLOW_RUN: &str =
    "id, flow, pipeline, name, state, message, started_at_us, ended_at_us, seen_at_us, host, pid, parameters";
/// The columns that [`task_run`] reads, in order.
pub(super) const TASK_RUN: &str =
    "id, flow_run, task, number, state, message, started_at_us, ended_at_us, upstream, retries, counts, files";
/// The columns that [`log_line`] reads, in order.
pub(super) const LOG: &str = "flow_run, at_us, level, text";

pub(super) fn flow_run(row: &Row<'_>) -> Result<FlowRun, Error> {
    Ok(FlowRun {
        id: id(row, 0)?,
        flow: row.get(1)?,
        pipeline: row.get(2)?,
        name: row.get(3)?,
        state: state(row, 4)?,
        message: row.get(5)?,
        state_since_us: 0,
        started_at_us: row.get(6)?,
        ended_at_us: row.get(7)?,
        seen_at_us: row.get(8)?,
        host: row.get(9)?,
        pid: row.get(10)?,
        parameters: json(row, 11)?,
    })
}

pub(super) fn task_run(row: &Row<'_>) -> Result<TaskRun, Error> {
    Ok(TaskRun {
        id: id(row, 0)?,
        flow_run: id(row, 1)?,
        task: row.get(2)?,
        number: unsigned(row, 3)?,
        state: state(row, 4)?,
        message: row.get(5)?,
        started_at_us: row.get(6)?,
        ended_at_us: row.get(7)?,
        upstream: json(row, 8)?,
        retries: row.get(9)?,
        counts: json(row, 10)?,
        files: json(row, 11)?,
    })
}

pub(super) fn log_line(row: &Row<'_>) -> Result<RunLogLine, Error> {
    let number: u8 = row.get(2)?;
    let level = LogLevel::ALL.into_iter().find(|level| level.number() == number);
    let level = level.ok_or_else(|| strange(2, Type::Integer, format!("{number} is no level")))?;
    Ok(RunLogLine { flow_run: id(row, 0)?, at_us: row.get(1)?, level, text: row.get(3)? })
}

fn id(row: &Row<'_>, column: usize) -> Result<Uuid, Error> {
    let text: String = row.get(column)?;
    Uuid::parse_str(&text).map_err(|e| strange(column, Type::Text, e))
}

fn state(row: &Row<'_>, column: usize) -> Result<RunState, Error> {
    let text: String = row.get(column)?;
    RunState::parse(&text).ok_or_else(|| strange(column, Type::Text, format!("{text:?} is no state")))
}

fn unsigned(row: &Row<'_>, column: usize) -> Result<u64, Error> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|e| strange(column, Type::Integer, e))
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T, Error> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|e| strange(column, Type::Text, e))
}

fn strange(column: usize, kind: Type, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::FromSqlConversionFailure(column, kind, cause.into())
}
