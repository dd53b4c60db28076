//! The external table: the lake's current files.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::streaming::StreamingTableExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use turnstile_lake::{Catalog, Extent, FileEncoding, Lake};

use super::as_of::as_of;
use crate::scan::{FileSlice, FileSliceStream, ScanFile, parquet};
use crate::source::{WarehouseSource, timestamp_type};

/// The rows of every window's highest published version, as of one position of the ledger.
pub(crate) struct LakeTable {
    lake: Lake,
    source: Arc<WarehouseSource>,
    windows: CurrentExtents,
}

/// Where the windows' extents are found.
enum CurrentExtents {
    /// All, and the commit that models' tables are as of.
    Newest(Catalog, u64),
    /// As of a commit.
    AsOf(Catalog, u64),
    Listed(Vec<Extent>),
}

impl LakeTable {
    /// Models' tables are as of commit `loaded`.
    pub(crate) fn new(lake: &Lake, source: &Arc<WarehouseSource>, catalog: &Catalog, loaded: u64) -> Self {
        let windows = CurrentExtents::Newest(catalog.clone(), loaded);
        Self { lake: lake.clone(), source: source.clone(), windows }
    }

    /// The same as of the commit that models' tables are as of.
    pub(super) fn as_loaded(&self) -> Option<Self> {
        let CurrentExtents::Newest(catalog, loaded) = &self.windows else { return None };
        let windows = CurrentExtents::AsOf(catalog.clone(), *loaded);
        Some(Self { lake: self.lake.clone(), source: self.source.clone(), windows })
    }

    /// Over the current ones of `extents`, which are in the order of their windows.
    pub(crate) fn of(lake: &Lake, source: &Arc<WarehouseSource>, extents: &[Extent]) -> Self {
        let current = extents.iter().filter(|extent| extent.current).cloned().collect();
        Self { lake: lake.clone(), source: source.clone(), windows: CurrentExtents::Listed(current) }
    }

    /// The files' columns under their own names, in the types that queries see.
    fn file_schema(&self) -> SchemaRef {
        let pairs = self.source.files.fields().iter().zip(self.source.columns.fields());
        let fields = pairs.map(|(file, asked)| Field::new(file.name(), asked.data_type().clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The windows that `filters` leave, by the instants that the ledger records of them.
    fn pruned(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<Extent>> {
        let extents = match &self.windows {
            CurrentExtents::Newest(catalog, _) => catalog.current(..),
            CurrentExtents::AsOf(catalog, seq) => {
                as_of(catalog, *seq).into_iter().filter(|extent| extent.current).collect()
            }
            CurrentExtents::Listed(extents) => extents.clone(),
        };
        let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(extents) };
        let named = DFSchema::try_from(self.source.columns.clone())?;
        let predicate = state.create_physical_expr(filter, &named)?;
        let Some(predicate) =
            PruningPredicateBuilder::new().with_file_schema(self.source.columns.clone()).build(predicate)
        else {
            return Ok(extents);
        };
        let windows = WindowStatistics { source: &self.source, extents: &extents };
        let kept = predicate.prune(&windows)?;
        Ok(extents.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(extent, _)| extent).collect())
    }

    /// The filters as a predicate over the files' own columns, for the statistics within the files.
    fn predicate(&self, state: &dyn Session, filters: &[Expr]) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(None) };
        let named = DFSchema::try_from(self.source.columns.clone())?;
        let predicate = state.create_physical_expr(filter, &named)?;
        Ok(Some(rename_columns(predicate, &self.file_schema())?))
    }

    fn scan_parquet(
        &self,
        state: &dyn Session,
        files: &[ScanFile],
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let predicate = self.predicate(state, filters)?;
        let read = parquet(state, files, &self.file_schema(), projection, predicate, limit)?;
        let (asked, files) = (projected(&self.source.columns, projection), read.schema());
        let names = asked.fields().iter().zip(files.fields()).enumerate();
        let renamed: Vec<ProjectionExpr> = names
            .map(|(at, (asked, file))| {
                let column: Arc<dyn PhysicalExpr> = Arc::new(PhysicalColumn::new(file.name(), at));
                ProjectionExpr::new(column, asked.name().clone())
            })
            .collect();
        Ok(Arc::new(ProjectionExec::try_new(renamed, read)?))
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        self.source.columns.clone()
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
        let extents = self.pruned(state, filters)?;
        let (in_parquet, in_csv): (Vec<_>, Vec<_>) =
            extents.into_iter().partition(|extent| extent.object.format == Some(FileEncoding::Parquet));
        let csv = || scan_csv(&self.lake, &self.source, state, &in_csv, projection, limit);
        if in_parquet.is_empty() {
            return csv();
        }
        // A limit below a filter would cut off rows that it lets through.
        let limit = if filters.is_empty() { limit } else { None };
        let parquet = self.scan_parquet(state, &whole_files(&in_parquet), projection, filters, limit)?;
        if in_csv.is_empty() {
            return Ok(parquet);
        }
        // The pipeline changed its format at some time.
        UnionExec::try_new(vec![parquet, csv()?])
    }
}

