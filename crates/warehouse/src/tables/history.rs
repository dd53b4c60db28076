//! All versions of all windows, with where their rows lie.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::streaming::StreamingTableExec;
use lake::{Catalog, Extent, Lake};

use crate::Source;
use crate::scan::{Piece, Pieces};
use crate::source::instant;

/// All versions of all windows that are still in the lake: the columns of the external table, and `_window_start`,
/// `_window_end`, `_version`, `_current`, `_file`.
pub(crate) struct History {
    lake: Lake,
    source: Arc<Source>,
    extents: Vec<Extent>,
    schema: SchemaRef,
}

impl History {
    pub(crate) fn new(lake: &Lake, source: &Arc<Source>, catalog: &Catalog) -> Self {
        let extents = catalog.history().into_iter().filter(|extent| !extent.gone).collect();
        Self::of(lake, source, extents)
    }

    /// All of `extents`.
    pub(crate) fn of(lake: &Lake, source: &Arc<Source>, extents: Vec<Extent>) -> Self {
        Self { lake: lake.clone(), source: source.clone(), extents, schema: schema(source) }
    }
}

/// The same rows from memory: columns and batches.
pub(crate) fn history_of(
    source: &Source,
    windows: &[(Extent, Vec<RecordBatch>)],
) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let schema = schema(source);
    let dressed =
        windows.iter().flat_map(|(extent, batches)| batches.iter().map(|batch| dress(extent, batch, &schema)));
    let dressed = dressed.collect::<Result<Vec<_>, _>>()?;
    Ok((schema, dressed))
}

pub(super) fn schema(source: &Source) -> SchemaRef {
    let own = [
        Field::new("_window_start", instant(), false),
        Field::new("_window_end", instant(), false),
        Field::new("_version", DataType::Int32, false),
        Field::new("_current", DataType::Boolean, false),
        Field::new("_file", DataType::Utf8View, false),
    ];
    let columns = source.columns.fields().iter().map(|field| field.as_ref().clone());
    Arc::new(Schema::new(columns.chain(own).collect::<Vec<_>>()))
}

#[async_trait]
impl TableProvider for History {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let each = self.extents.len().div_ceil(state.config().target_partitions()).max(1);
        let partitions = self.extents.chunks(each).map(|extents| Arc::new(self.partition(extents)) as _).collect();
        let plan = StreamingTableExec::try_new(self.schema.clone(), partitions, projection, None, false, limit)?;
        Ok(Arc::new(plan))
    }
}

impl History {
    fn partition(&self, extents: &[Extent]) -> Pieces {
        let pieces = extents.iter().map(|extent| Piece {
            name: extent.object.name.to_string(),
            sha256: extent.object.sha256,
            first_row: extent.first_row,
            rows: extent.rows,
        });
        let (schema, extents) = (self.schema.clone(), extents.to_vec());
        let dressed = schema.clone();
        let dress = move |at: usize, batch: RecordBatch| dress(&extents[at], &batch, &schema);
        Pieces::new(&self.lake, &self.source, pieces.collect()).dressed(dressed, Arc::new(dress))
    }
}

fn dress(extent: &Extent, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let rows = batch.num_rows();
    let at = |us: i64| Arc::new(TimestampMicrosecondArray::from_value(us, rows).with_timezone("UTC")) as ArrayRef;
    let own: [ArrayRef; 5] = [
        at(extent.start_us),
        at(extent.end_us),
        Arc::new(Int32Array::from_value(extent.version as i32, rows)),
        Arc::new(BooleanArray::from(vec![extent.current; rows])),
        Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(&extent.object.name, rows))),
    ];
    RecordBatch::try_new(schema.clone(), batch.columns().iter().cloned().chain(own).collect())
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "all versions of {}", self.source)
    }
}
