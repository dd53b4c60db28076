//! The models' tests, over what a load made.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;

use super::changed::WindowRows;
use super::compute::{ComputedRows, failed, scoped_session};
use crate::model::{Check, Model, ModelKind, TestResult};
use crate::session::PUBLIC;
use crate::{Warehouse, WarehouseError};

/// Runs the tests of `models` over the rows that this load made: of incremental models its windows' rows, of others all.
///
/// # Errors
/// `Tests` with all that failed; `Compute` when a test's query does.
pub(super) async fn check(
    warehouse: &Warehouse,
    models: &[&Model],
    rows: &WindowRows,
    computed: &ComputedRows,
) -> Result<Vec<TestResult>, WarehouseError> {
    let session = scoped_session(warehouse, rows)?;
    for (name, table) in computed.scoped.iter().chain(&computed.full) {
        session.table(PUBLIC, name, Arc::clone(table) as _)?;
    }
    // Whole tables are there once a load has caught up.
    let there = |name: &str| {
        computed.full.contains_key(name) || warehouse.models().get(name).is_none_or(|m| m.kind != ModelKind::Table)
    };
    let readable = |model: &Model| !warehouse.models().is_whole(model) || model.reads.iter().all(|name| there(name));
    for model in models.iter().filter(|model| model.kind == ModelKind::View && readable(model)) {
        session.view(PUBLIC, &model.name, &model.sql).await.map_err(|e| failed(model, e))?;
    }
    let there = |model: &&&Model| {
        (model.kind == ModelKind::View && readable(model))
            || computed.scoped.contains_key(&model.name)
            || computed.full.contains_key(&model.name)
    };
    let mut results = Vec::new();
    for model in models.iter().filter(there) {
        results.extend(run(model, session.session(), &warehouse.source().table).await?);
    }
    let failed: Vec<String> = results.iter().filter(|result| !result.passed()).map(line).collect();
    if failed.is_empty() { Ok(results) } else { Err(WarehouseError::Tests { failed }) }
}

/// Runs the tests of one model over the tables of `session`.
pub(crate) async fn run(
    model: &Model,
    session: &SessionContext,
    external: &str,
) -> Result<Vec<TestResult>, WarehouseError> {
    let mut results = Vec::new();
    for check in &model.checks {
        let fail = |e| failed(model, e);
        let rows = session.sql(&check.sql(model, external)).await.map_err(fail)?.collect().await.map_err(fail)?;
        results.push(result(model, check, &rows[0]).map_err(|e| failed(model, e.into()))?);
    }
    Ok(results)
}

fn result(
    model: &Model,
    check: &Check,
    row: &arrow::record_batch::RecordBatch,
) -> Result<TestResult, arrow::error::ArrowError> {
    let failures = arrow::compute::cast(row.column(0), &arrow::datatypes::DataType::Int64)?;
    let example = arrow::compute::cast(row.column(1), &arrow::datatypes::DataType::Utf8)?;
    let example = example.as_string::<i32>().iter().next().flatten().map(str::to_owned);
    let failures = failures.as_primitive::<Int64Type>().value(0) as u64;
    Ok(TestResult { model: model.name.clone(), check: check.text(), failures, example })
}

pub(crate) fn line(result: &TestResult) -> String {
    let example = result.example.as_ref().map(|example| format!(", such as {example}")).unwrap_or_default();
    let rows = if result.failures == 1 { "row" } else { "rows" };
    format!("{} {}: {} {rows}{example}", result.model, result.check, result.failures)
}

impl Warehouse {
    /// Runs the models' tests over their whole tables, as they are now.
    ///
    /// # Errors
    /// `Compute` when a test's query fails, and as [`Warehouse::session`]. A test that does not hold is no error.
    pub async fn test(&self) -> Result<Vec<TestResult>, WarehouseError> {
        let session = self.session().await?;
        let known = Self::table_names(&session);
        let mut results = Vec::new();
        for model in self.models().iter().filter(|model| known.contains(&model.name)) {
            results.extend(run(model, &session, &self.source().table).await?);
        }
        Ok(results)
    }
}
