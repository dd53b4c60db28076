//! A plan's leaf that reads pieces of lake files one after the other, each checked and held alone.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::{StreamExt, TryStreamExt};
use lake::{Hash, Lake};

use super::decode;
use crate::{Source, WarehouseError};

/// Files read ahead of the one that is being handed on.
const READS_AHEAD: usize = 2;

/// A run of rows in one file.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// Below the lake's root.
    pub(crate) name: String,
    pub(crate) sha256: Hash,
    pub(crate) first_row: u64,
    pub(crate) rows: u64,
}

/// What is made of a piece's rows before they are handed on, such as columns that say where they come from.
type Dress = dyn Fn(usize, RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> + Send + Sync;

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
        Self { lake, source, pieces, schema, dress: Arc::new(|_, batch| Ok(batch)) }
    }

    /// Hands on what `dress` makes of the rows of the piece with a number.
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

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (lake, source, dress) = (self.lake.clone(), self.source.clone(), self.dress.clone());
        let read = futures::stream::iter(self.pieces.clone().into_iter().enumerate())
            .map(move |(at, piece)| {
                let (lake, source, dress) = (lake.clone(), source.clone(), dress.clone());
                async move {
                    let batches = read(&lake, &source, piece).await.map_err(external)?;
                    let dressed = batches.into_iter().map(move |batch| dress(at, batch).map_err(DataFusionError::from));
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

async fn read(lake: &Lake, source: &Arc<Source>, piece: Piece) -> Result<Vec<RecordBatch>, WarehouseError> {
    let Some(bytes) = lake.read(&piece.name).await? else {
        let reason = "is in the ledger and not in the lake; `turnstile audit` says more".to_owned();
        return Err(WarehouseError::File { name: piece.name, reason });
    };
    let source = source.clone();
    // Unpacking is work for a processor, not for the threads that carry the store's answers.
    let decoded = tokio::task::spawn_blocking(move || {
        let batches = decode(&source, &piece.name, &bytes, &piece.sha256)?;
        Ok(cut(batches, piece.first_row as usize, piece.rows as usize))
    });
    decoded.await.expect("decoding does not panic")
}

/// `rows` rows from `first` on.
pub(crate) fn cut(batches: Vec<RecordBatch>, first: usize, rows: usize) -> Vec<RecordBatch> {
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
            let cut = cut(vec![batch(0), batch(4), batch(8)], first, rows);
            let found: Vec<i64> =
                cut.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
            assert_eq!(found, (first as i64..(first + rows) as i64).collect::<Vec<_>>());
        }
    }
}
