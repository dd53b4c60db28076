//! Record batches in the binary format of PostgreSQL's COPY.
//!
//! Source: "Binary Format" under COPY in PostgreSQL's documentation; the values are those of its `*_recv` functions.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
    LargeStringArray, StringArray, StringViewArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use bytes::{BufMut, BytesMut};
use turnstile_values::{BoxError, DAY_US};

use super::numeric;
use super::types::PgType;

/// Before the first row: a signature, no flags, no extension.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// After the last row.
pub(super) const TRAILER: &[u8] = &[0xff, 0xff];

/// 2000-01-01, PostgreSQL's epoch, in days and microseconds since 1970-01-01.
const EPOCH_DAYS: i32 = 10_957;
pub(super) const EPOCH_US: i64 = EPOCH_DAYS as i64 * DAY_US;

/// A value that PostgreSQL cannot store.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnsupportedValue {
    pub(super) column: usize,
    pub(super) row: usize,
    pub(super) reason: &'static str,
}

const NUL: &str = "the text contains a NUL byte, which PostgreSQL cannot store";
const OUT_OF_RANGE: &str = "the time is outside PostgreSQL's range";
const TOO_LONG: &str = "the text is longer than the 2 GiB that the protocol allows";

/// The columns of one batch, ready to be written row by row.
pub(super) struct RowEncoder {
    columns: Vec<PgColumn>,
}

/// One column by its type; the arrays are shared with the batch.
enum PgColumn {
    Text(StringArray),
    LargeText(LargeStringArray),
    TextView(StringViewArray),
    Int4(Int32Array),
    Int8(Int64Array),
    Float8(Float64Array),
    Bool(BooleanArray),
    Numeric(Decimal128Array, u8),
    Date(Date32Array),
    Micros(TimestampMicrosecondArray),
}

impl RowEncoder {
    /// The types of the batch's columns must be known to [`PgType::of`]; an error names the one that is not.
    pub(super) fn new(batch: &RecordBatch) -> Result<Self, BoxError> {
        let columns = batch.columns().iter().map(PgColumn::of).collect::<Result<_, _>>()?;
        Ok(Self { columns })
    }

    /// Appends one row.
    pub(super) fn put(&self, row: usize, out: &mut BytesMut) -> Result<(), UnsupportedValue> {
        out.put_i16(self.columns.len() as i16);
        for (nth, column) in self.columns.iter().enumerate() {
            column.put(row, out).map_err(|reason| UnsupportedValue { column: nth, row, reason })?;
        }
        Ok(())
    }
}

impl PgColumn {
    fn of(array: &ArrayRef) -> Result<Self, BoxError> {
        let unknown = || format!("no PostgreSQL type for {}", array.data_type());
        Ok(match PgType::of(array.data_type()).ok_or_else(unknown)? {
            PgType::Text => match array.data_type() {
                DataType::Utf8 => PgColumn::Text(array.as_string::<i32>().clone()),
                DataType::LargeUtf8 => PgColumn::LargeText(array.as_string::<i64>().clone()),
                DataType::Utf8View => PgColumn::TextView(array.as_string_view().clone()),
                // Views of the dictionary's texts: only short ones are copied.
                _ => {
                    let views = cast(array, &DataType::Utf8View)?;
                    PgColumn::TextView(views.as_string_view().clone())
                }
            },
            PgType::Int4 => PgColumn::Int4(array.as_primitive::<Int32Type>().clone()),
            PgType::Int8 => PgColumn::Int8(array.as_primitive::<Int64Type>().clone()),
            PgType::Float8 => PgColumn::Float8(array.as_primitive::<Float64Type>().clone()),
            PgType::Bool => PgColumn::Bool(array.as_boolean().clone()),
            PgType::Numeric { scale, .. } => PgColumn::Numeric(array.as_primitive::<Decimal128Type>().clone(), scale),
            PgType::Date => PgColumn::Date(array.as_primitive::<Date32Type>().clone()),
            PgType::TimestampTz | PgType::Timestamp => {
                PgColumn::Micros(array.as_primitive::<TimestampMicrosecondType>().clone())
            }
        })
    }

