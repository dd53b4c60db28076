//! `load_runs`: what was loaded when, and how it ended.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::FutureExt;

use super::computed::ComputedTable;
use super::record_column::ColumnValue::{Instant, Number, Text};
use super::record_column::{RecordColumn, batch_of, schema_of};
use crate::store::{LoadRun, LoadRunState, WarehouseState};

const COLUMNS: [RecordColumn<LoadRun>; 13] = [
    RecordColumn::new("load", Number(|run| count(run.load))),
    RecordColumn::new("target", Text(|run| Some(Cow::from(&run.target)))),
    RecordColumn::new("state", Text(|run| Some(Cow::from(state_word(run.state))))),
    RecordColumn::new("started_at", Instant(|run| Some(run.started_at_us))),
    RecordColumn::new("ended_at", Instant(|run| Some(run.ended_at_us))),
    RecordColumn::new("from_seq", Number(|run| count(run.from_seq))),
    RecordColumn::new("to_seq", Number(|run| count(run.to_seq))),
    RecordColumn::new("windows", Number(|run| count(run.windows))),
    RecordColumn::new("rows_in", Number(|run| count(run.rows_in))),
    RecordColumn::new("rows_out", Number(|run| count(run.rows_out))),
    RecordColumn::new("tests_passed", Number(|run| count(run.tests_passed))),
    RecordColumn::new("tests_failed", Number(|run| count(run.tests_failed))),
    RecordColumn::nullable("error", Text(|run| run.error.as_deref().map(Cow::from))),
];

/// The newest loads and deliveries, oldest first.
pub(crate) fn runs(state: &Arc<WarehouseState>) -> ComputedTable {
    let state = state.clone();
    let compute = move || {
        let runs: Vec<LoadRun> = state.runs.iter().cloned().collect();
        async move { Ok(vec![batch_of(&COLUMNS, &runs)]) }.boxed()
    };
    ComputedTable::new(schema(), Arc::new(compute))
}

pub(super) fn schema() -> SchemaRef {
    schema_of(&COLUMNS)
}

fn count(number: u64) -> Option<i64> {
    Some(number as i64)
}

fn state_word(state: LoadRunState) -> &'static str {
    match state {
        LoadRunState::Succeeded => "succeeded",
        LoadRunState::Failed => "failed",
    }
}
