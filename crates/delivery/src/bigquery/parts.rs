//! Rows as Parquet files of bounded size.
//!
//! In: a change's rows, batch by batch. Out: files whose name is the hash of their bytes.
//! The same rows in the same batches produce the same files, so that a repeated delivery finds what the first one
//! loaded.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use bytes::Bytes;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};
use turnstile_values::{BoxError, human};

use crate::change::{RowStream, Scope, TableChange, TableKind, TargetTable};

/// A Parquet file.
#[derive(Debug, Clone)]
pub(super) struct ParquetPart {
    pub(super) bytes: Bytes,
    pub(super) rows: u64,
    /// The first 16 hexadecimal digits of its SHA-256.
    pub(super) hash: String,
}

/// The parts of one change; one of them is in memory at a time.
pub(super) struct ParquetParts {
    table: Arc<TargetTable>,
    rows: RowStream,
    part_bytes: usize,
    /// The index of the window's column, in a table that has one.
    window_column: Option<usize>,
    /// The windows that rows may belong to, if the change names them.
    windows: Option<Vec<i64>>,
    /// The first and last window among the rows so far.
    pub(super) bounds: Option<(i64, i64)>,
}

impl ParquetParts {
    pub(super) fn new(change: &TableChange, part_bytes: usize) -> Result<Self, BoxError> {
        let table = Arc::clone(&change.table);
        let window_column = match &table.kind {
            TableKind::Incremental { window } => Some(table.schema.index_of(window)?),
            _ => None,
        };
        let windows = match &change.scope {
            Scope::Windows(windows) => Some(windows.clone()),
            _ => None,
        };
        Ok(Self { table, rows: change.rows.read(), part_bytes, window_column, windows, bounds: None })
    }

    /// The next file, which has rows; `None` after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<ParquetPart>, BoxError> {
        let mut writer = None;
        let mut rows = 0;
        while let Some(batch) = self.rows.next().await {
            let batch = self.check_batch(batch?)?;
            if batch.num_rows() == 0 {
                continue;
            }
            let open = match &mut writer {
                Some(open) => open,
                None => writer.insert(new_writer(&batch)?),
            };
            open.write(&batch)?;
            rows += batch.num_rows() as u64;
            if open.bytes_written() + open.in_progress_size() >= self.part_bytes {
                break;
            }
        }
        let Some(writer) = writer else { return Ok(None) };
        let bytes: Bytes = writer.into_inner()?.into();
        let hash = short_hex(&Sha256::digest(&bytes));
        Ok(Some(ParquetPart { bytes, rows, hash }))
    }

    /// The batch with the table's own schema. A row of a window that the change does not replace is refused: it would be
    /// added to the existing rows.
    fn check_batch(&mut self, batch: RecordBatch) -> Result<RecordBatch, BoxError> {
        let batch = RecordBatch::try_new(Arc::clone(&self.table.schema), batch.columns().to_vec())?;
        let Some(column) = self.window_column else { return Ok(batch) };
        let starts = batch.column(column).as_primitive_opt::<TimestampMicrosecondType>();
        let starts = starts.ok_or("the window's column is not a timestamp in microseconds")?;
        if starts.null_count() > 0 {
            return Err("a row has no window".into());
        }
        for start in starts.values() {
            if let Some(windows) = &self.windows
                && windows.binary_search(start).is_err()
            {
                return Err(
                    format!("a row belongs to the window at {start} us, which the change does not replace").into()
                );
            }
            let (first, last) = self.bounds.unwrap_or((*start, *start));
            self.bounds = Some((first.min(*start), last.max(*start)));
        }
        Ok(batch)
    }
}

fn new_writer(batch: &RecordBatch) -> Result<ArrowWriter<Vec<u8>>, BoxError> {
    let level = ZstdLevel::try_new(1)?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
    // BigQuery reads the columns' Parquet types. Arrow's schema beside them has types that older readers refuse.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    Ok(ArrowWriter::try_new_with_options(Vec::new(), batch.schema(), options)?)
}

/// The first 16 hexadecimal digits.
pub(super) fn short_hex(digest: &[u8]) -> String {
    human::hex(&digest[..digest.len().min(8)])
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn change(starts: Vec<i64>, windows: Vec<i64>) -> TableChange {
        let start = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let fields = vec![Field::new("start_at", start, false), Field::new("entries", DataType::Int64, true)];
        let schema = Arc::new(Schema::new(fields));
        let table = TargetTable {
            name: "fact".into(),
            description: String::new(),
            schema: Arc::clone(&schema),
            key: vec!["start_at".into()],
            kind: TableKind::Incremental { window: "start_at".into() },
        };
        let counts: ArrayRef = Arc::new(Int64Array::from_iter_values(starts.iter().copied()));
        let starts: ArrayRef = Arc::new(TimestampMicrosecondArray::from(starts).with_timezone("UTC"));
        let batch = RecordBatch::try_new(schema, vec![starts, counts]).unwrap();
        let batches: Vec<RecordBatch> = (0..batch.num_rows()).map(|row| batch.slice(row, 1)).collect();
        TableChange { table: Arc::new(table), scope: Scope::Windows(windows), rows: Arc::new(batches) }
    }

    async fn all(change: &TableChange, part_bytes: usize) -> Vec<ParquetPart> {
        let mut parts = ParquetParts::new(change, part_bytes).unwrap();
        let mut found = Vec::new();
        while let Some(part) = parts.next().await.unwrap() {
            found.push(part);
        }
        found
    }

    #[tokio::test]
    async fn the_same_rows_are_the_same_files() {
        let change = change(vec![1, 2, 2], vec![1, 2]);
        let (one, two) = (all(&change, 1).await, all(&change, 1).await);
        assert_eq!(one.len(), 3, "each batch is more than the bytes of a part");
        let hashes = |parts: &[ParquetPart]| parts.iter().map(|part| part.hash.clone()).collect::<Vec<_>>();
        assert_eq!(hashes(&one), hashes(&two));
        assert_eq!(all(&change, 1 << 20).await.iter().map(|part| part.rows).collect::<Vec<_>>(), [3]);
    }

    #[tokio::test]
    async fn a_part_has_no_arrow_schema_and_instants_are_utc() {
        let part = all(&change(vec![1], vec![1]), 1).await.remove(0);
        let file = ParquetRecordBatchReaderBuilder::try_new(part.bytes).unwrap();
        assert_eq!(file.metadata().file_metadata().key_value_metadata(), None);
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(*file.schema().field(0).data_type(), utc);
    }

    #[tokio::test]
    async fn a_row_of_a_window_that_is_not_replaced_is_refused() {
        let change = change(vec![1, 3], vec![1, 2]);
        let error = ParquetParts::new(&change, 1 << 20).unwrap().next().await.unwrap_err().to_string();
        assert!(error.contains("window at 3 us"), "{error}");
    }

    #[tokio::test]
    async fn a_change_without_rows_has_no_file() {
        assert!(all(&change(vec![], vec![1]), 1 << 20).await.is_empty());
    }
}
