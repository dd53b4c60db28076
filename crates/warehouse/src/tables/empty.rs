//! The lake's tables without rows, to check whether a query fits them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::MemTable;
use datafusion::common::Result;

use super::ledger::{LedgerTable, WINDOWS_VIEW};
use super::{history, live, runs};
use crate::session::{LEDGER, PUBLIC, SessionBuilder};
use crate::source::WarehouseSource;

/// Registers every table that exists without a model, with its columns and no rows.
pub(crate) async fn register_empty_tables(builder: &SessionBuilder, source: &WarehouseSource) -> Result<()> {
    let empty = |schema: SchemaRef| MemTable::try_new(schema, vec![vec![]]).map(Arc::new);
    builder.table(PUBLIC, &source.table, empty(source.columns.clone())?)?;
    builder.table(PUBLIC, &source.history_table(), empty(history::schema(source))?)?;
    builder.table(PUBLIC, &source.live_table(), empty(live::schema(source))?)?;
    builder.table(PUBLIC, "load_runs", empty(runs::schema())?)?;
    for (name, schema) in LedgerTable::schemas() {
        builder.table(LEDGER, name, empty(schema)?)?;
    }
    builder.view(LEDGER, "windows", WINDOWS_VIEW).await
}
