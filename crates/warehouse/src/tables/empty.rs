//! The lake's tables without rows, to see whether a query fits them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::MemTable;
use datafusion::common::Result;

use super::{LedgerTable, WINDOWS_VIEW, history, live, runs};
use crate::Source;
use crate::model::graph::live_name;
use crate::session::{Builder, LEDGER, PUBLIC};

/// Puts every table that is there without a model into `builder`, with its columns and no rows.
pub(crate) async fn empty_tables(builder: &Builder, source: &Source) -> Result<()> {
    let empty = |schema: SchemaRef| {
        Ok::<_, datafusion::error::DataFusionError>(Arc::new(MemTable::try_new(schema, vec![vec![]])?))
    };
    builder.table(PUBLIC, &source.table, empty(source.columns.clone())?)?;
    builder.table(PUBLIC, &format!("{}_history", source.table), empty(history::schema(source))?)?;
    builder.table(PUBLIC, &live_name(&source.table), empty(live::schema(source))?)?;
    builder.table(PUBLIC, "load_runs", empty(runs::schema())?)?;
    for (name, schema) in LedgerTable::schemas() {
        builder.table(LEDGER, name, empty(schema)?)?;
    }
    builder.view(LEDGER, "windows", WINDOWS_VIEW).await
}
