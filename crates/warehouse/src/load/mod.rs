//! Loads: what the ledger published since the last one becomes rows of the models' tables.
//!
//! In: the record's newest state, the ledger after it. Out: files and one entry, or an error and nothing.
//! Tests of the models run before the entry is written: what fails them is never seen.
//! Refuses to know when it runs. Start at [`Warehouse::load`].

mod changed;
mod check;
mod compute;
mod deliver;
mod merge;
mod refresh;
mod tables;
mod work;

use std::collections::BTreeMap;

use chrono::Utc;
use turnstile_lake::published_since;

use crate::model::{Model, ModelKind, TestResult};
use crate::store::{Entry, FORMAT, Run, RunState, State, WindowSet};
use crate::{Warehouse, WarehouseError};
use changed::Changed;
pub(crate) use compute::head;
use tables::{Lake, Step};
use work::Work;

/// The word for this warehouse in `load_runs`.
pub(crate) const EMBEDDED: &str = "embedded";

/// How often a run's record is tried again when other processes write at the same time.
const RECORD_TRIES: usize = 5;

/// Commits without a window after which the position moves on by itself: what a load reads in vain at the most.
const STEP_OVER: u64 = 128;

/// Choices of a load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Models whose tables are made anew from all that is in the lake.
    pub full_refresh: Vec<String>,
}

/// What one load did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Load {
    /// Its record.
    #[serde(flatten)]
    pub run: Run,
    /// How the models' tests came out.
    pub tests: Vec<TestResult>,
    /// Whether the ledger held more than one load takes: load again.
    pub more: bool,
}

impl Warehouse {
    /// Loads what the ledger published since the last load: one step, of up to [`crate::Limits::load_rows`] rows.
    /// `None`: there was nothing new. Repeating it changes nothing.
    ///
    /// # Errors
    /// All of [`WarehouseError`]; the tables are as they were, and a failure that the data or the models cause is in
    /// `load_runs`. `Moved`: another process loaded; look again.
    pub async fn load(&self, options: &LoadOptions) -> Result<Option<Load>, WarehouseError> {
        let started_at_us = Utc::now().timestamp_micros();
        let mut state = self.inner().store.newest().await?;
        let from_seq = state.ledger_seq;
        let result = self.step(&mut state, options, started_at_us).await;
        if let Err(error) = &result
            && !error.retriable()
        {
            let failed = |tests| Run {
                load: 0,
                target: EMBEDDED.to_owned(),
                state: RunState::Failed,
                started_at_us,
                ended_at_us: Utc::now().timestamp_micros(),
                from_seq,
                to_seq: from_seq,
                windows: 0,
                rows_in: 0,
                rows_out: 0,
                tests_passed: 0,
                tests_failed: tests,
                error: Some(with_causes(error)),
            };
            let tests = if let WarehouseError::Tests { failed } = error { failed.len() as u64 } else { 0 };
            self.record(failed(tests)).await?;
        }
        result
    }

    async fn step(
        &self,
        state: &mut State,
        options: &LoadOptions,
        started_at_us: i64,
    ) -> Result<Option<Load>, WarehouseError> {
        let refresh = refresh::wanted(self, state, options)?;
        if !refresh.is_empty() {
            return refresh::refresh(self, state, refresh, started_at_us).await.map(Some);
        }
        let inner = self.inner();
        let empty =
            || WarehouseError::Empty { lake: inner.lake.url().to_owned(), pipeline: inner.source.pipeline.clone() };
        let since = published_since(&inner.lake, &inner.source.pipeline, state.ledger_seq).await?;
        let since = since.ok_or_else(empty)?;
        let (changed, to_seq) = Changed::of(&since.commits, inner.limits.load_rows, since.until);
        if changed.is_empty() {
            let waiting = refresh::waiting(self, state);
            if !waiting.is_empty() {
                return refresh::refresh(self, state, waiting, started_at_us).await.map(Some);
            }
            self.step_over(state, to_seq).await?;
            return Ok(None);
        }
        let rows = changed.read(self).await?;
        let mut work = Work::new(self, state);
        let step = Step { rows: &rows, wanted: None, caught_up: to_seq == since.until };
        let mut lake = Lake::as_of(to_seq);
        let tests = match tested(&mut work, &step, &mut lake).await {
            Ok(tests) => tests,
            Err(error) => {
                work.discard().await;
                return Err(error);
            }
        };
        let run = Run {
            load: state.load + 1,
            target: EMBEDDED.to_owned(),
            state: RunState::Succeeded,
            started_at_us,
            ended_at_us: Utc::now().timestamp_micros(),
            from_seq: state.ledger_seq,
            to_seq,
            windows: rows.windows.len() as u64,
            rows_in: rows.count(),
            rows_out: work.rows_out,
            tests_passed: tests.iter().filter(|test| test.passed()).count() as u64,
            tests_failed: 0,
            error: None,
        };
        self.finish(state, work, &rows.windows, to_seq, run.clone()).await?;
        Ok(Some(Load { run, tests, more: to_seq < since.until }))
    }

