//! The tables that models and their tests read during a load.
//!
//! There are two sessions. In the window session the external table, incremental models and views over them have only
//! the rows of the windows being loaded, and dimensions are complete: computing and testing there costs the same
//! however old the warehouse is. In the full session every table is as it will be after the load.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::MemTable;
use datafusion::error::DataFusionError;
use turnstile_lake::Extent;

use super::changed_windows::WindowRows;
use super::staged_tables::StagedTables;
use crate::error::WarehouseError;
use crate::model::{Model, ModelKind};
use crate::session::{PUBLIC, SessionBuilder};
use crate::store::TableHead;
use crate::tables::{HistoryTable, LakeTable, ModelTable, as_of, history_of};
use crate::warehouse::Warehouse;

/// What one step of a load is about.
pub(super) struct LoadStep<'a> {
    /// The windows that it loads.
    pub(super) rows: &'a WindowRows,
    /// The models that it computes; `None`: all.
    pub(super) wanted: Option<&'a BTreeSet<String>>,
    /// Whether nothing is left after it: tables that each load recomputes are left to that step.
    pub(super) caught_up: bool,
}

impl LoadStep<'_> {
    pub(super) fn wants(&self, model: &Model) -> bool {
        self.wanted.is_none_or(|wanted| wanted.contains(&model.name))
    }
}

/// The lake's tables with the rows of the windows alone.
pub(super) fn window_session(warehouse: &Warehouse, rows: &WindowRows) -> Result<SessionBuilder, WarehouseError> {
    let inner = warehouse.inner();
    let builder = SessionBuilder::new(&inner.runtime)?;
    let batches: Vec<RecordBatch> = rows.rows.iter().flat_map(|(_, batches)| batches.iter().cloned()).collect();
    let external = MemTable::try_new(inner.source.columns.clone(), vec![batches])?;
    builder.table(PUBLIC, &inner.source.table, Arc::new(external))?;
    let (schema, batches) = history_of(&inner.source, &rows.rows).map_err(DataFusionError::from)?;
    let history = MemTable::try_new(schema, vec![batches])?;
    builder.table(PUBLIC, &format!("{}_history", inner.source.table), Arc::new(history))?;
    Ok(builder)
}

/// Puts the table of a model that is not computed now into the session of the windows, as an earlier load left it.
pub(super) async fn register_as_is(
    staged: &StagedTables<'_>,
    builder: &SessionBuilder,
    model: &Model,
    rows: &WindowRows,
) -> Result<(), WarehouseError> {
    let Some(table) = staged.table(&model.name) else { return Ok(()) };
    match model.kind {
        ModelKind::Incremental => {
            let batches = staged.rows_of(model, &rows.windows).await?;
            builder.table(PUBLIC, &model.name, mem_table(&table.head, batches)?)?;
        }
        ModelKind::Dimension => builder.table(PUBLIC, &model.name, Arc::new(ModelTable::new(table)?))?,
        ModelKind::Table | ModelKind::View => {}
    }
    Ok(())
}

/// The lake as of a commit, read when it is first needed.
pub(super) struct LakeAsOf {
    seq: u64,
    extents: Option<Vec<Extent>>,
}

impl LakeAsOf {
    pub(super) fn as_of(seq: u64) -> Self {
        Self { seq, extents: None }
    }

    async fn extents(&mut self, warehouse: &Warehouse) -> Result<&[Extent], WarehouseError> {
        if self.extents.is_none() {
            self.extents = Some(as_of(&warehouse.snapshot().await?.catalog, self.seq));
        }
        Ok(self.extents.as_deref().unwrap_or_default())
    }
}

/// The lake's tables whole, and the models' as `staged` has made them so far.
pub(super) async fn whole_session(
    staged: &StagedTables<'_>,
    lake: &mut LakeAsOf,
) -> Result<SessionBuilder, WarehouseError> {
    let inner = staged.warehouse.inner();
    let builder = SessionBuilder::new(&inner.runtime)?;
    let extents = lake.extents(staged.warehouse).await?;
    builder.table(PUBLIC, &inner.source.table, Arc::new(LakeTable::of(&inner.lake, &inner.source, extents)))?;
    let all = extents.to_vec();
    let history = HistoryTable::of(&inner.lake, &inner.source, move || all);
    builder.table(PUBLIC, &format!("{}_history", inner.source.table), Arc::new(history))?;
    let mut there: Vec<&str> = Vec::new();
    for model in inner.models.iter().filter(|model| !inner.models.is_query_only(model)) {
        match staged.table(&model.name) {
            Some(table) if model.is_stored() => {
                builder.table(PUBLIC, &model.name, Arc::new(ModelTable::new(table)?))?
            }
            // A view over a later table does not exist yet.
            None if !model.is_stored()
                && model
                    .reads
                    .iter()
                    .all(|name| inner.models.get(name).is_none() || there.contains(&name.as_str())) =>
            {
                builder
                    .view(PUBLIC, &model.name, &model.sql)
                    .await
                    .map_err(|e| WarehouseError::compute(&model.name, e))?;
            }
            _ => continue,
        }
        there.push(&model.name);
    }
    Ok(builder)
}

/// A table of `batches` in memory.
pub(super) fn mem_table(head: &TableHead, batches: Vec<RecordBatch>) -> Result<Arc<MemTable>, WarehouseError> {
    // Within a session a key is as nullable as anything: it was checked when the rows were made.
    let fields = head.schema()?.fields().iter().map(|f| Field::clone(f).with_nullable(true)).collect::<Vec<_>>();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let batches: Result<Vec<_>, _> = batches.into_iter().map(|batch| batch.with_schema(schema.clone())).collect();
    let batches = batches.map_err(DataFusionError::from)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![batches])?))
}