impl fmt::Debug for LakeTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)
    }
}

fn projected(schema: &SchemaRef, projection: Option<&Vec<usize>>) -> SchemaRef {
    projection
        .map_or_else(|| schema.clone(), |at| Arc::new(schema.project(at).unwrap_or_else(|_| schema.as_ref().clone())))
}

fn scan_csv(
    lake: &Lake,
    source: &Arc<WarehouseSource>,
    state: &dyn Session,
    extents: &[Extent],
    projection: Option<&Vec<usize>>,
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let partitions = file_slices(extents, state.config().target_partitions())
        .into_iter()
        .map(|slices| Arc::new(FileSliceStream::new(lake, source, slices)) as _)
        .collect();
    let columns = source.columns.clone();
    Ok(Arc::new(StreamingTableExec::try_new(columns, partitions, projection, None, false, limit)?))
}

/// The runs of rows that `extents` are, in up to `parts` parts of about the same size.
pub(super) fn file_slices(extents: &[Extent], parts: usize) -> Vec<Vec<FileSlice>> {
    let mut joined: Vec<FileSlice> = Vec::new();
    for extent in extents {
        let (object, run) = (&extent.object, extent.first_row..extent.first_row + extent.rows);
        match joined.last_mut() {
            // A compacted file is read once, not once a window.
            Some(last) if *last.name == *object.name => match last.runs.last_mut() {
                Some(before) if before.end == run.start => before.end = run.end,
                _ => last.runs.push(run),
            },
            _ => joined.push(FileSlice { name: object.name.to_string(), sha256: object.sha256, runs: vec![run] }),
        }
    }
    let each = joined.len().div_ceil(parts.max(1)).max(1);
    joined.chunks(each).map(<[FileSlice]>::to_vec).collect()
}

/// The files that hold `extents`, each once, with the rows that are not theirs passed over.
fn whole_files(extents: &[Extent]) -> Vec<ScanFile> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut files: Vec<(ScanFile, Vec<Range<u64>>)> = Vec::new();
    for extent in extents {
        let object = &extent.object;
        let at = *seen.entry(&*object.name).or_insert_with(|| {
            let file = ScanFile { name: object.name.to_string(), bytes: object.bytes, rows: object.rows, skip: vec![] };
            files.push((file, Vec::new()));
            files.len() - 1
        });
        files[at].1.push(extent.first_row..extent.first_row + extent.rows);
    }
    files.into_iter().map(|(file, read)| ScanFile { skip: gaps(read, file.rows), ..file }).collect()
}

/// What of `0..rows` is not in `read`.
fn gaps(mut read: Vec<Range<u64>>, rows: u64) -> Vec<Range<u64>> {
    read.sort_by_key(|range| range.start);
    let mut gaps = Vec::new();
    let mut at = 0;
    for range in read {
        if range.start > at {
            gaps.push(at..range.start);
        }
        at = at.max(range.end);
    }
    if at < rows {
        gaps.push(at..rows);
    }
    gaps
}

/// `predicate` with its columns under the names that `schema` has at the same places.
fn rename_columns(predicate: Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let renamed = predicate.transform(|expr| {
        let Some(column) = expr.downcast_ref::<PhysicalColumn>() else { return Ok(Transformed::no(expr)) };
        let renamed = PhysicalColumn::new(schema.field(column.index()).name(), column.index());
        Ok(Transformed::yes(Arc::new(renamed) as Arc<dyn PhysicalExpr>))
    })?;
    Ok(renamed.data)
}

/// What the ledger knows of the windows' own columns: every row of a window has the same ones.
struct WindowStatistics<'a> {
    source: &'a WarehouseSource,
    extents: &'a [Extent],
}

impl WindowStatistics<'_> {
    fn instants(&self, column: &Column) -> Option<ArrayRef> {
        let at = self.source.columns.index_of(&column.name).ok()?;
        if *self.source.columns.field(at).data_type() != timestamp_type() {
            return None;
        }
        let instants = |of: fn(&Extent) -> i64| {
            let array = TimestampMicrosecondArray::from_iter_values(self.extents.iter().map(of)).with_timezone("UTC");
            Some(Arc::new(array) as ArrayRef)
        };
        if self.source.window_start == Some(at) {
            instants(|extent| extent.start_us)
        } else if self.source.window_end == Some(at) {
            instants(|extent| extent.end_us)
        } else {
            None
        }
    }
}

impl PruningStatistics for WindowStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.instants(column)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.instants(column)
    }

    fn num_containers(&self) -> usize {
        self.extents.len()
    }

    fn null_counts(&self, _: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_no_current_window_has_are_the_gaps() {
        assert_eq!(gaps(vec![4..10, 0..4], 10), vec![]);
        assert_eq!(gaps(vec![5..10, 0..2], 12), vec![2..5, 10..12]);
        assert_eq!(gaps(vec![2..3, 0..1], 5), vec![1..2, 3..5]);
    }
}
