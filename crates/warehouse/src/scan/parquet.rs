//! A plan that reads many Parquet files, whose sizes and row counts come from a ledger.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{Result, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{CachedParquetFileReaderFactory, ParquetRowSelection};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};

/// Under which URL a session knows the lake's store.
pub(crate) const DATA: &str = "lake://data";

/// A Parquet file, and which of its rows are read.
#[derive(Debug, Clone)]
pub(crate) struct ScanFile {
    /// Below the lake's root.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
    /// Rows that are passed over: sorted, apart from each other.
    pub(crate) skip: Vec<Range<u64>>,
}

impl ScanFile {
    fn rows_read(&self) -> u64 {
        self.rows - self.skip.iter().map(|skip| skip.end - skip.start).sum::<u64>()
    }
}

/// Reads `files` with the columns of `schema`, which are found in them by name.
pub(crate) fn parquet(
    state: &dyn Session,
    files: &[ScanFile],
    schema: &SchemaRef,
    projection: Option<&Vec<usize>>,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let url = ObjectStoreUrl::parse(DATA)?;
    let store = state.runtime_env().object_store(&url)?;
    let footers = state.runtime_env().cache_manager.get_file_metadata_cache();
    let mut source = ParquetSource::new(schema.clone())
        .with_table_parquet_options(state.table_options().parquet.clone())
        .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(store, footers)));
    if let Some(predicate) = predicate {
        source = source.with_predicate(predicate);
    }
    let mut statistics = Statistics::new_unknown(schema);
    statistics.num_rows = Precision::Exact(files.iter().map(ScanFile::rows_read).sum::<u64>() as usize);
    let group = FileGroup::new(files.iter().map(partitioned).collect());
    let config = FileScanConfigBuilder::new(url, Arc::new(source))
        .with_file_groups(group.split_files(state.config().target_partitions()))
        .with_statistics(statistics)
        .with_projection_indices(projection.cloned())?
        .with_limit(limit)
        .build();
    Ok(DataSourceExec::from_data_source(config))
}

fn partitioned(file: &ScanFile) -> PartitionedFile {
    let partitioned = PartitionedFile::new(file.name.clone(), file.bytes);
    if file.skip.is_empty() {
        return partitioned;
    }
    let mut at = 0;
    let mut selectors = Vec::new();
    for skip in &file.skip {
        selectors.push(RowSelector::select((skip.start - at) as usize));
        selectors.push(RowSelector::skip((skip.end - skip.start) as usize));
        at = skip.end;
    }
    selectors.push(RowSelector::select((file.rows - at) as usize));
    partitioned.with_extension(ParquetRowSelection::new(RowSelection::from(selectors)))
}
