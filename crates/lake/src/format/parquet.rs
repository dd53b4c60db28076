//! Parquet compressed with Zstandard, reproducible.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::error::FormatError;

/// Smaller files than at level 1, at a cost that a window's few thousand rows do not feel.
const ZSTD_LEVEL: i32 = 3;

/// Rows in a row group of a file that holds many windows: a reader that wants one window or station skips the others,
/// and one that wants all has enough to do for a core.
const ROW_GROUP_ROWS: usize = 128 * 1024;

pub(super) fn encode(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let batch = without_metadata(batch)?;
    let properties = properties()?.build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).map_err(ArrowError::from)?;
    writer.write(&batch).map_err(ArrowError::from)?;
    writer.into_inner().map_err(ArrowError::from)
}

/// A writer of a file that holds many windows.
pub(super) fn large_writer(schema: SchemaRef) -> Result<ArrowWriter<Vec<u8>>, ArrowError> {
    let properties = properties()?.set_max_row_group_row_count(Some(ROW_GROUP_ROWS)).build();
    ArrowWriter::try_new(Vec::new(), schema, Some(properties)).map_err(ArrowError::from)
}

fn properties() -> Result<WriterPropertiesBuilder, ArrowError> {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(ArrowError::from)?;
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        // Not the library's version: an upgrade that writes the same rows writes the same bytes.
        .set_created_by("turnstile".to_owned()))
}

/// The rows without the schema's metadata: it is a hash map, whose order changes from run to run.
fn without_metadata(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let fields = schema.fields().iter().map(|field| Field::clone(field).with_metadata(Default::default()));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), batch.columns().to_vec())
}

pub(super) fn count_rows(bytes: &[u8]) -> Result<u64, FormatError> {
    let reader = SerializedFileReader::new(Bytes::copy_from_slice(bytes)).map_err(FormatError::decode)?;
    u64::try_from(reader.metadata().file_metadata().num_rows())
        .map_err(|_| FormatError::decode("its row count is negative"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::array::{ArrayRef, Int64Array, StringViewArray};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

    use super::*;

    fn batch() -> RecordBatch {
        RecordBatch::try_from_iter([
            ("STATION", Arc::new(StringViewArray::from(vec!["59 ST", "A station with a long name"])) as ArrayRef),
            ("ENTRIES", Arc::new(Int64Array::from(vec![7, i64::MIN]))),
        ])
        .unwrap()
    }

    #[test]
    fn rows_are_read_back_as_they_were_written() {
        let bytes = encode(&batch()).unwrap();
        assert_eq!(count_rows(&bytes).unwrap(), 2);
        let mut reader = ParquetRecordBatchReader::try_new(Bytes::from(bytes), 10).unwrap();
        assert_eq!(reader.next().unwrap().unwrap(), batch());
    }

    #[test]
    fn the_same_rows_give_the_same_bytes_whatever_the_schema_is_annotated_with() {
        let notes: HashMap<String, String> = (0..20).map(|n| (n.to_string(), "x".to_owned())).collect();
        let schema = Arc::new(Schema::clone(&batch().schema()).with_metadata(notes));
        let annotated = batch().with_schema(schema).unwrap();
        assert_eq!(encode(&annotated).unwrap(), encode(&batch()).unwrap());
    }
}
