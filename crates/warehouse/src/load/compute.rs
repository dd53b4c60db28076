//! Models over the rows of some windows: the new rows of each table.

use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::prelude::{DataFrame, SessionContext, ident};
use turnstile_values::human;

use super::model_tables::{LakeAsOf, LoadStep, mem_table, register_as_is, whole_session, window_session};
use super::staged_tables::StagedTables;
use super::table_files::window_starts;
use super::table_head::{table_head, to_storage};
use crate::error::WarehouseError;
use crate::model::{Model, ModelKind};
use crate::session::{PUBLIC, SessionBuilder};
use crate::store::{TableHead, WindowSet};

/// Computes the models that `step` wants, in order, and puts their rows into `staged`. Returns the session of the
/// windows, with what the models made of them: for the checks.
pub(super) async fn compute(
    staged: &mut StagedTables<'_>,
    step: &LoadStep<'_>,
    lake: &mut LakeAsOf,
) -> Result<SessionBuilder, WarehouseError> {
    let warehouse = staged.warehouse;
    let models = warehouse.models();
    let needed = step.wanted.map(|wanted| models.needed_by(wanted)).unwrap_or_default();
    let session = window_session(warehouse, step.rows)?;
    for model in models.iter().filter(|model| !models.is_query_only(model)) {
        let fail = |source: DataFusionError| WarehouseError::compute(&model.name, source);
        let wanted = step.wants(model);
        if !wanted && !needed.contains(&model.name) {
            continue;
        }
        match model.kind {
            // Over whole tables it is nothing that models of windows can read.
            ModelKind::View if models.is_whole(model) => {}
            ModelKind::View => session.view(PUBLIC, &model.name, &model.sql).await.map_err(fail)?,
            _ if !wanted => register_as_is(staged, &session, model, step.rows).await?,
            ModelKind::Incremental => {
                let (head, batches) = run_query(model, session.session()).await?;
                check_windows(model, &batches, &step.rows.windows)?;
                staged.replace_windows(model, &head, &step.rows.windows, &batches).await?;
                session.table(PUBLIC, &model.name, mem_table(&head, batches)?).map_err(fail)?;
            }
            ModelKind::Dimension => {
                let (head, batches) = run_query(model, session.session()).await?;
                let all = staged.upsert(model, &head, batches).await?;
                session.table(PUBLIC, &model.name, mem_table(&head, all)?).map_err(fail)?;
            }
            ModelKind::Table if step.caught_up => {
                let whole = whole_session(staged, lake).await?;
                let (head, batches) = run_query(model, whole.session()).await?;
                staged.replace_all(model, &head, &batches).await?;
            }
            ModelKind::Table => {}
        }
    }
    Ok(session)
}

/// Runs a model's query. Rows are sorted, so that the same rows make the same file.
async fn run_query(model: &Model, session: &SessionContext) -> Result<(TableHead, Vec<RecordBatch>), WarehouseError> {
    let fail = |source: DataFusionError| WarehouseError::compute(&model.name, source);
    let plan = crate::session::plan(session, &model.sql).await.map_err(fail)?;
    let frame = DataFrame::new(session.state(), plan);
    let head = table_head(model, frame.schema().as_arrow())?;
    let order = model.window.iter().chain(&model.key).map(|name| ident(name).sort(true, true)).collect::<Vec<_>>();
    let frame = if order.is_empty() { frame } else { frame.sort(order).map_err(fail)? };
    let batches = frame.collect().await.map_err(fail)?;
    let schema = head.schema()?;
    let batches: Result<Vec<RecordBatch>, DataFusionError> =
        batches.iter().map(|batch| to_storage(model, batch, &schema)).collect();
    Ok((head, batches.map_err(fail)?))
}

/// Rows of other windows would be left over, or duplicated, when those windows are loaded.
fn check_windows(model: &Model, batches: &[RecordBatch], windows: &WindowSet) -> Result<(), WarehouseError> {
    let Some(window) = &model.window else { return Ok(()) };
    for batch in batches {
        let starts = window_starts(batch, window);
        if let Some(stray) = starts.iter().find(|start| start.is_none_or(|start| !windows.contains(start))) {
            let stray = stray.map_or("null".to_owned(), human::short_instant);
            let reason = format!("a row's {window} is {stray}, which is not the start of a window that is loaded");
            let hint = "an incremental model keeps window.start of the rows that it reads";
            return Err(model.fault(model.sql_line, reason, hint).into());
        }
    }
    Ok(())
}
