//! Decodes one lake file into rows, checked against the ledger.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use turnstile_lake::{FileEncoding, Hash};

use crate::error::WarehouseError;
use crate::source::{WarehouseSource, cast_exactly};

/// A column of a file holds a value that its type cannot.
#[derive(Debug, thiserror::Error)]
#[error("column {name}")]
struct UnreadableColumn {
    name: String,
    source: ArrowError,
}

/// Rows per batch, at most.
const BATCH_ROWS: usize = 8192;

/// The rows of the file `name`, under the names and types of [`WarehouseSource::columns`], in batches.
///
/// It has about `rows` rows: the CSV reader clears memory for a batch of rows before it reads the first one, which for a small
/// file takes longer than reading it.
///
/// Columns are found by name, so that a file of an earlier query that lacks one has nulls there, and the unnamed index
/// column is skipped.
///
/// # Errors
/// `File`: the bytes do not have the hash that the ledger recorded, or are not rows of these columns.
pub(crate) fn decode(
    source: &WarehouseSource,
    name: &str,
    bytes: &Bytes,
    expected: &Hash,
    rows: usize,
) -> Result<Vec<RecordBatch>, WarehouseError> {
    let batch_rows = rows.clamp(1, BATCH_ROWS);
    let found = Hash::of(bytes);
    if found != *expected {
        let reason = format!("changed since it was published: its SHA-256 is {found}, the ledger recorded {expected}");
        return Err(WarehouseError::file(name, reason));
    }
    let rows = match FileEncoding::of(name) {
        Some(FileEncoding::CsvGz) => csv_gz(source, bytes, batch_rows),
        Some(FileEncoding::Parquet) => from_parquet(source, bytes, batch_rows),
        None => return Err(WarehouseError::file(name, "has an extension other than .csv.gz and .parquet")),
    };
    rows.map_err(|e| WarehouseError::unreadable(name, format!("cannot be read as rows of {}", source.table), e))
}

fn csv_gz(source: &WarehouseSource, bytes: &[u8], batch_rows: usize) -> Result<Vec<RecordBatch>, ArrowError> {
    let format = arrow::csv::reader::Format::default().with_header(true);
    let (found, _) = format.infer_schema(MultiGzDecoder::new(bytes), Some(0))?;
    // The file's own columns, in its own order, in the types that queries see.
    let fields = found.fields().iter().map(|field| {
        let asked = source.files.index_of(field.name()).ok().map(|at| source.columns.field(at).data_type());
        Field::new(field.name(), asked.map_or(DataType::Utf8, as_read), true)
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let reader =
        ReaderBuilder::new(schema).with_header(true).with_batch_size(batch_rows).build(MultiGzDecoder::new(bytes))?;
    reader.map(|batch| by_name(source, &batch?)).collect()
}

/// The CSV reader builds plain text, and views are made of it.
fn as_read(asked: &DataType) -> DataType {
    match asked {
        DataType::Utf8View => DataType::Utf8,
        other => other.clone(),
    }
}

fn from_parquet(source: &WarehouseSource, bytes: &Bytes, batch_rows: usize) -> Result<Vec<RecordBatch>, ArrowError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).map_err(ArrowError::from)?;
    let reader = reader.with_batch_size(batch_rows).build().map_err(ArrowError::from)?;
    reader.map(|batch| by_name(source, &batch?)).collect()
}

