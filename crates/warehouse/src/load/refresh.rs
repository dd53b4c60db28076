//! Tables made anew: of models that are new, and of those that a person names.

use chrono::Utc;
use lake::Extent;

use super::changed::{WindowRows, read};
use super::work::Work;
use super::{EMBEDDED, Load, LoadOptions, check, compute, stored};
use crate::model::{Model, ModelKind};
use crate::store::{Run, RunState, State, WindowSet};
use crate::{Warehouse, WarehouseError};

/// The names of models whose tables are to be made from all that is in the lake.
///
/// # Errors
/// `Changed`: models whose table another query made.
pub(super) fn wanted(
    warehouse: &Warehouse,
    state: &State,
    options: &LoadOptions,
) -> Result<Vec<String>, WarehouseError> {
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
        return Ok(Vec::new());
    }
    let new = |model: &&Model| asked(model) || !state.tables.contains_key(&model.name);
    Ok(models().filter(new).map(|model| model.name.clone()).collect())
}

/// Makes the tables of `names` of all windows that the other tables hold.
pub(super) async fn refresh(
    warehouse: &Warehouse,
    state: &mut State,
    names: &[String],
    started_at_us: i64,
) -> Result<Load, WarehouseError> {
    let catalog = warehouse.moment().await?.catalog;
    let mut work = Work::new(warehouse, state);
    names.iter().for_each(|name| work.forget(name));
    // Views that they read are needed, and cost nothing.
    let models: Vec<&Model> =
        warehouse.models().iter().filter(|model| !stored(model) || names.contains(&model.name)).collect();
    let all: Vec<Extent> = catalog.current(..).into_iter().filter(|extent| extent.seq <= state.ledger_seq).collect();
    let (mut tests, mut windows, mut rows_in) = (Vec::new(), 0, 0);
    let steps = steps(all, warehouse.limits().load_rows);
    let last = steps.len().saturating_sub(1);
    for (at, extents) in steps.into_iter().enumerate() {
        let rows = rows_of(warehouse, extents).await?;
        let computed = compute::compute(&mut work, &models, &rows, at == last).await?;
        tests = check::check(warehouse, &models, &rows, &computed).await?;
        windows += rows.windows.len() as u64;
        rows_in += rows.count();
    }
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
    let rows =
        found.map(|(extent, rows)| rows.ok_or_else(|| super::changed::missing(&extent)).map(|rows| (extent, rows)));
    Ok(WindowRows { windows, rows: rows.collect::<Result<_, _>>()? })
}
