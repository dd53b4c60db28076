//! Gzipped CSV, byte for byte reproducible.

use std::io::Read;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, make_array};
use arrow::compute::cast;
use arrow::csv::WriterBuilder;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use flate2::read::MultiGzDecoder;
use flate2::{Compression, GzBuilder};

use super::error::FormatError;
use super::file_encoding::EncodeOptions;

/// RFC 3339 in UTC; `%.f` is nothing when the fraction is zero.
const INSTANT: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

pub(super) fn encode(batch: &RecordBatch, options: &EncodeOptions) -> Result<Vec<u8>, ArrowError> {
    let batch = in_utc(batch, options.index_column)?;
    // No time, no name, no system: the header must not depend on where it was written.
    let gzip = GzBuilder::new().mtime(0).operating_system(255);
    let level = Compression::new(options.gzip_level.min(9));
    let mut packed = gzip.write(Vec::with_capacity(batch.get_array_memory_size() / 4), level);
    let mut writer = WriterBuilder::new().with_header(true).with_timestamp_format(INSTANT.into()).build(&mut packed);
    writer.write(&batch)?;
    drop(writer);
    packed.finish().map_err(|e| ArrowError::IoError("packing in memory".to_owned(), e))
}

/// The rows with instants freed of their zones, so that all are written in UTC, and with the index
/// column when it is asked for.
fn in_utc(batch: &RecordBatch, index_column: bool) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::with_capacity(batch.num_columns() + 1);
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns() + 1);
    if index_column {
        fields.push(Field::new("", DataType::Int64, false));
        columns.push(Arc::new(Int64Array::from_iter_values(0..batch.num_rows() as i64)));
    }
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let (kind, column) = match field.data_type() {
            // An instant is the same number in every zone: only the label goes.
            DataType::Timestamp(unit, Some(_)) => {
                let kind = DataType::Timestamp(*unit, None);
                let data = column.to_data().into_builder().data_type(kind.clone()).build()?;
                (kind, make_array(data))
            }
            DataType::Float64 => spelled(column)?,
            kind => (kind.clone(), column.clone()),
        };
        fields.push(Field::new(field.name(), kind, true));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Doubles, as text when some are infinite: Spark, Java, BigQuery and pandas read `Infinity`, and Java no `inf`.
fn spelled(column: &ArrayRef) -> Result<(DataType, ArrayRef), ArrowError> {
    if !column.as_primitive::<Float64Type>().iter().flatten().any(f64::is_infinite) {
        return Ok((DataType::Float64, Arc::clone(column)));
    }
    let text = cast(column, &DataType::Utf8)?;
    let words = text.as_string::<i32>().iter().map(|text| match text {
        Some("inf") => Some("Infinity"),
        Some("-inf") => Some("-Infinity"),
        text => text,
    });
    Ok((DataType::Utf8, Arc::new(words.collect::<StringArray>())))
}

