//! The models' tests, over the rows that a load computed.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;

use super::compute::compute;
use super::model_tables::{LakeAsOf, LoadStep, whole_session};
use super::staged_tables::StagedTables;
use crate::error::WarehouseError;
use crate::model::{Check, Model, ModelKind, Models, TestResult};
use crate::replaced::{SNAPSHOTS_TRIED, is_replaced};
use crate::session::{PUBLIC, SessionBuilder};
use crate::tables::deleted_windows;
use crate::warehouse::Warehouse;

/// The name of a model's rows of the windows, beside its table with all of them. No model can have it.
const LOADED: &str = "loaded rows";

/// Which tables a check needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CheckScope {
    /// Rows of the windows, and dimensions.
    Windows,
    /// Rows of the windows against another table that may well have theirs from earlier loads.
    Across,
    /// Whole tables.
    Whole,
}

/// Computes what `step` wants into `staged`, and tests it.
pub(super) async fn compute_and_check(
    staged: &mut StagedTables<'_>,
    step: &LoadStep<'_>,
    lake: &mut LakeAsOf,
) -> Result<Vec<TestResult>, WarehouseError> {
    let computed = compute(staged, step, lake).await?;
    check(staged, step, &computed, lake).await
}

/// Runs the tests of the models that `step` computed: of incremental models over its windows' rows, of others over all.
/// Those that need a table which this step leaves to a later one are left to that, too.
///
/// # Errors
/// `Tests` with all that failed; `Compute` when a test's query does.
async fn check(
    staged: &StagedTables<'_>,
    step: &LoadStep<'_>,
    computed: &SessionBuilder,
    lake: &mut LakeAsOf,
) -> Result<Vec<TestResult>, WarehouseError> {
    let models = staged.warehouse.models();
    let external = &staged.warehouse.source().table;
    let mut all: Option<SessionBuilder> = None;
    let mut results = Vec::new();
    for model in models.iter().filter(|model| step.wants(model) && !models.is_query_only(model)) {
        for check in &model.checks {
            let later = |name: &str| models.get(name).is_some_and(|model| models.is_whole(model));
            let waits = later(&model.name) || check.refers_to().is_some_and(|name| later(name));
            if waits && !step.caught_up {
                continue;
            }
            let scope = scope(models, model, check);
            let fail = |e| WarehouseError::compute(&model.name, e);
            let there = check.refers_to().is_none_or(|name| !later(name));
            if scope != CheckScope::Whole && there {
                let near = run_check(model, check, computed.session(), &check.sql(model, external)).await?;
                if scope == CheckScope::Windows || near.passed() {
                    results.push(near);
                    continue;
                }
            }
            if all.is_none() {
                all = Some(whole_session(staged, lake).await?);
            }
            let Some(builder) = &all else { continue };
            let name = if scope == CheckScope::Whole {
                model.name.as_str()
            } else {
                let rows = computed.provider(&model.name).await.map_err(fail)?;
                builder.replace(PUBLIC, LOADED, rows).map_err(fail)?;
                LOADED
            };
            results.push(run_check(model, check, builder.session(), &check.sql_over(model, name, external)).await?);
        }
    }
    let failed: Vec<String> = results.iter().filter(|result| !result.passed()).map(describe_result).collect();
    if failed.is_empty() { Ok(results) } else { Err(WarehouseError::Tests { failed }) }
}

fn scope(models: &Models, model: &Model, check: &Check) -> CheckScope {
    if models.is_whole(model) {
        return CheckScope::Whole;
    }
    let Some(other) = check.refers_to() else { return CheckScope::Windows };
    let of_windows = models.is_of_windows(&model.name);
    match models.get(other) {
        // What was read is in the windows' rows, whatever the lake has beside them.
        None if of_windows => CheckScope::Windows,
        Some(table) if table.kind == ModelKind::Dimension => CheckScope::Windows,
        _ if of_windows => CheckScope::Across,
        _ => CheckScope::Whole,
    }
}

async fn run_check(
    model: &Model,
    check: &Check,
    session: &SessionContext,
    sql: &str,
) -> Result<TestResult, WarehouseError> {
    let fail = |e| WarehouseError::compute(&model.name, e);
    let rows = session.sql(sql).await.map_err(fail)?.collect().await.map_err(fail)?;
    to_test_result(model, check, &rows[0]).map_err(|e| WarehouseError::compute(&model.name, e))
}

fn to_test_result(
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

fn describe_result(result: &TestResult) -> String {
    let example = result.example.as_ref().map(|example| format!(", such as {example}")).unwrap_or_default();
    let rows = if result.failures == 1 { "row" } else { "rows" };
    format!("{} {}: {} {rows}{example}", result.model, result.check, result.failures)
}

impl Warehouse {
    /// Runs the models' tests over their whole tables, and the lake as of the commit that these were loaded from.
    ///
    /// # Errors
    /// `Compute` when a test's query fails, and as [`Warehouse::session`]. A test that does not hold is no error.
    pub async fn test(&self) -> Result<Vec<TestResult>, WarehouseError> {
        let mut left = SNAPSHOTS_TRIED;
        loop {
            left -= 1;
            match self.test_once().await {
                Err(error) if left > 0 && is_replaced(&error) => {}
                done => return done,
            }
        }
    }

    async fn test_once(&self) -> Result<Vec<TestResult>, WarehouseError> {
        let (session, snapshot) = (self.session().await?, self.snapshot().await?);
        let deleted = deleted_windows(&snapshot.catalog);
        let known = Self::table_names(&session);
        let mut results = Vec::new();
        for model in self.models().iter().filter(|model| known.contains(&model.name)) {
            for check in &model.checks {
                let sql = check.sql_without(model, &self.source().table, &deleted);
                results.push(run_check(model, check, &session, &sql).await?);
            }
        }
        Ok(results)
    }
}
