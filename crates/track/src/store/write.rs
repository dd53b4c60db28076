//! Stores runs, tasks and log lines; deletes what is too old or too much.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::Serialize;
use uuid::Uuid;

use super::error::RunStoreError;
use super::rows::{FLOW_RUN, TASK_RUN, flow_run, task_run};
use super::run_store::{RetentionLimits, RunStore};
use crate::change::RunChange;
use crate::run::{CrashedRun, FlowRun, RunLogLine, RunState, TaskRun};

/// What became of a request to end a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It is `CANCELLING`; its process sees that within seconds.
    Requested,
    /// It has ended before, in this state.
    Ended(RunState),
    /// There is no such run.
    Unknown,
}

const FLOW_UPSERT: &str = "INSERT INTO flow_runs
  (id, flow, pipeline, name, state, message, started_at_us, ended_at_us, seen_at_us, host, pid, parameters)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (id) DO UPDATE SET
    -- Someone may have asked it to end while this change was on its way.
    state = CASE WHEN flow_runs.state = 'CANCELLING' AND excluded.state IN ('PENDING', 'RUNNING', 'LATE')
                 THEN flow_runs.state ELSE excluded.state END,
    message = CASE WHEN flow_runs.state = 'CANCELLING' AND excluded.state IN ('PENDING', 'RUNNING', 'LATE')
                   THEN flow_runs.message ELSE excluded.message END,
    ended_at_us = excluded.ended_at_us,
    seen_at_us = max(flow_runs.seen_at_us, excluded.seen_at_us),
    parameters = excluded.parameters";

const TASK_UPSERT: &str = "INSERT INTO task_runs
  (id, flow_run, task, number, state, message, started_at_us, ended_at_us, upstream, retries, counts, files)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (id) DO UPDATE SET
    state = excluded.state, message = excluded.message, ended_at_us = excluded.ended_at_us,
    upstream = excluded.upstream, retries = excluded.retries, counts = excluded.counts, files = excluded.files";

impl RunStore {
    /// Stores changes, all or none. Safe to repeat, but for log lines.
    ///
    /// # Errors
    /// `Locked`: try again; `Damaged`; `Sqlite`: no space.
    pub fn apply(&mut self, changes: &[RunChange]) -> Result<(), RunStoreError> {
        let max_lines = self.limits.max_log_lines_per_run;
        self.transaction(|transaction| {
            let mut logged = Vec::new();
            for change in changes {
                match change {
                    RunChange::Flow(run) => put_flow(transaction, run)?,
                    RunChange::Task(task) => put_task(transaction, task)?,
                    RunChange::Log(line) => {
                        put_log(transaction, line)?;
                        if !logged.contains(&line.flow_run) {
                            logged.push(line.flow_run);
                        }
                    }
                    RunChange::Seen { flow_run, at_us } => {
                        let sql = "UPDATE flow_runs SET seen_at_us = max(seen_at_us, ?) WHERE id = ?";
                        transaction.prepare(sql)?.execute(params![at_us, flow_run.to_string()])?;
                    }
                    // The files of a task hold it already.
                    RunChange::Window(_) => {}
                }
            }
            logged.iter().try_for_each(|run| trim(transaction, "logs", &run.to_string(), max_lines))
        })
    }

    /// Asks a run to end. Its process sees it when it next says that it is alive.
    ///
    /// # Errors
    /// As [`RunStore::apply`].
    pub fn request_cancel(&mut self, run: Uuid, cause: &str) -> Result<CancelOutcome, RunStoreError> {
        self.transaction(|transaction| {
            let id = run.to_string();
            let sql = format!("SELECT {FLOW_RUN} FROM flow_runs WHERE id = ?");
            let found = transaction.query_row(&sql, [&id], flow_run).optional()?;
            let Some(found) = found else { return Ok(CancelOutcome::Unknown) };
            if found.state.is_final() {
                return Ok(CancelOutcome::Ended(found.state));
            }
            let sql = "UPDATE flow_runs SET state = 'CANCELLING', message = ? WHERE id = ? AND state <> 'CANCELLING'";
            transaction.execute(sql, params![cause, id])?;
            Ok(CancelOutcome::Requested)
        })
    }

    /// Whether someone asked a run to end, and why.
    ///
    /// # Errors
    /// As [`RunStore::runs`].
    pub fn cancel_requested(&self, run: Uuid) -> Result<Option<String>, RunStoreError> {
        let sql = "SELECT coalesce(message, '') FROM flow_runs WHERE id = ? AND state = 'CANCELLING'";
        let found = self.connection.query_row(sql, [run.to_string()], |row| row.get(0)).optional();
        found.map_err(|e| self.failed(e))
    }

