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
use super::portable::portable_schema;

/// Smaller files than at level 1, at a cost that a window's few thousand rows do not feel.
const ZSTD_LEVEL: i32 = 3;

/// Rows in a row group of a file that holds many windows: a reader that wants one window or station skips the others,
/// and one that wants all has enough to do for a core.
const ROW_GROUP_ROWS: usize = 128 * 1024;

/// `text_views`: the stored schema names text as it was in memory, see [`super::EncodeOptions`].
pub(super) fn encode(batch: &RecordBatch, text_views: bool) -> Result<Vec<u8>, ArrowError> {
    let schema = without_metadata(&batch.schema());
    let schema = if text_views { schema } else { portable_schema(&schema) };
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties()?.build())).map_err(ArrowError::from)?;
    writer.write(batch).map_err(ArrowError::from)?;
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

/// The schema without metadata: it is a hash map, whose order changes from run to run.
fn without_metadata(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| Field::clone(field).with_metadata(Default::default()));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

pub(super) fn count_rows(bytes: &[u8]) -> Result<u64, FormatError> {
    let reader = SerializedFileReader::new(Bytes::copy_from_slice(bytes)).map_err(FormatError::decode)?;
    u64::try_from(reader.metadata().file_metadata().num_rows())
        .map_err(|_| FormatError::decode("its row count is negative"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::array::{ArrayRef, Int64Array, StringArray, StringViewArray, new_null_array};
    use arrow::datatypes::{DataType, TimeUnit};
    use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

    use super::*;

    fn batch() -> RecordBatch {
        RecordBatch::try_from_iter([
            ("STATION", Arc::new(StringViewArray::from(vec!["59 ST", "A station with a long name"])) as ArrayRef),
            ("ENTRIES", Arc::new(Int64Array::from(vec![7, i64::MIN]))),
        ])
        .unwrap()
    }

    fn read_back(bytes: Vec<u8>) -> RecordBatch {
        ParquetRecordBatchReader::try_new(Bytes::from(bytes), 10).unwrap().next().unwrap().unwrap()
    }

    #[test]
    fn rows_are_read_back_as_they_were_written() {
        let bytes = encode(&batch(), false).unwrap();
        assert_eq!(count_rows(&bytes).unwrap(), 2);
        let stations = StringArray::from(vec!["59 ST", "A station with a long name"]);
        let plain = [("STATION", Arc::new(stations) as ArrayRef), ("ENTRIES", batch().column(1).clone())];
        assert_eq!(read_back(bytes), RecordBatch::try_from_iter(plain).unwrap());
    }

    /// pyarrow 14 and older Arrow libraries refuse a file whose stored schema has a type that they do not know.
    #[test]
    fn the_stored_schema_has_types_that_older_readers_know_and_keeps_the_zone_of_instants() {
        let zone = || Some("America/New_York".into());
        let types = [
            (DataType::Utf8View, DataType::Utf8),
            (DataType::Utf8, DataType::Utf8),
            (DataType::BinaryView, DataType::Binary),
            (DataType::Boolean, DataType::Boolean),
            (DataType::Int32, DataType::Int32),
            (DataType::Int64, DataType::Int64),
            (DataType::Float64, DataType::Float64),
            (DataType::Decimal128(38, 10), DataType::Decimal128(38, 10)),
            (DataType::Date32, DataType::Date32),
            (DataType::Timestamp(TimeUnit::Microsecond, zone()), DataType::Timestamp(TimeUnit::Microsecond, zone())),
            (DataType::Timestamp(TimeUnit::Microsecond, None), DataType::Timestamp(TimeUnit::Microsecond, None)),
        ];
        for (kind, stored) in types {
            let batch = RecordBatch::try_from_iter([("X", new_null_array(&kind, 2))]).unwrap();
            let bytes = encode(&batch, false).unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap();
            assert_eq!(*reader.schema().field(0).data_type(), stored, "{kind}");
        }
    }

    #[test]
    fn a_file_can_be_rebuilt_as_releases_wrote_it_that_stored_text_as_views() {
        assert_eq!(read_back(encode(&batch(), true).unwrap()), batch());
    }

    #[test]
    fn the_same_rows_give_the_same_bytes_whatever_the_schema_is_annotated_with() {
        let notes: HashMap<String, String> = (0..20).map(|n| (n.to_string(), "x".to_owned())).collect();
        let schema = Arc::new(Schema::clone(&batch().schema()).with_metadata(notes));
        let annotated = batch().with_schema(schema).unwrap();
        assert_eq!(encode(&annotated, false).unwrap(), encode(&batch(), false).unwrap());
    }
}
