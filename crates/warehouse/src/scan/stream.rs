//! A leaf of a plan that reads slices of lake files in sequence; each is verified, decompressed once, and counted
//! towards the query's memory while it is emitted.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::{StreamExt, TryStreamExt};
use turnstile_lake::{Hash, Lake};

use super::decode::decode;
use crate::error::WarehouseError;
use crate::source::WarehouseSource;

/// Files read ahead of the one that is being emitted.
const READS_AHEAD: usize = 2;

/// Runs of rows in one file.
#[derive(Debug, Clone)]
pub(crate) struct FileSlice {
    /// Below the lake's root.
    pub(crate) name: String,
    pub(crate) sha256: Hash,
    /// Rows by their numbers, in the order in which they are emitted.
    pub(crate) runs: Vec<Range<u64>>,
}

/// Maps rows of a slice's run, both by number, before they are emitted: adds columns that say where they come from.
type Projection = dyn Fn(usize, usize, RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> + Send + Sync;

/// Slices that are read one after the other.
pub(crate) struct FileSliceStream {
    lake: Lake,
    source: Arc<WarehouseSource>,
    slices: Vec<FileSlice>,
    schema: SchemaRef,
    project: Arc<Projection>,
}

impl FileSliceStream {
    /// The slices' rows as [`WarehouseSource::columns`].
    pub(crate) fn new(lake: &Lake, source: &Arc<WarehouseSource>, slices: Vec<FileSlice>) -> Self {
        let (lake, source, schema) = (lake.clone(), source.clone(), source.columns.clone());
        Self { lake, source, slices, schema, project: Arc::new(|_, _, batch| Ok(batch)) }
    }

    /// Emits the rows, as projected by `project`.
    pub(crate) fn projected(mut self, schema: SchemaRef, project: Arc<Projection>) -> Self {
        (self.schema, self.project) = (schema, project);
        self
    }
}

impl fmt::Debug for FileSliceStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} slices of lake files", self.slices.len())
    }
}

impl PartitionStream for FileSliceStream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (lake, source, project) = (self.lake.clone(), self.source.clone(), self.project.clone());
        let pool = context.memory_pool().clone();
        let read = futures::stream::iter(self.slices.clone().into_iter().enumerate())
            .map(move |(at, slice)| {
                let (lake, source, project, pool) = (lake.clone(), source.clone(), project.clone(), pool.clone());
                async move {
                    let (rows, held) = read(&lake, &source, slice, &pool).await?;
                    let projected = rows.into_iter().map(move |(run, batch)| {
                        // The memory is released with the last of the rows.
                        let _until_then = &held;
                        project(at, run, batch).map_err(DataFusionError::from)
                    });
                    Ok::<_, DataFusionError>(futures::stream::iter(projected))
                }
            })
            .buffered(READS_AHEAD)
            .try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), read))
    }
}

/// Rows with the numbers of their runs, and the memory that they hold.
type DecodedRows = (Vec<(usize, RecordBatch)>, MemoryReservation);

async fn read(
    lake: &Lake,
    source: &Arc<WarehouseSource>,
    slice: FileSlice,
    pool: &Arc<dyn MemoryPool>,
) -> Result<DecodedRows, DataFusionError> {
    let Some(bytes) = lake.read(&slice.name).await.map_err(WarehouseError::from)? else {
        return Err(WarehouseError::missing_file(&slice.name).into());
    };
    let held = MemoryConsumer::new("files of the lake").register(pool);
    held.try_grow(bytes.len())?;
    let source = source.clone();
    // Unpacking is CPU work: it stays off the threads that carry the store's responses.
    let decoded = tokio::task::spawn_blocking(move || {
        let rows = slice.runs.iter().map(|run| run.end).max().unwrap_or_default() as usize;
        let batches = decode(&source, &slice.name, &bytes, &slice.sha256, rows)?;
        held.try_resize(batches.iter().map(RecordBatch::get_array_memory_size).sum())?;
        let runs = slice.runs.iter().enumerate();
        let rows = runs.flat_map(|(run, rows)| {
            let rows = slice_rows(&batches, rows.start as usize, (rows.end - rows.start) as usize);
            rows.into_iter().map(move |batch| (run, batch))
        });
        Ok((rows.collect(), held))
    });
    decoded.await.expect("decoding does not panic")
}

/// `rows` rows from `first` on. Nothing is copied.
pub(crate) fn slice_rows(batches: &[RecordBatch], first: usize, rows: usize) -> Vec<RecordBatch> {
    let (mut skip, mut left) = (first, rows);
    let mut kept = Vec::new();
    for batch in batches {
        if skip >= batch.num_rows() {
            skip -= batch.num_rows();
            continue;
        }
        let take = (batch.num_rows() - skip).min(left);
        if take == 0 {
            break;
        }
        kept.push(batch.slice(skip, take));
        (skip, left) = (0, left - take);
    }
    kept
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn a_run_of_rows_is_sliced_across_batches() {
        let batch = |from: i64| {
            let column: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 4));
            RecordBatch::try_from_iter([("n", column)]).unwrap()
        };
        for (first, rows) in [(0, 12), (0, 3), (3, 1), (3, 6), (4, 4), (11, 1), (12, 0)] {
            let rows_of_run = slice_rows(&[batch(0), batch(4), batch(8)], first, rows);
            let found: Vec<i64> =
                rows_of_run.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
            assert_eq!(found, (first as i64..(first + rows) as i64).collect::<Vec<_>>());
        }
    }
}