/// Counts records: lines, except for line ends within quotes. The header is none.
pub(super) fn count_rows(bytes: &[u8]) -> Result<u64, FormatError> {
    let mut unpacked = MultiGzDecoder::new(bytes);
    let mut buffer = vec![0; 64 << 10];
    let (mut records, mut quoted, mut last) = (0u64, false, b'\n');
    loop {
        let read = unpacked.read(&mut buffer).map_err(FormatError::decode)?;
        if read == 0 {
            break;
        }
        for byte in &buffer[..read] {
            match byte {
                b'"' => quoted = !quoted,
                b'\n' if !quoted => records += 1,
                _ => {}
            }
            last = *byte;
        }
    }
    // A last line without an end counts too.
    Ok((records + u64::from(last != b'\n')).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int32Array, TimestampMicrosecondArray, TimestampSecondArray};

    use super::*;
    use crate::format::{FileEncoding, encode_window};

    fn batch() -> RecordBatch {
        let start = TimestampMicrosecondArray::from(vec![1_785_571_200_000_000, 1_785_571_200_500_000]);
        RecordBatch::try_from_iter_with_nullable([
            ("STATION", Arc::new(StringArray::from(vec![Some("59 ST, \"N\"\nQR"), None])) as ArrayRef, true),
            ("START", Arc::new(start.with_timezone("America/New_York")), true),
            ("END", Arc::new(TimestampSecondArray::from(vec![Some(0), None])), true),
            ("ENTRIES", Arc::new(Int32Array::from(vec![7, -1])), true),
        ])
        .unwrap()
    }

    fn unpack(bytes: &[u8]) -> String {
        let mut text = String::new();
        MultiGzDecoder::new(bytes).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn instants_are_utc_with_a_fraction_only_where_there_is_one() {
        let bytes = encode_window(FileEncoding::CsvGz, &batch(), &EncodeOptions::default()).unwrap();
        assert_eq!(
            unpack(&bytes),
            "STATION,START,END,ENTRIES\n\
             \"59 ST, \"\"N\"\"\nQR\",2026-08-01T08:00:00Z,1970-01-01T00:00:00Z,7\n\
             ,2026-08-01T08:00:00.500Z,,-1\n"
        );
        assert_eq!(count_rows(&bytes).unwrap(), 2);
    }

    /// Spark 4.2's csv source, `Double.parseDouble`, pandas and BigQuery read each of these as the number that it was.
    #[test]
    fn numbers_that_are_no_numbers_are_written_as_java_reads_them() {
        let numbers = [Some(1.5), Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY), None, Some(1e300)];
        let column: ArrayRef = Arc::new(Float64Array::from(numbers.to_vec()));
        let batch = RecordBatch::try_from_iter_with_nullable([("X", column, true)]).unwrap();
        let text = unpack(&encode(&batch, &EncodeOptions::default()).unwrap());
        assert_eq!(text, "X\n1.5\nNaN\nInfinity\n-Infinity\n\"\"\n1e300\n");
    }

    /// Case D2: RFC 4180, which pandas, DuckDB, Polars, pyarrow and Spark read alike. Only null and the empty text are one.
    #[test]
    fn odd_texts_are_written_as_they_are_and_quoted_where_a_reader_would_cut_them() {
        let texts = [
            ("NULL", "NULL"),
            ("NaN", "NaN"),
            ("007", "007"),
            ("\\N", "\\N"),
            ("1e5", "1e5"),
            ("true", "true"),
            ("2026-01-05", "2026-01-05"),
            (" padded ", " padded "),
            ("a\tb", "a\tb"),
            ("it's", "it's"),
            ("#no comment", "#no comment"),
            ("back\\slash", "back\\slash"),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("a,b", "\"a,b\""),
            ("a\nb", "\"a\nb\""),
            ("a\r\nb", "\"a\r\nb\""),
            ("a\rb", "\"a\rb\""),
            ("Ménilmontant 本", "Ménilmontant 本"),
            ("\u{feff}mark", "\u{feff}mark"),
        ];
        let column = |texts: Vec<Option<&str>>| Arc::new(StringArray::from(texts)) as ArrayRef;
        let numbers: Vec<String> = (0..texts.len() + 2).map(|n| n.to_string()).collect();
        let rows = RecordBatch::try_from_iter_with_nullable([
            ("K", column(numbers.iter().map(|number| Some(number.as_str())).collect()), true),
            ("X", column(texts.iter().map(|(text, _)| Some(*text)).chain([Some(""), None]).collect()), true),
        ]);
        let bytes = encode(&rows.unwrap(), &EncodeOptions::default()).unwrap();
        let written: String = texts
            .iter()
            .map(|(_, written)| *written)
            .chain(["", ""])
            .zip(&numbers)
            .map(|(text, k)| format!("{k},{text}\n"))
            .collect();
        assert_eq!(unpack(&bytes), format!("K,X\n{written}"));
        assert_eq!(count_rows(&bytes).unwrap(), numbers.len() as u64);
    }

    #[test]
    fn the_index_column_is_unnamed_and_counts_from_zero() {
        let options = EncodeOptions { index_column: true, ..EncodeOptions::default() };
        let text = unpack(&encode_window(FileEncoding::CsvGz, &batch(), &options).unwrap());
        assert!(text.starts_with(",STATION,START,END,ENTRIES\n0,"), "{text}");
        assert!(text.contains("\n1,,2026"), "{text}");
    }

    #[test]
    fn the_same_rows_give_the_same_bytes_at_every_level() {
        for gzip_level in [0, 1, 6, 9] {
            let options = EncodeOptions { gzip_level, ..EncodeOptions::default() };
            let (one, two) = (encode(&batch(), &options).unwrap(), encode(&batch(), &options).unwrap());
            assert_eq!(one, two);
            // Bytes 4 to 7 are the time, byte 9 the system, and bit 3 of byte 3 says that there is a name.
            assert_eq!((&one[4..8], one[9], one[3]), (&[0, 0, 0, 0][..], 255, 0));
        }
    }

    #[test]
    fn rows_of_a_file_that_is_not_gzip_are_an_error() {
        assert!(count_rows(b"STATION\nx\n").is_err());
    }
}
