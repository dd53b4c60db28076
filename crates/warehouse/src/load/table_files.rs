//! The files of models' tables: read, and split by windows and days.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, TimestampMicrosecondArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use turnstile_lake::{Hash, Lake};
use turnstile_values::DAY_US;

use crate::error::WarehouseError;
use crate::store::DataFile;

/// The rows of a table's file, checked against its record, in the types of its table: text is a view, whatever the file's
/// own schema calls it.
pub(super) async fn read_file(lake: &Lake, file: &DataFile) -> Result<Vec<RecordBatch>, WarehouseError> {
    let bytes = read_bytes(lake, file).await?;
    let rows = || -> Result<Vec<RecordBatch>, ArrowError> {
        let stored = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new())?;
        let options = ArrowReaderOptions::new().with_schema(Arc::new(with_text_views(stored.schema())));
        let stored = ArrowReaderMetadata::try_new(stored.metadata().clone(), options)?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, stored);
        reader.with_batch_size(8192).build()?.collect()
    };
    rows().map_err(|e| WarehouseError::unreadable(&file.name, "cannot be read", e))
}

/// The bytes of a table's file, checked against its record.
pub(super) async fn read_bytes(lake: &Lake, file: &DataFile) -> Result<Bytes, WarehouseError> {
    let bytes = lake.read(&file.name).await?;
    let bytes =
        bytes.ok_or_else(|| WarehouseError::file(&file.name, "is in the warehouse's record but does not exist"))?;
    if Hash::of(&bytes) != file.sha256 {
        return Err(WarehouseError::file(&file.name, "changed since it was written"));
    }
    Ok(bytes)
}

fn with_text_views(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 => Field::clone(field).with_data_type(DataType::Utf8View),
        _ => Field::clone(field),
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// The values of the window column.
pub(super) fn window_starts<'a>(batch: &'a RecordBatch, window: &str) -> &'a TimestampMicrosecondArray {
    let column = batch.column_by_name(window).expect("a table's head has its window column");
    column.as_primitive::<TimestampMicrosecondType>()
}

/// The rows whose window's first instant is `wanted`.
pub(super) fn filter_windows(
    batch: &RecordBatch,
    window: &str,
    wanted: impl Fn(i64) -> bool,
) -> Result<RecordBatch, ArrowError> {
    let keep: BooleanArray =
        window_starts(batch, window).iter().map(|start| Some(start.is_some_and(&wanted))).collect();
    filter_record_batch(batch, &keep)
}

/// `batches`, which are sorted by window, split where a UTC day begins.
pub(super) fn split_by_day(batches: &[RecordBatch], window: &str) -> Result<Vec<Vec<RecordBatch>>, ArrowError> {
    let mut days: BTreeMap<i64, Vec<RecordBatch>> = BTreeMap::new();
    for batch in batches {
        let starts = window_starts(batch, window);
        let day = |row: usize| if starts.is_null(row) { 0 } else { starts.value(row).div_euclid(DAY_US) };
        let mut first = 0;
        for row in 1..=batch.num_rows() {
            if row == batch.num_rows() || day(row) != day(first) {
                days.entry(day(first)).or_default().push(batch.slice(first, row - first));
                first = row;
            }
        }
    }
    Ok(days.into_values().collect())
}
