//! All versions of all windows, with where their rows lie.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

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
use turnstile_lake::{Catalog, Extent, Lake};

use crate::Source;
use crate::scan::{Piece, Pieces};
use crate::source::instant;

/// All versions of all windows that are still in the lake: the columns of the external table, and `_window_start`,
/// `_window_end`, `_version`, `_current`, `_file`.
pub(crate) struct History {
    lake: Lake,
    source: Arc<Source>,
    extents: Extents,
    schema: SchemaRef,
}

/// Found when the table is asked: there are many, and most sessions never ask.
type Extents = LazyLock<Vec<Extent>, Box<dyn FnOnce() -> Vec<Extent> + Send>>;

impl History {
    pub(crate) fn new(lake: &Lake, source: &Arc<Source>, catalog: &Catalog) -> Self {
        let catalog = catalog.clone();
        Self::of(lake, source, move || catalog.history().into_iter().filter(|extent| !extent.gone).collect())
    }

    /// All that `extents` finds.
    pub(crate) fn of(
        lake: &Lake,
        source: &Arc<Source>,
        extents: impl FnOnce() -> Vec<Extent> + Send + 'static,
    ) -> Self {
        let extents: Extents = LazyLock::new(Box::new(extents));
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
        let objects = by_object(&self.extents);
        let each = objects.len().div_ceil(state.config().target_partitions()).max(1);
        let partitions = objects.chunks(each).map(|objects| Arc::new(self.partition(objects)) as _).collect();
        let plan = StreamingTableExec::try_new(self.schema.clone(), partitions, projection, None, false, limit)?;
        Ok(Arc::new(plan))
    }
}

impl History {
    fn partition(&self, objects: &[Vec<Extent>]) -> Pieces {
        let pieces = objects.iter().map(|extents| Piece {
            name: extents[0].object.name.to_string(),
            sha256: extents[0].object.sha256,
            runs: extents.iter().map(|extent| extent.first_row..extent.first_row + extent.rows).collect(),
        });
        let (schema, objects) = (self.schema.clone(), objects.to_vec());
        let dressed = schema.clone();
        let dress = move |at: usize, run: usize, batch: RecordBatch| dress(&objects[at][run], &batch, &schema);
        Pieces::new(&self.lake, &self.source, pieces.collect()).dressed(dressed, Arc::new(dress))
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