    fn put(&self, row: usize, out: &mut BytesMut) -> Result<(), &'static str> {
        if self.is_null(row) {
            out.put_i32(-1);
            return Ok(());
        }
        match self {
            PgColumn::Text(array) => put_text(array.value(row), out)?,
            PgColumn::LargeText(array) => put_text(array.value(row), out)?,
            PgColumn::TextView(array) => put_text(array.value(row), out)?,
            PgColumn::Int4(array) => put_fixed(&array.value(row).to_be_bytes(), out),
            PgColumn::Int8(array) => put_fixed(&array.value(row).to_be_bytes(), out),
            PgColumn::Float8(array) => put_fixed(&array.value(row).to_be_bytes(), out),
            PgColumn::Bool(array) => put_fixed(&[u8::from(array.value(row))], out),
            PgColumn::Numeric(array, scale) => numeric::put(array.value(row), *scale, out),
            PgColumn::Date(array) => {
                put_fixed(&array.value(row).checked_sub(EPOCH_DAYS).ok_or(OUT_OF_RANGE)?.to_be_bytes(), out);
            }
            PgColumn::Micros(array) => put_fixed(&micros(array.value(row)).ok_or(OUT_OF_RANGE)?.to_be_bytes(), out),
        }
        Ok(())
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            PgColumn::Text(array) => array.is_null(row),
            PgColumn::LargeText(array) => array.is_null(row),
            PgColumn::TextView(array) => array.is_null(row),
            PgColumn::Int4(array) => array.is_null(row),
            PgColumn::Int8(array) => array.is_null(row),
            PgColumn::Float8(array) => array.is_null(row),
            PgColumn::Bool(array) => array.is_null(row),
            PgColumn::Numeric(array, _) => array.is_null(row),
            PgColumn::Date(array) => array.is_null(row),
            PgColumn::Micros(array) => array.is_null(row),
        }
    }
}

/// Microseconds since PostgreSQL's epoch. Its two infinities are not valid instants here.
pub(super) fn micros(since_1970: i64) -> Option<i64> {
    since_1970.checked_sub(EPOCH_US).filter(|us| *us != i64::MIN && *us != i64::MAX)
}

fn put_fixed(bytes: &[u8], out: &mut BytesMut) {
    out.put_i32(bytes.len() as i32);
    out.put_slice(bytes);
}

fn put_text(text: &str, out: &mut BytesMut) -> Result<(), &'static str> {
    if text.as_bytes().contains(&0) {
        return Err(NUL);
    }
    out.put_i32(i32::try_from(text.len()).map_err(|_| TOO_LONG)?);
    out.put_slice(text.as_bytes());
    Ok(())
}

/// A row's key, for messages: `station = A, window_start_at = 2026-08-01T08:00:00Z`.
pub(super) fn key_of<S: AsRef<str>>(batch: &RecordBatch, key: &[S], row: usize) -> String {
    let value = |name: &S| {
        let text = batch.column_by_name(name.as_ref()).and_then(|column| array_value_to_string(column, row).ok());
        format!("{} = {}", name.as_ref(), text.unwrap_or_default())
    };
    key.iter().map(value).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::DictionaryArray;

    use super::*;

    fn first_row(array: ArrayRef) -> Result<Vec<u8>, UnsupportedValue> {
        let batch = RecordBatch::try_from_iter([("c", array)]).unwrap();
        let mut out = BytesMut::new();
        RowEncoder::new(&batch).unwrap().put(0, &mut out)?;
        Ok(out.to_vec())
    }

    #[test]
    fn all_text_types_are_written_alike() {
        let dictionary: DictionaryArray<Int32Type> = ["ab"].into_iter().collect();
        let arrays: [ArrayRef; 4] = [
            Arc::new(StringArray::from(vec!["ab"])),
            Arc::new(LargeStringArray::from(vec!["ab"])),
            Arc::new(StringViewArray::from(vec!["ab"])),
            Arc::new(dictionary),
        ];
        for array in arrays {
            assert_eq!(first_row(array).unwrap(), b"\0\x01\0\0\0\x02ab");
        }
    }

    #[test]
    fn times_count_from_2000() {
        let day = first_row(Arc::new(Date32Array::from(vec![EPOCH_DAYS + 1]))).unwrap();
        assert_eq!(day, b"\0\x01\0\0\0\x04\0\0\0\x01");
        let instant = first_row(Arc::new(TimestampMicrosecondArray::from(vec![EPOCH_US + 1]))).unwrap();
        assert_eq!(instant, b"\0\x01\0\0\0\x08\0\0\0\0\0\0\0\x01");
        assert_eq!(micros(i64::MIN), None);
    }

    #[test]
    fn a_null_has_no_bytes_and_a_nul_is_named() {
        assert_eq!(first_row(Arc::new(Int64Array::from(vec![None]))).unwrap(), b"\0\x01\xff\xff\xff\xff");
        let error = first_row(Arc::new(StringArray::from(vec!["a\0b"]))).unwrap_err();
        assert_eq!(error, UnsupportedValue { column: 0, row: 0, reason: NUL });
    }
}
