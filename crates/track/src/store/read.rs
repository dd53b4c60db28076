//! Lists runs, and shows one with its tasks and its log.

use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

use super::error::RunStoreError;
use super::rows::{FLOW_RUN, LOG, TASK_RUN, flow_run, log_line, task_run};
use super::run_store::RunStore;
use crate::event::LogLevel;
use crate::run::{FlowRun, RunLogLine, RunState, TaskRun};

/// Which runs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of this pipeline only.
    pub pipeline: Option<String>,
    /// In this state only.
    pub state: Option<RunState>,
}

/// One run with its tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct RunDetails {
    /// The run.
    pub run: FlowRun,
    /// Its newest task runs, the oldest first.
    pub tasks: Vec<TaskRun>,
    /// How many task runs it has in all.
    pub task_count: u64,
}

impl RunFilter {
    /// The WHERE and its values. A condition for a value that is not given would keep SQLite from using an index.
    fn sql(&self) -> (String, Vec<Box<dyn rusqlite::ToSql>>) {
        let mut conditions = Vec::new();
        let mut values: Vec<Box<dyn rusqlite::ToSql>> = Vec::new();
        if let Some(pipeline) = &self.pipeline {
            conditions.push("pipeline = ?");
            values.push(Box::new(pipeline.clone()));
        }
        if let Some(state) = self.state {
            conditions.push("state = ?");
            values.push(Box::new(state.code()));
        }
        let condition =
            if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
        (condition, values)
    }
}

impl RunStore {
    /// Runs, the newest first, at most `limit`.
    ///
    /// # Errors
    /// `Locked`, `Damaged` or `Sqlite`; nothing was changed.
    pub fn runs(&self, filter: &RunFilter, limit: u64) -> Result<Vec<FlowRun>, RunStoreError> {
        let (condition, mut values) = filter.sql();
        values.push(Box::new(clamp(limit)));
        let sql =
            format!("SELECT {FLOW_RUN} FROM flow_runs {condition} ORDER BY started_at_us DESC, rowid DESC LIMIT ?");
        self.query(&sql, rusqlite::params_from_iter(values), flow_run)
    }

    /// How many runs the filter lets through.
    ///
    /// # Errors
    /// As [`RunStore::runs`].
    pub fn count(&self, filter: &RunFilter) -> Result<u64, RunStoreError> {
        let (condition, values) = filter.sql();
        let sql = format!("SELECT count(*) FROM flow_runs {condition}");
        let params = rusqlite::params_from_iter(values);
        let count: i64 = self.connection.query_row(&sql, params, |row| row.get(0)).map_err(|e| self.failed(e))?;
        Ok(count.unsigned_abs())
    }

    /// How many lines the log of a run has.
    ///
    /// # Errors
    /// As [`RunStore::runs`].
    pub fn log_count(&self, run: Uuid) -> Result<u64, RunStoreError> {
        let count = "SELECT count(*) FROM logs WHERE flow_run = ?";
        let count: Result<i64, _> = self.connection.query_row(count, [run.to_string()], |row| row.get(0));
        Ok(count.map_err(|e| self.failed(e))?.unsigned_abs())
    }

    /// The run with this id, or whose id begins with `text` when only one does; `None`: no run, or several.
    ///
    /// # Errors
    /// As [`RunStore::runs`].
    pub fn find(&self, text: &str) -> Result<Option<FlowRun>, RunStoreError> {
        let text = text.to_ascii_lowercase();
        // It goes into a pattern: only what an id can hold.
        if text.is_empty() || !text.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
            return Ok(None);
        }
        let sql = format!("SELECT {FLOW_RUN} FROM flow_runs WHERE id GLOB ? LIMIT 2");
        let mut found = self.query(&sql, params![format!("{text}*")], flow_run)?;
        Ok(if found.len() == 1 { found.pop() } else { None })
    }

    /// One run with its newest task runs, at most `task_limit`; `None`: there is no such run.
    ///
    /// # Errors
    /// As [`RunStore::runs`].
    pub fn show(&self, run: Uuid, task_limit: u64) -> Result<Option<RunDetails>, RunStoreError> {
        let id = run.to_string();
        let sql = format!("SELECT {FLOW_RUN} FROM flow_runs WHERE id = ?");
        let found = self.connection.query_row(&sql, [&id], flow_run).optional().map_err(|e| self.failed(e))?;
        let Some(run) = found else { return Ok(None) };
        let sql = format!("SELECT {TASK_RUN} FROM task_runs WHERE flow_run = ? ORDER BY position DESC LIMIT ?");
        let mut tasks = self.query(&sql, params![id, clamp(task_limit)], task_run)?;
        tasks.reverse();
        let count = "SELECT count(*) FROM task_runs WHERE flow_run = ?";
        let task_count: i64 = self.connection.query_row(count, [&id], |row| row.get(0)).map_err(|e| self.failed(e))?;
        Ok(Some(RunDetails { run, tasks, task_count: task_count.unsigned_abs() }))
    }

    /// The newest lines of a run's log that matter as much as `least` or more, at most `limit`, the oldest first.
    ///
    /// # Errors
    /// As [`RunStore::runs`].
    pub fn logs(&self, run: Uuid, least: LogLevel, limit: u64) -> Result<Vec<RunLogLine>, RunStoreError> {
        let sql = format!("SELECT {LOG} FROM logs WHERE flow_run = ? AND level >= ? ORDER BY position DESC LIMIT ?");
        let mut lines = self.query(&sql, params![run.to_string(), least.number(), clamp(limit)], log_line)?;
        lines.reverse();
        Ok(lines)
    }

    fn query<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<Vec<T>, RunStoreError> {
        let rows = || self.connection.prepare(sql)?.query_map(values, read)?.collect::<Result<Vec<T>, _>>();
        rows().map_err(|e| self.failed(e))
    }
}

fn clamp(limit: u64) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
