//! One step of a load: what the ledger published since the last one.

use turnstile_lake::published_since;
use turnstile_values::human;

use super::changed_windows::ChangedWindows;
use super::check::compute_and_check;
use super::commit::{commit_load, rename_data_files, step_over};
use super::model_tables::{LakeAsOf, LoadStep};
use super::outcome::{Load, LoadOptions};
use super::refresh::{pending_tables, refresh, tables_to_refresh};
use super::staged_tables::StagedTables;
use crate::error::WarehouseError;
use crate::store::{LoadRun, LoadRunState, WarehouseState};
use crate::warehouse::Warehouse;

impl Warehouse {
    /// Loads what the ledger published since the last load: one step, of up to [`crate::WarehouseLimits::load_rows`] rows.
    /// `None`: there was nothing new. Repeating it changes nothing.
    ///
    /// # Errors
    /// All of [`WarehouseError`]; the tables are as they were, and a failure that the data or the models cause is in
    /// `load_runs`. `Moved`: another process loaded; load again.
    pub async fn load(&self, options: &LoadOptions) -> Result<Option<Load>, WarehouseError> {
        let started_at_us = self.inner().lake.now_us();
        let mut state = self.inner().record.newest().await?;
        let from_seq = state.ledger_seq;
        let result = self.step(&mut state, options, started_at_us).await;
        if let Err(error) = &result
            && !error.retriable()
        {
            let run = LoadRun {
                state: LoadRunState::Failed,
                tests_failed: if let WarehouseError::Tests { failed } = error { failed.len() as u64 } else { 0 },
                error: Some(human::error(error)),
                ..LoadRun::embedded(started_at_us, self.inner().lake.now_us(), from_seq)
            };
            self.record(run).await?;
        }
        result
    }

    async fn step(
        &self,
        state: &mut WarehouseState,
        options: &LoadOptions,
        started_at_us: i64,
    ) -> Result<Option<Load>, WarehouseError> {
        let named = tables_to_refresh(self, state, options)?;
        if !named.is_empty() {
            return refresh(self, state, named, started_at_us).await.map(Some);
        }
        let inner = self.inner();
        let empty =
            || WarehouseError::Empty { lake: inner.lake.url().to_owned(), pipeline: inner.source.pipeline.clone() };
        let since = published_since(&inner.lake, &inner.source.pipeline, state.ledger_seq).await?;
        let since = since.ok_or_else(empty)?;
        let (changed, to_seq) = ChangedWindows::of(&since.commits, inner.limits.load_rows, since.until);
        if changed.is_empty() {
            let pending = pending_tables(self, state);
            if !pending.is_empty() {
                return refresh(self, state, pending, started_at_us).await.map(Some);
            }
            step_over(self, state, to_seq).await?;
            rename_data_files(self, state).await;
            return Ok(None);
        }
        let rows = changed.read(self).await?;
        let mut staged = StagedTables::new(self, state);
        let step = LoadStep { rows: &rows, wanted: None, caught_up: to_seq == since.until };
        let mut lake = LakeAsOf::as_of(to_seq);
        let tests = match compute_and_check(&mut staged, &step, &mut lake).await {
            Ok(tests) => tests,
            Err(error) => {
                staged.discard().await;
                return Err(error);
            }
        };
        let run = LoadRun {
            load: state.load + 1,
            to_seq,
            windows: rows.windows.len() as u64,
            rows_in: rows.count(),
            rows_out: staged.rows_out,
            tests_passed: tests.iter().filter(|test| test.passed()).count() as u64,
            ..LoadRun::embedded(started_at_us, inner.lake.now_us(), state.ledger_seq)
        };
        commit_load(self, state, staged, &rows.windows, to_seq, run.clone()).await?;
        Ok(Some(Load { run, tests, more: to_seq < since.until }))
    }
}
