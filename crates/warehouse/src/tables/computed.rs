//! A small table that is computed when it is read.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;

type ComputeRows = dyn Fn() -> BoxFuture<'static, Result<Vec<RecordBatch>>> + Send + Sync;

/// A table whose rows are computed each time that it is read: for few rows only.
pub(crate) struct ComputedTable {
    schema: SchemaRef,
    compute: Arc<ComputeRows>,
    of_newest: bool,
}

impl ComputedTable {
    pub(crate) fn new(schema: SchemaRef, compute: Arc<ComputeRows>) -> Self {
        Self { schema, compute, of_newest: false }
    }

    /// A table that can be computed as of the newest commit only.
    pub(super) fn of_newest(schema: SchemaRef, compute: Arc<ComputeRows>) -> Self {
        Self { of_newest: true, ..Self::new(schema, compute) }
    }

    pub(super) fn is_of_newest(&self) -> bool {
        self.of_newest
    }
}

impl fmt::Debug for ComputedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a computed table")
    }
}

#[async_trait]
impl TableProvider for ComputedTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = (self.compute)().await?;
        Ok(MemorySourceConfig::try_new_exec(&[rows], self.schema.clone(), projection.cloned())?)
    }
}
