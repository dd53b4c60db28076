//! The tables that models and their tests read while a load makes them.
//!
//! Two sessions. In that of the windows the external table, incremental models and views over them have the rows of the
//! windows that are being loaded, and dimensions are whole: what is computed and tested there costs the same however
//! old the warehouse is. In the whole one every table is as it will be after the load.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::catalog::MemTable;
use datafusion::error::DataFusionError;
use turnstile_lake::Extent;

use super::changed::WindowRows;
use super::compute::{failed, mem_table};
use super::stored;
use super::work::Work;
use crate::model::{Model, ModelKind};
use crate::session::{Builder, PUBLIC};
use crate::tables::{External, History, ModelTable, as_of, history_of};
use crate::{Warehouse, WarehouseError};

/// What one step of a load is about.
pub(super) struct Step<'a> {
    /// The windows that it loads.
    pub(super) rows: &'a WindowRows,
    /// The models that it computes; `None`: all.
    pub(super) wanted: Option<&'a BTreeSet<String>>,
    /// Whether nothing is left after it: tables that each load computes anew are left to that step.
    pub(super) caught_up: bool,
}

impl Step<'_> {
    pub(super) fn wants(&self, model: &Model) -> bool {
        self.wanted.is_none_or(|wanted| wanted.contains(&model.name))
    }
}

/// The lake's tables with the rows of the windows alone.
pub(super) fn of_windows(warehouse: &Warehouse, rows: &WindowRows) -> Result<Builder, WarehouseError> {
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

/// Puts the table of a model that is not computed now into the session of the windows, as an earlier load left it.
pub(super) async fn as_it_is(
    work: &Work<'_>,
    builder: &Builder,
    model: &Model,
    rows: &WindowRows,
) -> Result<(), WarehouseError> {
    let Some(table) = work.table(&model.name) else { return Ok(()) };
    match model.kind {
        ModelKind::Incremental => {
            let batches = work.rows_of(model, &rows.windows).await?;
            builder.table(PUBLIC, &model.name, mem_table(&table.head, batches)?)?;
        }
        ModelKind::Dimension => builder.table(PUBLIC, &model.name, Arc::new(ModelTable::new(table)?))?,
        ModelKind::Table | ModelKind::View => {}
    }
    Ok(())
}

/// The lake as of a commit, found when it is first asked for.
pub(super) struct Lake {
    seq: u64,
    extents: Option<Vec<Extent>>,
}

impl Lake {
    pub(super) fn as_of(seq: u64) -> Self {
        Self { seq, extents: None }
    }

    async fn extents(&mut self, warehouse: &Warehouse) -> Result<&[Extent], WarehouseError> {
        if self.extents.is_none() {
            self.extents = Some(as_of(&warehouse.moment().await?.catalog, self.seq));
        }
        Ok(self.extents.as_deref().unwrap_or_default())
    }
}

/// The lake's tables whole, and the models' as `work` has made them so far.
pub(super) async fn whole(work: &Work<'_>, lake: &mut Lake) -> Result<Builder, WarehouseError> {
    let inner = work.warehouse.inner();
    let builder = Builder::new(&inner.runtime)?;
    let extents = lake.extents(work.warehouse).await?;
    builder.table(PUBLIC, &inner.source.table, Arc::new(External::of(&inner.lake, &inner.source, extents)))?;
    let all = extents.to_vec();
    let history = History::of(&inner.lake, &inner.source, move || all);
    builder.table(PUBLIC, &format!("{}_history", inner.source.table), Arc::new(history))?;
    let mut there: Vec<&str> = Vec::new();
    for model in inner.models.iter().filter(|model| !inner.models.is_asked_only(model)) {
        match work.table(&model.name) {
            Some(table) if stored(model) => builder.table(PUBLIC, &model.name, Arc::new(ModelTable::new(table)?))?,
            // A view over a table that comes later is not there yet.
            None if !stored(model)
                && model
                    .reads
                    .iter()
                    .all(|name| inner.models.get(name).is_none() || there.contains(&name.as_str())) =>
            {
                builder.view(PUBLIC, &model.name, &model.sql).await.map_err(|e| failed(model, e))?;
            }
            _ => continue,
        }
        there.push(&model.name);
    }
    Ok(builder)
}
