//! All versions of all windows, with where their rows lie.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::streaming::StreamingTableExec;
use turnstile_lake::{Catalog, Extent, Lake};

use super::as_of::as_of;
use super::record_column::ColumnValue::{Flag, Instant, Text, Version};
use super::record_column::{RecordColumn, batch_of, extend_batch, extended_schema, schema_of};
use crate::scan::{FileSlice, FileSliceStream};
use crate::source::WarehouseSource;

/// What the table adds to the columns of the external table.
const ADDED: [RecordColumn<Extent>; 5] = [
    RecordColumn::new("_window_start", Instant(|extent| Some(extent.start_us))),
    RecordColumn::new("_window_end", Instant(|extent| Some(extent.end_us))),
    RecordColumn::new("_version", Version(|extent| Some(extent.version as i32))),
    RecordColumn::new("_current", Flag(|extent| extent.current)),
    RecordColumn::new("_file", Text(|extent| Some(Cow::from(&*extent.object.name)))),
];

/// All versions of all windows that are still in the lake: the columns of the external table, and `_window_start`,
/// `_window_end`, `_version`, `_current`, `_file`.
pub(crate) struct HistoryTable {
    lake: Lake,
    source: Arc<WarehouseSource>,
    extents: LazyExtents,
    schema: SchemaRef,
    /// The catalog, and the commit of it that models' tables are as of.
    loaded: Option<(Catalog, u64)>,
}

/// Found when the table is read: there are many, and most sessions never read them.
type LazyExtents = LazyLock<Vec<Extent>, Box<dyn FnOnce() -> Vec<Extent> + Send>>;

impl HistoryTable {
    /// Models' tables are as of commit `loaded`.
    pub(crate) fn new(lake: &Lake, source: &Arc<WarehouseSource>, catalog: &Catalog, loaded: u64) -> Self {
        let all = catalog.clone();
        let all = Self::of(lake, source, move || all.history().into_iter().filter(|extent| !extent.gone).collect());
        Self { loaded: Some((catalog.clone(), loaded)), ..all }
    }

    /// The same as of the commit that models' tables are as of.
    pub(super) fn as_loaded(&self) -> Option<Self> {
        let (catalog, loaded) = self.loaded.clone()?;
        Some(Self::of(&self.lake, &self.source, move || as_of(&catalog, loaded)))
    }

    /// All that `extents` finds.
    pub(crate) fn of(
        lake: &Lake,
        source: &Arc<WarehouseSource>,
        extents: impl FnOnce() -> Vec<Extent> + Send + 'static,
    ) -> Self {
        let extents: LazyExtents = LazyLock::new(Box::new(extents));
        Self { lake: lake.clone(), source: source.clone(), extents, schema: schema(source), loaded: None }
    }
}

/// The same rows from memory: columns and batches.
pub(crate) fn history_of(
    source: &WarehouseSource,
    windows: &[(Extent, Vec<RecordBatch>)],
) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let schema = schema(source);
    let projected =
        windows.iter().flat_map(|(extent, batches)| batches.iter().map(|batch| project(extent, batch, &schema)));
    let projected = projected.collect::<Result<Vec<_>, _>>()?;
    Ok((schema, projected))
}

pub(super) fn schema(source: &WarehouseSource) -> SchemaRef {
    extended_schema(&source.columns, &ADDED)
}

#[async_trait]
impl TableProvider for HistoryTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let objects = by_object(&self.kept(state, filters)?);
        // Rows that a filter leaves out do not count.
        let limit = if filters.is_empty() { limit } else { None };
        let each = objects.len().div_ceil(state.config().target_partitions()).max(1);
        let partitions = objects.chunks(each).map(|objects| Arc::new(self.partition(objects)) as _).collect();
        let plan = StreamingTableExec::try_new(self.schema.clone(), partitions, projection, None, false, limit)?;
        Ok(Arc::new(plan))
    }
}

impl HistoryTable {
    /// The extents that filters over what the ledger records of them leave: one window is one file, of however many.
    fn kept(&self, state: &dyn Session, filters: &[Expr]) -> Result<Cow<'_, [Extent]>> {
        let all = schema_of(&ADDED);
        let is_recorded = |filter: &&Expr| {
            let columns = filter.column_refs();
            !columns.is_empty() && columns.iter().all(|column| all.field_with_name(column.name()).is_ok())
        };
        let Some(filter) = conjunction(filters.iter().filter(is_recorded).cloned()) else {
            return Ok(Cow::Borrowed(&self.extents));
        };
        let needed = filter.column_refs();
        let needed = ADDED.into_iter().filter(|column| needed.iter().any(|name| name.name() == column.name()));
        let needed: Vec<RecordColumn<Extent>> = needed.collect();
        let filter = state.create_physical_expr(filter, &DFSchema::try_from(schema_of(&needed))?)?;
        let verdicts = filter.evaluate(&batch_of(&needed, &self.extents))?.into_array(self.extents.len())?;
        let verdicts = verdicts.as_boolean();
        let kept = |(at, _): &(usize, &Extent)| verdicts.is_valid(*at) && verdicts.value(*at);
        Ok(self.extents.iter().enumerate().filter(kept).map(|(_, extent)| extent.clone()).collect::<Vec<_>>().into())
    }

    fn partition(&self, objects: &[Vec<Extent>]) -> FileSliceStream {
        let slices = objects.iter().map(|extents| FileSlice {
            name: extents[0].object.name.to_string(),
            sha256: extents[0].object.sha256,
            runs: extents.iter().map(|extent| extent.first_row..extent.first_row + extent.rows).collect(),
        });
        let (schema, objects) = (self.schema.clone(), objects.to_vec());
        let projected = schema.clone();
        let project = move |at: usize, run: usize, batch: RecordBatch| project(&objects[at][run], &batch, &schema);
        FileSliceStream::new(&self.lake, &self.source, slices.collect()).projected(projected, Arc::new(project))
    }
}

/// `extents` by the objects in which they lie, each of which is then read once.
fn by_object(extents: &[Extent]) -> Vec<Vec<Extent>> {
    let mut at: HashMap<&str, usize> = HashMap::new();
    let mut objects: Vec<Vec<Extent>> = Vec::new();
    for extent in extents {
        let at = *at.entry(&extent.object.name).or_insert_with(|| {
            objects.push(Vec::new());
            objects.len() - 1
        });
        objects[at].push(extent.clone());
    }
    objects
}

fn project(extent: &Extent, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    extend_batch(batch, &ADDED, extent, schema)
}

impl fmt::Debug for HistoryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "all versions of {}", self.source)
    }
}
