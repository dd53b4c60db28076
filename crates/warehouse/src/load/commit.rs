//! Entries of the record: the commit of a load, and the housekeeping after it.

use turnstile_values::human;

use super::merge::merge;
use super::rename::rename;
use super::staged_tables::StagedTables;
use crate::error::WarehouseError;
use crate::store::{LoadEntry, LoadRun, WarehouseState, WindowSet};
use crate::warehouse::Warehouse;

/// How often a run's record is tried again when other processes write at the same time.
const RECORD_TRIES: usize = 5;

/// Commits without a window after which the position advances by itself: the most that a load reads in vain.
const STEP_OVER: u64 = 128;

/// Writes the entry that makes `staged` visible.
pub(super) async fn commit_load(
    warehouse: &Warehouse,
    state: &mut WarehouseState,
    staged: StagedTables<'_>,
    windows: &WindowSet,
    ledger_seq: u64,
    run: LoadRun,
) -> Result<(), WarehouseError> {
    let (tables, written) = staged.into_parts();
    let entry = LoadEntry { run: Some(run), ledger_seq, windows: windows.clone(), tables, ..state.next_entry() };
    let inner = warehouse.inner();
    if let Err(error) = inner.record.commit(state, &entry).await {
        if matches!(error, WarehouseError::Moved) {
            inner.record.discard(written).await?;
        }
        return Err(error);
    }
    // The load is committed; the next one repeats the housekeeping if it fails here.
    if let Err(error) = run_housekeeping(warehouse, state).await {
        tracing::warn!(error = human::error(&error), "the warehouse's housekeeping failed; the next load tries again");
    }
    Ok(())
}

async fn run_housekeeping(warehouse: &Warehouse, state: &mut WarehouseState) -> Result<(), WarehouseError> {
    match merge(warehouse, state).await {
        Ok(()) | Err(WarehouseError::Moved) => {}
        Err(error) => return Err(error),
    }
    rename_data_files(warehouse, state).await;
    warehouse.inner().record.clean_up(state).await
}

/// Renames files that are named as data files. One that cannot be renamed stays, and the next load tries again.
pub(super) async fn rename_data_files(warehouse: &Warehouse, state: &mut WarehouseState) {
    match rename(warehouse, state).await {
        Ok(()) | Err(WarehouseError::Moved) => {}
        Err(error) => tracing::warn!(error = human::error(&error), "a table's file was not renamed"),
    }
}

/// Advances the position over commits that published nothing, once there are many: each load reads from it.
pub(super) async fn step_over(
    warehouse: &Warehouse,
    state: &mut WarehouseState,
    until: u64,
) -> Result<(), WarehouseError> {
    // Before the first load there is no position: that load builds the tables from all that exists.
    if state.ledger_seq == 0 || until.saturating_sub(state.ledger_seq) < STEP_OVER {
        return Ok(());
    }
    let record = &warehouse.inner().record;
    let entry = LoadEntry { ledger_seq: until, ..state.next_entry() };
    match record.commit(state, &entry).await {
        Ok(()) => record.clean_up(state).await,
        // Another process did it.
        Err(WarehouseError::Moved) => Ok(()),
        Err(error) => Err(error),
    }
}

impl Warehouse {
    /// Adds a run to `load_runs` that changed no table, such as a delivery to another database.
    ///
    /// # Errors
    /// `Store`, `Damaged`, `Moved`.
    pub async fn record(&self, run: LoadRun) -> Result<(), WarehouseError> {
        let record = &self.inner().record;
        let mut state = record.newest().await?;
        for _ in 0..RECORD_TRIES {
            let run = LoadRun { load: state.load + 1, ..run.clone() };
            let entry = LoadEntry { run: Some(run), ..state.next_entry() };
            match record.commit(&mut state, &entry).await {
                Err(WarehouseError::Moved) => record.advance(&mut state).await?,
                Err(error) => return Err(error),
                Ok(()) => return record.clean_up(&mut state).await,
            };
        }
        Err(WarehouseError::Moved)
    }
}
