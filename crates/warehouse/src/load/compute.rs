//! Models over the rows of some windows: the new rows of each table.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::MemTable;
use datafusion::error::DataFusionError;
use datafusion::prelude::{DataFrame, SessionContext, ident};
use turnstile_delivery::TableKind;
use turnstile_values::human;

use super::tables::{Lake, Step, as_it_is, of_windows, whole};
use super::work::Work;
use crate::WarehouseError;
use crate::model::{Model, ModelKind};
use crate::session::{Builder, PUBLIC};
use crate::source::exactly;
use crate::store::{Column, TableHead, WindowSet, name_of};

/// What models made of some windows' rows.
pub(super) struct ComputedRows {
    /// The tables of the windows, with what the models made of them: for the checks.
    pub(super) session: Builder,
}

/// Computes the models that `step` wants, in order, and puts their rows into `work`.
pub(super) async fn compute(
    work: &mut Work<'_>,
    step: &Step<'_>,
    lake: &mut Lake,
) -> Result<ComputedRows, WarehouseError> {
    let warehouse = work.warehouse;
    let models = warehouse.models();
    let needed = step.wanted.map(|wanted| models.needed_by(wanted)).unwrap_or_default();
    let session = of_windows(warehouse, step.rows)?;
    for model in models.iter().filter(|model| !models.is_asked_only(model)) {
        let fail = |source: DataFusionError| failed(model, source);
        let wanted = step.wants(model);
        if !wanted && !needed.contains(&model.name) {
            continue;
        }
        match model.kind {
            // Over whole tables it is nothing that models of windows can read.
            ModelKind::View if models.is_whole(model) => {}
            ModelKind::View => session.view(PUBLIC, &model.name, &model.sql).await.map_err(fail)?,
            _ if !wanted => as_it_is(work, &session, model, step.rows).await?,
            ModelKind::Incremental => {
                let (head, batches) = ask(model, session.session()).await?;
                belongs(model, &batches, &step.rows.windows)?;
                work.replace_windows(model, &head, &step.rows.windows, &batches).await?;
                session.table(PUBLIC, &model.name, mem_table(&head, batches)?).map_err(fail)?;
            }
            ModelKind::Dimension => {
                let (head, batches) = ask(model, session.session()).await?;
                let all = work.upsert(model, &head, batches).await?;
                session.table(PUBLIC, &model.name, mem_table(&head, all)?).map_err(fail)?;
            }
            ModelKind::Table if step.caught_up => {
                let whole = whole(work, lake).await?;
                let (head, batches) = ask(model, whole.session()).await?;
                work.replace_all(model, &head, &batches).await?;
            }
            ModelKind::Table => {}
        }
    }
    Ok(ComputedRows { session })
}

/// Runs a model's query. Rows come in an order of their own, so that the same rows make the same file.
async fn ask(model: &Model, session: &SessionContext) -> Result<(TableHead, Vec<RecordBatch>), WarehouseError> {
    let fail = |source: DataFusionError| failed(model, source);
    let plan = crate::session::plan(session, &model.sql).await.map_err(fail)?;
    let frame = DataFrame::new(session.state(), plan);
    let head = head(model, frame.schema().as_arrow())?;
    let order = model.window.iter().chain(&model.key).map(|name| ident(name).sort(true, true)).collect::<Vec<_>>();
    let frame = if order.is_empty() { frame } else { frame.sort(order).map_err(fail)? };
    let batches = frame.collect().await.map_err(fail)?;
    let schema = head.schema()?;
    let batches: Result<Vec<RecordBatch>, DataFusionError> =
        batches.iter().map(|batch| as_stored(model, batch, &schema)).collect();
    Ok((head, batches.map_err(fail)?))
}

/// What the table is, from what the query computes.
pub(crate) fn head(model: &Model, schema: &Schema) -> Result<TableHead, WarehouseError> {
    let fault = |reason: String, hint: &str| WarehouseError::from(model.fault(model.sql_line, reason, hint));
    let mut columns = Vec::new();
    for field in schema.fields() {
        let kind = crate::store::stored(field.data_type()).and_then(|kind| name_of(&kind)).ok_or_else(|| {
            let reason =
                format!("column {} has the type {}, which tables do not have", field.name(), field.data_type());
            fault(reason, "cast it: CAST(… AS text), bigint, double, boolean, date, timestamp")
        })?;
        columns.push(Column { name: field.name().clone(), kind });
    }
    let has = |name: &String| columns.iter().any(|column| column.name == *name);
    if let Some(missing) = model.key.iter().chain(&model.window).find(|name| !has(name)) {
        let reason = format!("the SELECT makes no column {missing}, which the header names");
        return Err(fault(reason, "give an expression that name with AS"));
    }
    if let Some(window) = &model.window
        && columns.iter().any(|column| column.name == *window && column.kind != "timestamptz")
    {
        let reason = format!("the window column {window} is not a timestamp with time zone");
        return Err(fault(reason, "let it be the external table's column that holds window.start"));
    }
    let kind = match (&model.kind, &model.window) {
        (ModelKind::Incremental, Some(window)) => TableKind::Incremental { window: window.clone() },
        (ModelKind::Dimension, _) => TableKind::Dimension,
        _ => TableKind::Table,
    };
    Ok(TableHead {
        kind,
        key: model.key.clone(),
        description: model.description.clone(),
        columns,
        model: model.fingerprint(),
    })
}

fn as_stored(model: &Model, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, DataFusionError> {
    let columns: Result<Vec<_>, _> = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if !field.is_nullable() && column.null_count() > 0 {
                let fact = format!("the key column {} of {} is null in a row", field.name(), model.name);
                return Err(DataFusionError::Execution(fact));
            }
            // A value that does not fit is no null: the load ends, and says which column it was.
            exactly(column, field.data_type()).map_err(|error| {
                DataFusionError::Execution(format!("column {} of {}: {error}", field.name(), model.name))
            })
        })
        .collect();
    Ok(RecordBatch::try_new(schema.clone(), columns?)?)
}

/// Rows of other windows would stay behind, or be doubled, when theirs are loaded.
fn belongs(model: &Model, batches: &[RecordBatch], windows: &WindowSet) -> Result<(), WarehouseError> {
    let Some(window) = &model.window else { return Ok(()) };
    for batch in batches {
        let starts = super::work::starts(batch, window);
        if let Some(stray) = starts.iter().find(|start| start.is_none_or(|start| !windows.contains(start))) {
            let stray = stray.map_or("null".to_owned(), human::short_instant);
            let reason = format!("a row's {window} is {stray}, which is not the start of a window that is loaded");
            let hint = "an incremental model keeps window.start of the rows that it reads";
            return Err(model.fault(model.sql_line, reason, hint).into());
        }
    }
    Ok(())
}

pub(super) fn mem_table(head: &TableHead, batches: Vec<RecordBatch>) -> Result<Arc<MemTable>, WarehouseError> {
    // Within a session a key is as nullable as anything: it was checked when the rows were made.
    let fields = head.schema()?.fields().iter().map(|f| Field::clone(f).with_nullable(true)).collect::<Vec<_>>();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let batches: Result<Vec<_>, _> = batches.into_iter().map(|batch| batch.with_schema(schema.clone())).collect();
    let batches = batches.map_err(DataFusionError::from)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![batches])?))
}

pub(super) fn failed(model: &Model, source: DataFusionError) -> WarehouseError {
    WarehouseError::Compute { model: model.name.clone(), source: Box::new(source) }
}