    /// Finds the runs of `pipeline` that have not ended although their processes have, by
    /// `is_alive(host, pid, seen_at_us)`, and makes them and their tasks `CRASHED`. Returns those runs, the oldest first.
    ///
    /// # Errors
    /// As [`RunStore::apply`].
    pub fn crashed_since(
        &mut self,
        pipeline: &str,
        now_us: i64,
        is_alive: impl Fn(&str, u32, i64) -> bool,
    ) -> Result<Vec<CrashedRun>, RunStoreError> {
        self.transaction(|transaction| {
            let sql = format!(
                "SELECT {FLOW_RUN} FROM flow_runs WHERE pipeline = ? AND state IN ('PENDING', 'RUNNING', 'LATE', 'CANCELLING', 'PAUSED')
                 ORDER BY started_at_us"
            );
            let open: Vec<_> = transaction.prepare(&sql)?.query_map([pipeline], flow_run)?.collect::<Result<_, _>>()?;
            let gone = open.into_iter().filter(|run| !is_alive(&run.host, run.pid, run.seen_at_us));
            let mut crashed = Vec::new();
            for mut run in gone {
                run.state = RunState::Crashed;
                let seen = turnstile_values::human::instant(run.seen_at_us / 1_000_000 * 1_000_000);
                run.message = Some(format!("process {} of host {} ended without a word, last seen {seen}", run.pid, run.host));
                run.ended_at_us = Some(run.seen_at_us.min(now_us).max(run.started_at_us));
                put_flow(transaction, &run)?;
                let sql = format!("SELECT {TASK_RUN} FROM task_runs WHERE flow_run = ? AND ended_at_us IS NULL");
                let id = run.id.to_string();
                let open = transaction.prepare(&sql)?.query_map([id], task_run)?.collect::<Result<Vec<_>, _>>()?;
                let tasks = open.into_iter().map(|task| TaskRun {
                    state: RunState::Crashed,
                    ended_at_us: run.ended_at_us.map(|ended_at_us| ended_at_us.max(task.started_at_us)),
                    message: run.message.clone(),
                    ..task
                });
                let tasks: Vec<_> = tasks.collect();
                tasks.iter().try_for_each(|task| put_task(transaction, task))?;
                crashed.push(CrashedRun { run, tasks });
            }
            Ok(crashed)
        })
    }

    /// Deletes ended runs that are too old or too many, and the oldest task runs of runs that have too many; returns how
    /// many runs.
    ///
    /// # Errors
    /// As [`RunStore::apply`]; what was deleted before stays deleted.
    pub fn retain(&mut self, now_us: i64) -> Result<u64, RunStoreError> {
        let RetentionLimits { max_age, max_runs, max_tasks_per_run, .. } = self.limits.clone();
        let oldest_us = now_us.saturating_sub(i64::try_from(max_age.as_micros()).unwrap_or(i64::MAX));
        let ended = "state IN ('COMPLETED', 'FAILED', 'CRASHED', 'CANCELLED')";
        let sql = format!(
            "SELECT id FROM flow_runs WHERE {ended} AND coalesce(ended_at_us, seen_at_us) < ?1
             UNION SELECT id FROM (SELECT id FROM flow_runs WHERE {ended} ORDER BY started_at_us DESC LIMIT -1 OFFSET ?2)"
        );
        let max_runs = i64::try_from(max_runs).unwrap_or(i64::MAX);
        self.transaction(|transaction| {
            let old = ids(transaction, &sql, params![oldest_us, max_runs])?;
            for id in &old {
                for sql in [
                    "DELETE FROM logs WHERE flow_run = ?",
                    "DELETE FROM task_runs WHERE flow_run = ?",
                    "DELETE FROM flow_runs WHERE id = ?",
                ] {
                    transaction.prepare(sql)?.execute([id])?;
                }
            }
            let most = i64::try_from(max_tasks_per_run).unwrap_or(i64::MAX);
            let sql = "SELECT flow_run FROM task_runs GROUP BY flow_run HAVING count(*) > ?";
            for run in ids(transaction, sql, [most])? {
                trim(transaction, "task_runs", &run, max_tasks_per_run)?;
            }
            Ok(old.len() as u64)
        })
    }

    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, RunStoreError> {
        let path = &self.path;
        let done = || -> Result<T, rusqlite::Error> {
            // It writes: it waits for its turn before it reads.
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        done().map_err(|e| RunStoreError::of(path, e))
    }
}

fn put_flow(transaction: &Transaction<'_>, run: &FlowRun) -> Result<(), rusqlite::Error> {
    transaction.prepare(FLOW_UPSERT)?.execute(params![
        run.id.to_string(),
        run.flow,
        run.pipeline,
        run.name,
        run.state.code(),
        run.message,
        run.started_at_us,
        run.ended_at_us,
        run.seen_at_us,
        run.host,
        run.pid,
        json(&run.parameters)?,
    ])?;
    Ok(())
}

fn put_task(transaction: &Transaction<'_>, task: &TaskRun) -> Result<(), rusqlite::Error> {
    transaction.prepare(TASK_UPSERT)?.execute(params![
        task.id.to_string(),
        task.flow_run.to_string(),
        task.task,
        i64::try_from(task.number).unwrap_or(i64::MAX),
        task.state.code(),
        task.message,
        task.started_at_us,
        task.ended_at_us,
        json(&task.upstream)?,
        task.retries,
        json(&task.counts)?,
        json(&task.files)?,
    ])?;
    Ok(())
}

fn put_log(transaction: &Transaction<'_>, line: &RunLogLine) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO logs (flow_run, at_us, level, text) VALUES (?, ?, ?, ?)";
    let values = params![line.flow_run.to_string(), line.at_us, line.level.number(), line.text];
    transaction.prepare(sql)?.execute(values)?;
    Ok(())
}

/// Deletes the oldest rows of one run beyond `limit`.
fn trim(transaction: &Transaction<'_>, table: &str, run: &str, limit: u64) -> Result<(), rusqlite::Error> {
    let sql = format!(
        "DELETE FROM {table} WHERE flow_run = ?1 AND position <=
           (SELECT position FROM {table} WHERE flow_run = ?1 ORDER BY position DESC LIMIT 1 OFFSET ?2)"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    transaction.prepare(&sql)?.execute(params![run, limit])?;
    Ok(())
}

fn ids(connection: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<Vec<String>, rusqlite::Error> {
    connection.prepare(sql)?.query_map(values, |row| row.get(0))?.collect()
}

fn json(value: &impl Serialize) -> Result<String, rusqlite::Error> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}
