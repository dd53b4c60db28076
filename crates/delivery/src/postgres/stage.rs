//! Streams a change's rows into a table by COPY.
//!
//! In: batches. Out: their rows in the table. At most one batch and a few chunks are in memory.

use std::pin::pin;

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use turnstile_values::BoxError;

use super::error::refused;
use super::rows::{self, RowEncoder, UnsupportedValue};
use super::session::PgSession;
use super::sql;
use crate::change::{Scope, TableChange, TableKind, TargetTable};
use crate::error::TargetError;

/// Bytes of one chunk. The client library buffers at most two.
const CHUNK_BYTES: usize = 64 * 1024;
/// Spare capacity for the row that exceeds the chunk.
const CHUNK_SPARE: usize = 4 * 1024;

/// Copies the rows of `change` into the table `into` (quoted); returns their number.
pub(super) async fn copy(session: &PgSession, change: &TableChange, into: &str) -> Result<u64, TargetError> {
    let table = &*change.table;
    let names: Vec<&str> = table.schema.fields().iter().map(|field| field.name().as_str()).collect();
    let action = format!("loading rows for table {}", table.name);
    let copy = format!("COPY {into} ({}) FROM STDIN (FORMAT binary)", sql::names("", &names));
    let mut sink = pin!(session.copy_in(&copy, &action).await?);
    let mut out = BytesMut::with_capacity(CHUNK_BYTES + CHUNK_SPARE);
    out.extend_from_slice(rows::HEADER);
    let mut batches = change.rows.read();
    let mut sent = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|source| TargetError::Rows { table: table.name.clone(), source })?;
        check(session.target(), change, &batch)?;
        let encoder = RowEncoder::new(&batch).map_err(|error| unreadable(table, error))?;
        for row in 0..batch.num_rows() {
            encoder.put(row, &mut out).map_err(|value| unsupported_value(session.target(), table, &batch, &value))?;
            if out.len() >= CHUNK_BYTES {
                let chunk: Bytes = out.split().freeze();
                session.with_timeout(&action, sink.feed(chunk)).await?;
                out.reserve(CHUNK_BYTES + CHUNK_SPARE);
            }
        }
        sent += batch.num_rows() as u64;
    }
    out.extend_from_slice(rows::TRAILER);
    session.with_timeout(&action, sink.feed(out.freeze())).await?;
    session.with_timeout(&action, sink.finish()).await?;
    Ok(sent)
}

/// Checks a batch against the table and the scope.
fn check(target: &str, change: &TableChange, batch: &RecordBatch) -> Result<(), TargetError> {
    let table = &*change.table;
    let shape = |schema: &arrow::datatypes::Schema| -> Vec<_> {
        schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
    };
    if shape(&table.schema) != shape(&batch.schema()) {
        return Err(unreadable(table, format!("a batch's columns differ from the table's: {:?}", batch.schema())));
    }
    for column in &table.key {
        let array = batch.column_by_name(column).filter(|array| array.null_count() > 0);
        if let Some(row) = array.and_then(|array| (0..array.len()).find(|row| array.is_null(*row))) {
            let reason = format!(
                "table {}, column {column}: it is part of the key and null in the row {}",
                table.name,
                rows::key_of(batch, &table.key, row)
            );
            return Err(refused(target, reason, "correct the model: a key's columns must not be null"));
        }
    }
    check_windows(target, change, batch)
}

/// A row outside the replaced windows would never be removed.
fn check_windows(target: &str, change: &TableChange, batch: &RecordBatch) -> Result<(), TargetError> {
    let (Scope::Windows(windows), TableKind::Incremental { window }) = (&change.scope, &change.table.kind) else {
        return Ok(());
    };
    let Some(column) = batch.column_by_name(window) else { return Ok(()) };
    let column = column.as_primitive::<TimestampMicrosecondType>();
    // Rows come roughly window by window: consecutive rows mostly have the same one.
    let mut last = None;
    for row in 0..column.len() {
        let start = column.is_valid(row).then(|| column.value(row));
        if start.is_some() && start == last {
            continue;
        }
        if start.is_none_or(|start| windows.binary_search(&start).is_err()) {
            let reason = format!(
                "table {}, column {window}: a row is in a window that is not delivered: {}",
                change.table.name,
                rows::key_of(batch, &change.table.key, row)
            );
            return Err(refused(target, reason, "report this: the delivery contradicts itself"));
        }
        last = start;
    }
    Ok(())
}

fn unreadable(table: &TargetTable, source: impl Into<BoxError>) -> TargetError {
    TargetError::Rows { table: table.name.clone(), source: source.into() }
}

fn unsupported_value(target: &str, table: &TargetTable, batch: &RecordBatch, value: &UnsupportedValue) -> TargetError {
    let column = table.schema.field(value.column).name();
    let location = match table.key.is_empty() {
        true => format!("row {} of its batch", value.row),
        false => format!("the row {}", rows::key_of(batch, &table.key, value.row)),
    };
    let reason = format!("table {}, column {column}: {} ({location})", table.name, value.reason);
    refused(target, reason, "correct the value at its source or in the model")
}
