//! A model's table: the Parquet files that the record names.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use turnstile_delivery::TableKind;

use crate::error::WarehouseError;
use crate::scan::{ScanFile, parquet};
use crate::store::{DataFile, TableState};

/// A model's table as of one entry of the record.
pub(crate) struct ModelTable {
    schema: SchemaRef,
    files: Vec<DataFile>,
    window: Option<String>,
}

impl ModelTable {
    pub(crate) fn new(table: &TableState) -> Result<Self, WarehouseError> {
        let window = match &table.head.kind {
            TableKind::Incremental { window } => Some(window.clone()),
            TableKind::Dimension | TableKind::Table => None,
        };
        Ok(Self { schema: table.head.schema()?, files: table.files.clone(), window })
    }
}

#[async_trait]
impl TableProvider for ModelTable {
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
        let predicate = match conjunction(filters.iter().cloned()) {
            Some(filter) => Some(state.create_physical_expr(filter, &DFSchema::try_from(self.schema.clone())?)?),
            None => None,
        };
        let kept = match &predicate {
            Some(predicate) => {
                let builder = PruningPredicateBuilder::new().with_file_schema(self.schema.clone());
                match builder.build(predicate.clone()) {
                    Some(pruning) => pruning.prune(&FileStatistics(self))?,
                    None => vec![true; self.files.len()],
                }
            }
            None => vec![true; self.files.len()],
        };
        let files: Vec<ScanFile> = self
            .files
            .iter()
            .zip(kept)
            .filter(|(_, kept)| *kept)
            .map(|(file, _)| ScanFile { name: file.name.clone(), bytes: file.bytes, rows: file.rows, skip: vec![] })
            .collect();
        let limit = if filters.is_empty() { limit } else { None };
        parquet(state, &files, &self.schema, projection, predicate, limit)
    }
}

impl fmt::Debug for ModelTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a model's table of {} files", self.files.len())
    }
}

/// What the record holds about the files: their windows and rows.
struct FileStatistics<'a>(&'a ModelTable);

impl FileStatistics<'_> {
    fn instants(&self, column: &Column, of: fn((i64, i64)) -> i64) -> Option<ArrayRef> {
        if self.0.window.as_deref() != Some(column.name.as_str()) {
            return None;
        }
        let instants = self.0.files.iter().map(|file| file.windows.bounds().map(of));
        Some(Arc::new(instants.collect::<TimestampMicrosecondArray>().with_timezone("UTC")))
    }
}

impl PruningStatistics for FileStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.instants(column, |(first, _)| first)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.instants(column, |(_, last)| last)
    }

    fn num_containers(&self) -> usize {
        self.0.files.len()
    }

    fn null_counts(&self, _: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::from_iter_values(self.0.files.iter().map(|file| file.rows))))
    }

    fn contained(&self, _: &Column, _: &std::collections::HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