    /// Moves the position over commits that published nothing, once there are many: each load reads from it.
    async fn step_over(&self, state: &mut State, until: u64) -> Result<(), WarehouseError> {
        // Before the first load there is no position: it makes the tables of all that is there.
        if state.ledger_seq == 0 || until.saturating_sub(state.ledger_seq) < STEP_OVER {
            return Ok(());
        }
        let store = &self.inner().store;
        let entry = Entry { ledger_seq: until, ..next(state) };
        match store.commit(state, &entry).await {
            Ok(()) => store.tidy(state).await,
            // Another process is at it.
            Err(WarehouseError::Moved) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes the entry that makes `work` count.
    async fn finish(
        &self,
        state: &mut State,
        work: Work<'_>,
        windows: &WindowSet,
        ledger_seq: u64,
        run: Run,
    ) -> Result<(), WarehouseError> {
        let (tables, written) = work.into_parts();
        let entry = Entry { run: Some(run), ledger_seq, windows: windows.clone(), tables, ..next(state) };
        let store = &self.inner().store;
        if let Err(error) = store.commit(state, &entry).await {
            if matches!(error, WarehouseError::Moved) {
                // Nobody else knows these names.
                self.inner().lake.delete(&written).await?;
            }
            return Err(error);
        }
        // The load counts; what follows is housekeeping, and the next load does it when it fails here.
        if let Err(error) = self.keep_house(state).await {
            tracing::warn!(%error, "the warehouse was not tidied; the next load tries again");
        }
        Ok(())
    }

    async fn keep_house(&self, state: &mut State) -> Result<(), WarehouseError> {
        match merge::merge(self, state).await {
            Ok(()) | Err(WarehouseError::Moved) => {}
            Err(error) => return Err(error),
        }
        self.inner().store.tidy(state).await
    }

    /// Puts a run into `load_runs` that changed no table, such as a delivery to another database.
    ///
    /// # Errors
    /// `Store`, `Damaged`, `Moved`.
    pub async fn record(&self, run: Run) -> Result<(), WarehouseError> {
        let store = &self.inner().store;
        let mut state = store.newest().await?;
        for _ in 0..RECORD_TRIES {
            let run = Run { load: state.load + 1, ..run.clone() };
            let entry = Entry { run: Some(run), ..next(&state) };
            match store.commit(&mut state, &entry).await {
                Err(WarehouseError::Moved) => store.advance(&mut state).await?,
                Err(error) => return Err(error),
                Ok(()) => return store.tidy(&mut state).await,
            };
        }
        Err(WarehouseError::Moved)
    }
}

/// Computes what `step` wants, and tests it.
async fn tested(work: &mut Work<'_>, step: &Step<'_>, lake: &mut Lake) -> Result<Vec<TestResult>, WarehouseError> {
    let computed = compute::compute(work, step, lake).await?;
    check::check(work, step, &computed, lake).await
}

/// An entry after `state` that changes nothing.
fn next(state: &State) -> Entry {
    let warehouse = match state.warehouse.as_str() {
        "" => uuid::Uuid::new_v4().to_string(),
        known => known.to_owned(),
    };
    Entry {
        format: FORMAT,
        warehouse,
        load: state.load + 1,
        previous: state.hash,
        ledger_seq: state.ledger_seq,
        windows: WindowSet::default(),
        tables: BTreeMap::new(),
        run: None,
    }
}

/// Whether a model has a table of its own.
fn stored(model: &Model) -> bool {
    model.kind != ModelKind::View
}

/// An error with what caused it, in one line.
fn with_causes(error: &WarehouseError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
