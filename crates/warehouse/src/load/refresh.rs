//! Rebuilding tables: those of new models, and those named by the user.

use std::collections::BTreeSet;

use turnstile_lake::Extent;

use super::changed_windows::{WindowRows, missing, read};
use super::check::compute_and_check;
use super::commit::commit_load;
use super::model_tables::{LakeAsOf, LoadStep};
use super::outcome::{Load, LoadOptions};
use super::staged_tables::StagedTables;
use crate::error::WarehouseError;
use crate::model::{Model, ModelKind, TestResult};
use crate::store::{LoadRun, WarehouseState, WindowSet};
use crate::tables::as_of;
use crate::warehouse::Warehouse;

/// The names of models whose tables are to be built from all that is in the lake. Tables that each load recomputes are
/// among them only where a person names them.
///
/// # Errors
/// `Changed`: models whose table another query built.
pub(super) fn tables_to_refresh(
    warehouse: &Warehouse,
    state: &WarehouseState,
    options: &LoadOptions,
) -> Result<BTreeSet<String>, WarehouseError> {
    let asked = |model: &Model| options.full_refresh.contains(&model.name);
    let models = || warehouse.models().iter().filter(|model| model.is_stored());
    let changed: Vec<String> = models()
        .filter(|model| model.kind != ModelKind::Table && !asked(model))
        .filter(|model| state.tables.get(&model.name).is_some_and(|table| table.head.model != model.fingerprint()))
        .map(|model| model.name.clone())
        .collect();
    if !changed.is_empty() {
        return Err(WarehouseError::Changed { models: changed });
    }
    if state.ledger_seq == 0 {
        // The first load builds all of them.
        return Ok(BTreeSet::new());
    }
    let new =
        |model: &&Model| asked(model) || (model.kind != ModelKind::Table && !state.tables.contains_key(&model.name));
    Ok(models().filter(new).map(|model| model.name.clone()).collect())
}

/// The names of tables that wait for the next load that catches up: new ones, and those whose query changed. When
/// nothing is published they need not wait.
pub(super) fn pending_tables(warehouse: &Warehouse, state: &WarehouseState) -> BTreeSet<String> {
    let made =
        |model: &Model| state.tables.get(&model.name).is_some_and(|table| table.head.model == model.fingerprint());
    let tables = warehouse.models().iter().filter(|model| model.kind == ModelKind::Table && !made(model));
    if state.ledger_seq == 0 { BTreeSet::new() } else { tables.map(|model| model.name.clone()).collect() }
}

/// Builds the tables of `names` from all windows that the other tables hold, and rebuilds those that depend on them.
pub(super) async fn refresh(
    warehouse: &Warehouse,
    state: &mut WarehouseState,
    names: BTreeSet<String>,
    started_at_us: i64,
) -> Result<Load, WarehouseError> {
    let models = warehouse.models();
    let mut staged = StagedTables::new(warehouse, state);
    names.iter().for_each(|name| staged.drop_rows(name));
    let wanted = with_dependent_tables(warehouse, names);
    let of_windows = |model: &Model| wanted.contains(&model.name) && model.kind != ModelKind::Table;
    let all: Vec<Extent> = if models.iter().any(of_windows) {
        let extents = as_of(&warehouse.snapshot().await?.catalog, state.ledger_seq);
        extents.into_iter().filter(|extent| extent.current).collect()
    } else {
        Vec::new()
    };
    let RefreshResult { tests, windows, rows_in } = match run_steps(&mut staged, &wanted, all, state.ledger_seq).await {
        Ok(made) => made,
        Err(error) => {
            staged.discard().await;
            return Err(error);
        }
    };
    let run = LoadRun {
        load: state.load + 1,
        to_seq: state.ledger_seq,
        windows,
        rows_in,
        rows_out: staged.rows_out,
        tests_passed: tests.len() as u64,
        ..LoadRun::embedded(started_at_us, warehouse.inner().lake.now_us(), 0)
    };
    let seq = state.ledger_seq;
    commit_load(warehouse, state, staged, &WindowSet::default(), seq, run.clone()).await?;
    // What came since is loaded by the next step.
    Ok(Load { run, tests, more: true })
}

/// What a refresh read and tested.
struct RefreshResult {
    tests: Vec<TestResult>,
    windows: u64,
    rows_in: u64,
}

/// Computes and tests `wanted` over `all`, step by step.
async fn run_steps(
    staged: &mut StagedTables<'_>,
    wanted: &BTreeSet<String>,
    all: Vec<Extent>,
    seq: u64,
) -> Result<RefreshResult, WarehouseError> {
    let warehouse = staged.warehouse;
    let mut made = RefreshResult { tests: Vec::new(), windows: 0, rows_in: 0 };
    let steps = steps(all, warehouse.limits().load_rows);
    let last = steps.len().saturating_sub(1);
    let mut lake = LakeAsOf::as_of(seq);
    for (at, extents) in steps.into_iter().enumerate() {
        let rows = rows_of(warehouse, extents).await?;
        let step = LoadStep { rows: &rows, wanted: Some(wanted), caught_up: at == last };
        made.tests = compute_and_check(staged, &step, &mut lake).await?;
        made.windows += rows.windows.len() as u64;
        made.rows_in += rows.count();
    }
    Ok(made)
}

/// `names` with the tables that are computed from them.
fn with_dependent_tables(warehouse: &Warehouse, mut names: BTreeSet<String>) -> BTreeSet<String> {
    let models = warehouse.models();
    // In their order, so that a table over a table is included.
    for model in models.iter().filter(|model| model.kind == ModelKind::Table) {
        if models.depends_on(model, &names) {
            names.insert(model.name.clone());
        }
    }
    names
}

/// Runs of windows with about `most` rows each.
fn steps(extents: Vec<Extent>, most: u64) -> Vec<Vec<Extent>> {
    let mut steps: Vec<Vec<Extent>> = vec![Vec::new()];
    let mut rows = 0;
    for extent in extents {
        if rows > 0 && rows + extent.rows > most {
            steps.push(Vec::new());
            rows = 0;
        }
        rows += extent.rows;
        steps.last_mut().expect("there is always one").push(extent);
    }
    steps
}

async fn rows_of(warehouse: &Warehouse, extents: Vec<Extent>) -> Result<WindowRows, WarehouseError> {
    let windows = WindowSet::new(extents.iter().map(|extent| extent.start_us));
    let found = read(warehouse, extents).await?.into_iter();
    let rows = found.map(|(extent, rows)| rows.ok_or_else(|| missing(&extent)).map(|rows| (extent, rows)));
    Ok(WindowRows { windows, rows: rows.collect::<Result<_, _>>()? })
}
