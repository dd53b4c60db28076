//! A plan's leaf that reads pieces of lake files one after the other, each checked, unpacked once, and counted as memory
//! of the question while it is handed on.

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

use super::decode;
use crate::{Source, WarehouseError};

/// Files read ahead of the one that is being handed on.
const READS_AHEAD: usize = 2;

/// Runs of rows in one file.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// Below the lake's root.
    pub(crate) name: String,
    pub(crate) sha256: Hash,
    /// Rows by their numbers, in the order in which they are handed on.
    pub(crate) runs: Vec<Range<u64>>,
}

/// What is made of the rows of a piece's run, both by number, before they are handed on: such as columns that say where
/// they come from.
type Dress = dyn Fn(usize, usize, RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> + Send + Sync;

/// Pieces that are read one after the other.
pub(crate) struct Pieces {
    lake: Lake,
    source: Arc<Source>,
    pieces: Vec<Piece>,
    schema: SchemaRef,
    dress: Arc<Dress>,
}

impl Pieces {
    /// The pieces' rows as [`Source::columns`].
    pub(crate) fn new(lake: &Lake, source: &Arc<Source>, pieces: Vec<Piece>) -> Self {
        let (lake, source, schema) = (lake.clone(), source.clone(), source.columns.clone());
        Self { lake, source, pieces, schema, dress: Arc::new(|_, _, batch| Ok(batch)) }
    }

    /// Hands on what `dress` makes of the rows.
    pub(crate) fn dressed(mut self, schema: SchemaRef, dress: Arc<Dress>) -> Self {
        (self.schema, self.dress) = (schema, dress);
        self
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pieces of lake files", self.pieces.len())
    }
}

impl PartitionStream for Pieces {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (lake, source, dress) = (self.lake.clone(), self.source.clone(), self.dress.clone());
        let pool = context.memory_pool().clone();
        let read = futures::stream::iter(self.pieces.clone().into_iter().enumerate())
            .map(move |(at, piece)| {
                let (lake, source, dress, pool) = (lake.clone(), source.clone(), dress.clone(), pool.clone());
                async move {
                    let (rows, held) = read(&lake, &source, piece, &pool).await?;
                    let dressed = rows.into_iter().map(move |(run, batch)| {
                        // The memory is given back with the last of the rows.
                        let _until_then = &held;
                        dress(at, run, batch).map_err(DataFusionError::from)
                    });
                    Ok::<_, DataFusionError>(futures::stream::iter(dressed))
                }
            })
            .buffered(READS_AHEAD)
            .try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), read))
    }
}

pub(crate) fn external(error: WarehouseError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Rows with the numbers of their runs, and the memory that they hold.
type Held = (Vec<(usize, RecordBatch)>, MemoryReservation);

async fn read(
    lake: &Lake,
    source: &Arc<Source>,
    piece: Piece,
    pool: &Arc<dyn MemoryPool>,
) -> Result<Held, DataFusionError> {
    let Some(bytes) = lake.read(&piece.name).await.map_err(|e| external(e.into()))? else {
        let reason = "is in the ledger and not in the lake; `turnstile audit` says more".to_owned();
        return Err(external(WarehouseError::File { name: piece.name, reason }));
    };
    let held = MemoryConsumer::new("files of the lake").register(pool);
    held.try_grow(bytes.len())?;
    let source = source.clone();
    // Unpacking is work for a processor, not for the threads that carry the store's answers.
    let decoded = tokio::task::spawn_blocking(move || {
        let batches = decode(&source, &piece.name, &bytes, &piece.sha256).map_err(external)?;
        held.try_resize(batches.iter().map(RecordBatch::get_array_memory_size).sum())?;
        let runs = piece.runs.iter().enumerate();
        let rows = runs.flat_map(|(run, rows)| {
            let cut = cut(&batches, rows.start as usize, (rows.end - rows.start) as usize);
            cut.into_iter().map(move |batch| (run, batch))
        });
        Ok((rows.collect(), held))
    });
    decoded.await.expect("decoding does not panic")
}

/// `rows` rows from `first` on. Nothing is copied.
pub(crate) fn cut(batches: &[RecordBatch], first: usize, rows: usize) -> Vec<RecordBatch> {
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
    fn a_run_of_rows_is_cut_across_batches() {
        let batch = |from: i64| {
            let column: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 4));
            RecordBatch::try_from_iter([("n", column)]).unwrap()
        };
        for (first, rows) in [(0, 12), (0, 3), (3, 1), (3, 6), (4, 4), (11, 1), (12, 0)] {
            let cut = cut(&[batch(0), batch(4), batch(8)], first, rows);
            let found: Vec<i64> =
                cut.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
            assert_eq!(found, (first as i64..(first + rows) as i64).collect::<Vec<_>>());
        }
    }
}
