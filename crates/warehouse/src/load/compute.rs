//! Models over the rows of some windows: the new rows of each table.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::MemTable;
use datafusion::error::DataFusionError;
use datafusion::prelude::{DataFrame, SessionContext, ident};
use delivery::Kind;

use super::changed::WindowRows;
use super::stored;
use super::work::Work;
use crate::model::{Model, ModelKind};
use crate::session::{Builder, PUBLIC};
use crate::store::{Column, TableHead, WindowSet, name_of};
use crate::tables::{External, ModelTable, history_of};
use crate::{Warehouse, WarehouseError};

/// What models made of some windows' rows: one batch list a table, for the checks.
pub(super) struct ComputedRows {
    /// The rows of incremental models that belong to the windows.
    pub(super) scoped: BTreeMap<String, SharedRows>,
    /// All rows of the other tables.
    pub(super) full: BTreeMap<String, SharedRows>,
}

/// Rows that are shared between sessions.
pub(super) type SharedRows = Arc<MemTable>;

/// Computes `models`, in order, over `rows`, and puts their rows into `work`. Tables that each load computes anew are
/// left out unless `caught_up`: a later step computes them once.
pub(super) async fn compute(
    work: &mut Work<'_>,
    models: &[&Model],
    rows: &WindowRows,
    caught_up: bool,
) -> Result<ComputedRows, WarehouseError> {
    let warehouse = work.warehouse;
    let scoped = scoped_session(warehouse, rows)?;
    let mut computed = ComputedRows { scoped: BTreeMap::new(), full: BTreeMap::new() };
    for model in models {
        let fail = |source: DataFusionError| failed(model, source);
        match model.kind {
            // Over whole tables it is nothing that models in scope can read.
            ModelKind::View if warehouse.models().is_whole(model) => {}
            ModelKind::View => scoped.view(PUBLIC, &model.name, &model.sql).await.map_err(fail)?,
            ModelKind::Incremental => {
                let (head, batches) = ask(model, scoped.session()).await?;
                belongs(model, &batches, &rows.windows)?;
                work.replace_windows(model, &head, &rows.windows, &batches).await?;
                let table = mem_table(&head, batches)?;
                scoped.table(PUBLIC, &model.name, table.clone()).map_err(fail)?;
                computed.scoped.insert(model.name.clone(), table);
            }
            ModelKind::Dimension => {
                let (head, batches) = ask(model, scoped.session()).await?;
                let all = work.upsert(model, &head, batches).await?;
                let table = mem_table(&head, all)?;
                scoped.table(PUBLIC, &model.name, table.clone()).map_err(fail)?;
                computed.full.insert(model.name.clone(), table);
            }
            ModelKind::Table if caught_up => {
                let full = full_session(work, models).await?;
                let (head, batches) = ask(model, full.session()).await?;
                work.replace_all(model, &head, &batches).await?;
                computed.full.insert(model.name.clone(), mem_table(&head, batches)?);
            }
            ModelKind::Table => {}
        }
    }
    Ok(computed)
}

/// The lake's tables with the rows of the windows alone.
pub(super) fn scoped_session(warehouse: &Warehouse, rows: &WindowRows) -> Result<Builder, WarehouseError> {
    let inner = warehouse.inner();
    let builder = Builder::new(&inner.runtime)?;
    let batches: Vec<RecordBatch> = rows.rows.iter().flat_map(|(_, batches)| batches.iter().cloned()).collect();
    let external = MemTable::try_new(inner.source.columns.clone(), vec![batches])?;
    builder.table(PUBLIC, &inner.source.table, Arc::new(external))?;
    let (schema, batches) = history_of(&inner.source, &rows.rows).map_err(DataFusionError::from)?;
    let history = MemTable::try_new(schema, vec![batches])?;
    builder.table(PUBLIC, &format!("{}_history", inner.source.table), Arc::new(history))?;
    Ok(builder)
}

/// The lake's tables whole, and the models' as `work` has made them so far.
async fn full_session(work: &Work<'_>, models: &[&Model]) -> Result<Builder, WarehouseError> {
    let inner = work.warehouse.inner();
    let moment = work.warehouse.moment().await?;
    let builder = Builder::new(&inner.runtime)?;
    let external = External::new(&inner.lake, &inner.source, &moment.catalog);
    builder.table(PUBLIC, &inner.source.table, Arc::new(external))?;
    let mut there: Vec<&str> = Vec::new();
    for model in models {
        let readable = model.reads.iter().all(|name| {
            let is_model = warehouse_model(work, name);
            !is_model || there.contains(&name.as_str())
        });
        match work.table(&model.name) {
            Some(table) if stored(model) => builder.table(PUBLIC, &model.name, Arc::new(ModelTable::new(table)?))?,
            None if !stored(model) && readable => {
                builder.view(PUBLIC, &model.name, &model.sql).await.map_err(|e| failed(model, e))?;
            }
            // It comes after the table that is being computed.
            _ => continue,
        }
        there.push(&model.name);
    }
    Ok(builder)
}

fn warehouse_model(work: &Work<'_>, name: &str) -> bool {
    work.warehouse.models().get(name).is_some()
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
fn head(model: &Model, schema: &Schema) -> Result<TableHead, WarehouseError> {
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
        (ModelKind::Incremental, Some(window)) => Kind::Incremental { window: window.clone() },
        (ModelKind::Dimension, _) => Kind::Dimension,
        _ => Kind::Table,
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
            Ok(arrow::compute::cast(column, field.data_type())?)
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
            let stray = stray.map_or("null".to_owned(), lake::readable_instant);
            let reason = format!("a row's {window} is {stray}, which is not the start of a window that is loaded");
            let hint = "an incremental model keeps window.start of the rows that it reads";
            return Err(model.fault(model.sql_line, reason, hint).into());
        }
    }
    Ok(())
}

fn mem_table(head: &TableHead, batches: Vec<RecordBatch>) -> Result<Arc<MemTable>, WarehouseError> {
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
