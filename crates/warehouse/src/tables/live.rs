//! The currently open windows.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use futures::FutureExt;
use turnstile_lake::Slot;

use super::computed::ComputedTable;
use super::record_column::ColumnValue::{Flag, Instant};
use super::record_column::{RecordColumn, extend_batch, extended_schema};
use crate::source::{LiveRows, LiveRowsError, LiveWindow, WarehouseSource};

/// What the table adds to the columns of the external table.
const ADDED: [RecordColumn<LiveWindow>; 4] = [
    RecordColumn::new("_provisional", Flag(|_| true)),
    RecordColumn::new("_window_start", Instant(|window| Some(window.start_us))),
    RecordColumn::new("_window_end", Instant(|window| Some(window.end_us))),
    RecordColumn::new("_closes_at", Instant(|window| Some(window.closes_at_us))),
];

/// The columns of the external table, and `_provisional` (always true), `_window_start`, `_window_end`, and
/// `_closes_at`: the watermark that will close the window.
///
/// `slot` is that of the position whose files the external table has, so that a window is in one of the two tables.
/// `None`: it was removed while a commit was being published.
pub(crate) fn live(source: &Arc<WarehouseSource>, slot: Option<Slot>, rows: Option<&LiveRows>) -> ComputedTable {
    let (source, rows) = (source.clone(), rows.cloned());
    let schema = schema(&source);
    let projected = schema.clone();
    let compute = move || {
        let (source, slot, rows, schema) = (source.clone(), slot.clone(), rows.clone(), projected.clone());
        async move {
            let Some(rows) = rows else { return Ok(Vec::new()) };
            let failed = |error: LiveRowsError| DataFusionError::External(Box::new(error));
            let open = rows(slot.ok_or_else(|| failed(LiveRowsError::Replaced))?).await.map_err(failed)?;
            let with_columns =
                |window: &LiveWindow| extend_batch(&source.rename_columns(&window.rows)?, &ADDED, window, &schema);
            Ok(open.iter().map(with_columns).collect::<Result<Vec<_>, ArrowError>>()?)
        }
        .boxed()
    };
    ComputedTable::of_newest(schema, Arc::new(compute))
}

pub(super) fn schema(source: &WarehouseSource) -> SchemaRef {
    extended_schema(&source.columns, &ADDED)
}