fn by_name(source: &WarehouseSource, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns: Result<Vec<ArrayRef>, ArrowError> = source
        .files
        .fields()
        .iter()
        .zip(source.columns.fields())
        .map(|(file, asked)| match batch.column_by_name(file.name()) {
            Some(column) => cast_exactly(column, asked.data_type()).map_err(|e| {
                ArrowError::ExternalError(Box::new(UnreadableColumn { name: file.name().clone(), source: e }))
            }),
            None => Ok(arrow::array::new_null_array(asked.data_type(), batch.num_rows())),
        })
        .collect();
    let rows = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(source.columns.clone(), columns?, &rows)
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, StringViewArray, TimestampMicrosecondArray};
    use arrow::datatypes::{Int64Type, SchemaRef, TimestampMicrosecondType};
    use turnstile_lake::{EncodeOptions, encode_window};

    use super::*;

    fn rows() -> RecordBatch {
        let start = TimestampMicrosecondArray::from(vec![1_785_571_200_000_000, 1_785_571_200_500_000]);
        RecordBatch::try_from_iter_with_nullable([
            ("STATION", Arc::new(StringViewArray::from(vec![Some("59 ST, \"N\"\nQR"), None])) as ArrayRef, true),
            ("START", Arc::new(start.with_timezone("America/New_York")), true),
            ("ENTRIES", Arc::new(Int64Array::from(vec![7, -1])), true),
        ])
        .unwrap()
    }

    fn source(schema: SchemaRef) -> WarehouseSource {
        WarehouseSource::new("p", "ext", schema, FileEncoding::CsvGz).unwrap()
    }

    #[test]
    fn rows_come_back_as_they_were_written_in_either_form() {
        let source = source(rows().schema());
        for (format, options) in [
            (FileEncoding::CsvGz, EncodeOptions::default()),
            (FileEncoding::CsvGz, EncodeOptions { index_column: true, ..EncodeOptions::default() }),
            (FileEncoding::Parquet, EncodeOptions::default()),
        ] {
            let bytes = Bytes::from(encode_window(format, &rows(), &options).unwrap());
            let name = format!("date=2026-08-01/p.{}", format.extension());
            let read = decode(&source, &name, &bytes, &Hash::of(&bytes), 2).unwrap();
            assert_eq!(read.len(), 1, "{format:?}");
            assert_eq!(
                read[0].column(0).as_string_view(),
                &StringViewArray::from(vec![Some("59 ST, \"N\"\nQR"), None])
            );
            assert_eq!(read[0].column(1).as_primitive::<TimestampMicrosecondType>().value(1), 1_785_571_200_500_000);
            assert_eq!(read[0].column(2).as_primitive::<Int64Type>().values(), &[7, -1]);
            assert_eq!(read[0].schema().field(0).name(), "station");
        }
    }

    /// Case D2: `turnstile sql` reads what was written. In CSV the empty text is null; Parquet keeps both.
    #[test]
    fn odd_texts_come_back_as_they_were() {
        let texts =
            ["NULL", "NaN", "007", "\\N", " x ", "a\tb", "a,b", "say \"x\"", "a\r\nb", "a\rb", "true", "1e5", "é本"];
        let all: Vec<Option<&str>> = texts.into_iter().map(Some).chain([Some(""), None]).collect();
        let numbers: Vec<i64> = (0..all.len() as i64).collect();
        let rows = RecordBatch::try_from_iter_with_nullable([
            ("X", Arc::new(StringViewArray::from(all.clone())) as ArrayRef, true),
            ("K", Arc::new(Int64Array::from(numbers.clone())), true),
        ])
        .unwrap();
        for format in [FileEncoding::CsvGz, FileEncoding::Parquet] {
            let bytes = Bytes::from(encode_window(format, &rows, &EncodeOptions::default()).unwrap());
            let name = format!("date=2026-08-01/p.{}", format.extension());
            let read = decode(&source(rows.schema()), &name, &bytes, &Hash::of(&bytes), rows.num_rows()).unwrap();
            let is_lost = |text: &Option<&str>| format == FileEncoding::CsvGz && *text == Some("");
            let expected: StringViewArray = all.iter().map(|text| text.filter(|_| !is_lost(text))).collect();
            assert_eq!(read[0].column(0).as_string_view(), &expected, "{format:?}");
            assert_eq!(read[0].column(1).as_primitive::<Int64Type>().values(), &numbers[..]);
        }
    }

    #[test]
    fn a_file_that_changed_is_named_with_both_hashes() {
        let bytes = Bytes::from(encode_window(FileEncoding::CsvGz, &rows(), &EncodeOptions::default()).unwrap());
        let error =
            decode(&source(rows().schema()), "f.csv.gz", &bytes, &Hash::of(b"other"), 2).unwrap_err().to_string();
        assert!(error.starts_with("f.csv.gz changed since it was published"), "{error}");
        assert!(error.contains(&Hash::of(&bytes).to_string()), "{error}");
    }

    #[test]
    fn a_column_that_an_older_file_lacks_is_null() {
        let wide = Schema::new(vec![
            Field::new("STATION", DataType::Utf8View, true),
            Field::new("EXITS", DataType::Int64, true),
        ]);
        let bytes = Bytes::from(encode_window(FileEncoding::CsvGz, &rows(), &EncodeOptions::default()).unwrap());
        let read = decode(&source(Arc::new(wide)), "f.csv.gz", &bytes, &Hash::of(&bytes), 2).unwrap();
        assert_eq!(read[0].column(1).null_count(), 2);
    }

    #[test]
    fn text_in_a_number_column_is_reported_with_its_line() {
        let text = RecordBatch::try_from_iter([("ENTRIES", Arc::new(StringViewArray::from(vec!["x"])) as ArrayRef)]);
        let bytes = Bytes::from(encode_window(FileEncoding::CsvGz, &text.unwrap(), &EncodeOptions::default()).unwrap());
        let error = decode(&source(rows().schema()), "f.csv.gz", &bytes, &Hash::of(&bytes), 2).unwrap_err();
        let error = turnstile_values::human::error(&error);
        assert!(error.contains("f.csv.gz") && error.contains("line"), "{error}");
    }
}
