//! `load_runs`: what was loaded when, and how it ended.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::FutureExt;

use super::Computed;
use crate::store::{Run, RunState, Snapshot};

/// The newest loads and deliveries, oldest first.
pub(crate) fn runs(state: &Snapshot) -> Computed {
    let schema = schema();
    let state = state.clone();
    let compute = move || {
        let rows = batch(&state.runs.iter().cloned().collect::<Vec<_>>());
        async move { Ok(vec![rows]) }.boxed()
    };
    Computed::new(schema, Arc::new(compute))
}

pub(super) fn schema() -> SchemaRef {
    batch(&[]).schema()
}

fn batch(runs: &[Run]) -> RecordBatch {
    let text = |of: fn(&Run) -> &str| Arc::new(StringViewArray::from_iter_values(runs.iter().map(of))) as ArrayRef;
    let number =
        |of: fn(&Run) -> u64| Arc::new(Int64Array::from_iter_values(runs.iter().map(|r| of(r) as i64))) as ArrayRef;
    let instant = |of: fn(&Run) -> i64| {
        Arc::new(TimestampMicrosecondArray::from_iter_values(runs.iter().map(of)).with_timezone("UTC")) as ArrayRef
    };
    let state = |run: &Run| match run.state {
        RunState::Succeeded => "succeeded",
        RunState::Failed => "failed",
    };
    let errors: StringViewArray = runs.iter().map(|run| run.error.as_deref()).collect();
    let columns: [(&str, ArrayRef, bool); 13] = [
        ("load", number(|run| run.load), false),
        ("target", text(|run| &run.target), false),
        ("state", text(state), false),
        ("started_at", instant(|run| run.started_at_us), false),
        ("ended_at", instant(|run| run.ended_at_us), false),
        ("from_seq", number(|run| run.from_seq), false),
        ("to_seq", number(|run| run.to_seq), false),
        ("windows", number(|run| run.windows), false),
        ("rows_in", number(|run| run.rows_in), false),
        ("rows_out", number(|run| run.rows_out), false),
        ("tests_passed", number(|run| run.tests_passed), false),
        ("tests_failed", number(|run| run.tests_failed), false),
        ("error", Arc::new(errors), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length")
}
