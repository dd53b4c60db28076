//! Tables made anew: of models that are new, and of those that a person names.

use std::collections::BTreeSet;

use chrono::Utc;
use turnstile_lake::Extent;

use super::changed::{WindowRows, missing, read};
use super::tables::{Lake, Step};
use super::work::Work;
use super::{EMBEDDED, Load, LoadOptions, stored, tested};
use crate::model::{Model, ModelKind, TestResult};
use crate::store::{Run, RunState, State, WindowSet};
use crate::tables::as_of;
use crate::{Warehouse, WarehouseError};

/// The names of models whose tables are to be made from all that is in the lake. Tables that each load computes anew
/// are among them only where a person names them.
///
/// # Errors
/// `Changed`: models whose table another query made.
pub(super) fn wanted(
    warehouse: &Warehouse,
    state: &State,
    options: &LoadOptions,
) -> Result<BTreeSet<String>, WarehouseError> {
    let asked = |model: &Model| options.full_refresh.contains(&model.name);
    let models = || warehouse.models().iter().filter(|model| stored(model));
    let changed: Vec<String> = models()
        .filter(|model| model.kind != ModelKind::Table && !asked(model))
        .filter(|model| state.tables.get(&model.name).is_some_and(|table| table.head.model != model.fingerprint()))
        .map(|model| model.name.clone())
        .collect();
    if !changed.is_empty() {
        return Err(WarehouseError::Changed { models: changed });
    }
    if state.ledger_seq == 0 {
        // The first load makes all of them.
        return Ok(BTreeSet::new());
    }
    let new =
        |model: &&Model| asked(model) || (model.kind != ModelKind::Table && !state.tables.contains_key(&model.name));
    Ok(models().filter(new).map(|model| model.name.clone()).collect())
}

/// The names of tables that the next load which catches up would make, and that wait for it: new ones, and those whose
/// query is another. When nothing is published they need not wait.
pub(super) fn waiting(warehouse: &Warehouse, state: &State) -> BTreeSet<String> {
    let made =
        |model: &Model| state.tables.get(&model.name).is_some_and(|table| table.head.model == model.fingerprint());
    let tables = warehouse.models().iter().filter(|model| model.kind == ModelKind::Table && !made(model));
    if state.ledger_seq == 0 { BTreeSet::new() } else { tables.map(|model| model.name.clone()).collect() }
}

/// Makes the tables of `names` of all windows that the other tables hold, and anew those that each load makes of them.
pub(super) async fn refresh(
    warehouse: &Warehouse,
    state: &mut State,
    names: BTreeSet<String>,
    started_at_us: i64,
) -> Result<Load, WarehouseError> {
    let models = warehouse.models();
    let mut work = Work::new(warehouse, state);
    names.iter().for_each(|name| work.forget(name));
    let wanted = with_made_of(warehouse, names);
    let of_windows = |model: &Model| wanted.contains(&model.name) && model.kind != ModelKind::Table;
    let all: Vec<Extent> = if models.iter().any(of_windows) {
        let extents = as_of(&warehouse.moment().await?.catalog, state.ledger_seq);
        extents.into_iter().filter(|extent| extent.current).collect()
    } else {
        Vec::new()
    };
    let Made { tests, windows, rows_in } = match steps_made(&mut work, &wanted, all, state.ledger_seq).await {
        Ok(made) => made,
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
        from_seq: 0,
        to_seq: state.ledger_seq,
        windows,
        rows_in,
        rows_out: work.rows_out,
        tests_passed: tests.len() as u64,
        tests_failed: 0,
        error: None,
    };
    let seq = state.ledger_seq;
    warehouse.finish(state, work, &WindowSet::default(), seq, run.clone()).await?;
    // What came since is loaded by the next step.
    Ok(Load { run, tests, more: true })
}

/// What a refresh took.
struct Made {
    tests: Vec<TestResult>,
    windows: u64,
    rows_in: u64,
}

/// Computes and tests `wanted` over `all`, step by step.
async fn steps_made(
    work: &mut Work<'_>,
    wanted: &BTreeSet<String>,
    all: Vec<Extent>,
    seq: u64,
) -> Result<Made, WarehouseError> {
    let warehouse = work.warehouse;
    let mut made = Made { tests: Vec::new(), windows: 0, rows_in: 0 };
    let steps = steps(all, warehouse.limits().load_rows);
    let last = steps.len().saturating_sub(1);
    let mut lake = Lake::as_of(seq);
    for (at, extents) in steps.into_iter().enumerate() {
        let rows = rows_of(warehouse, extents).await?;
        let step = Step { rows: &rows, wanted: Some(wanted), caught_up: at == last };
        made.tests = tested(work, &step, &mut lake).await?;
        made.windows += rows.windows.len() as u64;
        made.rows_in += rows.count();
    }
    Ok(made)
}

/// `names` with the tables that are computed of them.
fn with_made_of(warehouse: &Warehouse, mut names: BTreeSet<String>) -> BTreeSet<String> {
    let models = warehouse.models();
    // In their order, so that a table over a table comes along.
    for model in models.iter().filter(|model| model.kind == ModelKind::Table) {
        if models.is_made_of(model, &names) {
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
