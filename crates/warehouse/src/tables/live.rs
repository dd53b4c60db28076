//! The open windows as they stand.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use futures::FutureExt;
use turnstile_lake::Slot;

use super::Computed;
use crate::source::{Live, instant};
use crate::{LiveRows, Source};

/// The columns of the external table, and `_provisional` (always true), `_window_start`, `_window_end`, and
/// `_closes_at`: the watermark that will close the window.
/// `slot` is that of the position whose files the external table has: a window is in one of the two. `None`: it went
/// while a commit was being published.
pub(crate) fn live(source: &Arc<Source>, slot: Option<Slot>, rows: Option<&LiveRows>) -> Computed {
    let (source, rows) = (source.clone(), rows.cloned());
    let schema = schema(&source);
    let shape = schema.clone();
    let compute = move || {
        let (source, slot, rows, schema) = (source.clone(), slot.clone(), rows.clone(), shape.clone());
        async move {
            let Some(rows) = rows else { return Ok(Vec::new()) };
            let gone =
                || DataFusionError::Execution("the open windows went while they were read: ask again".to_owned());
            let open = rows(slot.ok_or_else(gone)?).await.map_err(|reason| {
                DataFusionError::Execution(format!("the open windows cannot be computed: {reason}"))
            })?;
            let batches: Result<Vec<_>, _> = open.iter().map(|window| marked(&source, window, &schema)).collect();
            Ok(batches?)
        }
        .boxed()
    };
    Computed::new(schema, Arc::new(compute))
}

pub(super) fn schema(source: &Source) -> SchemaRef {
    let own = [
        Field::new("_provisional", DataType::Boolean, false),
        Field::new("_window_start", instant(), false),
        Field::new("_window_end", instant(), false),
        Field::new("_closes_at", instant(), false),
    ];
    let columns = source.columns.fields().iter().map(|field| field.as_ref().clone());
    Arc::new(Schema::new(columns.chain(own).collect::<Vec<_>>()))
}

fn marked(source: &Source, window: &Live, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let batch = source.renamed(&window.rows)?;
    let rows = batch.num_rows();
    let at = |us: i64| Arc::new(TimestampMicrosecondArray::from_value(us, rows).with_timezone("UTC")) as ArrayRef;
    let provisional: ArrayRef = Arc::new(BooleanArray::from(vec![true; rows]));
    let own = [provisional, at(window.start_us), at(window.end_us), at(window.closes_at_us)];
    RecordBatch::try_new(schema.clone(), batch.columns().iter().cloned().chain(own).collect())
}
