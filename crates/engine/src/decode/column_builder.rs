//! Builds the typed columns of one batch, without an allocation per row.
//!
//! Text becomes string views: up to 12 bytes are stored in the view itself; for longer text the view points into the
//! reader's buffer. Text that had to be unescaped goes to a second buffer.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::DataType;

use super::column_type::{ColumnType, TIMESTAMP};
use super::decimal;
use super::scalar::{parse_boolean, parse_double, parse_integer};
use super::text_view::{TextBuffer, text_array, view};
use super::timestamp_parser::{INSTANT_SECS, TimestampParser};

/// One column under construction.
#[derive(Debug)]
pub(crate) struct ColumnBuilder {
    kind: ColumnValues,
    /// One flag per row once a null was seen; empty until then.
    valid: Vec<bool>,
    len: usize,
}

#[derive(Debug)]
enum ColumnValues {
    Text(Vec<u128>),
    Int(Vec<i32>),
    Long(Vec<i64>),
    Double(Vec<f64>),
    Boolean(Vec<bool>),
    Decimal { values: Vec<i128>, precision: u8, scale: i8 },
    Timestamp { micros: Vec<i64>, clock: Box<TimestampParser> },
}

impl ColumnBuilder {
    pub(crate) fn new(kind: &ColumnType) -> Self {
        let kind = match kind {
            ColumnType::Text => ColumnValues::Text(Vec::new()),
            ColumnType::Int => ColumnValues::Int(Vec::new()),
            ColumnType::Long => ColumnValues::Long(Vec::new()),
            ColumnType::Double => ColumnValues::Double(Vec::new()),
            ColumnType::Boolean => ColumnValues::Boolean(Vec::new()),
            ColumnType::Decimal(precision, scale) => {
                ColumnValues::Decimal { values: Vec::new(), precision: *precision, scale: *scale }
            }
            ColumnType::Timestamp(format, zone) => ColumnValues::Timestamp {
                micros: Vec::new(),
                clock: Box::new(TimestampParser::new(format.clone(), *zone)),
            },
        };
        Self { kind, valid: Vec::new(), len: 0 }
    }

    pub(crate) fn reserve(&mut self, rows: usize) {
        match &mut self.kind {
            ColumnValues::Text(views) => views.reserve(rows),
            ColumnValues::Int(values) => values.reserve(rows),
            ColumnValues::Long(values) => values.reserve(rows),
            ColumnValues::Double(values) => values.reserve(rows),
            ColumnValues::Boolean(values) => values.reserve(rows),
            ColumnValues::Decimal { values, .. } => values.reserve(rows),
            ColumnValues::Timestamp { micros, .. } => micros.reserve(rows),
        }
    }

    /// Appends the value of the text in bytes `start..start + len` of `buffer`, the buffer `home`.
    /// False when it does not fit the type; nothing is appended then.
    ///
    /// Text must be UTF-8: the caller has checked the message it is a part of.
    #[inline]
    pub(crate) fn push_text(&mut self, buffer: &[u8], start: usize, len: usize, home: TextBuffer) -> bool {
        let text = &buffer[start..start + len];
        let fits = match &mut self.kind {
            ColumnValues::Text(views) => {
                views.push(view(buffer, start, len, home));
                true
            }
            ColumnValues::Int(values) => match parse_integer(text).and_then(|n| i32::try_from(n).ok()) {
                Some(n) => {
                    values.push(n);
                    true
                }
                None => false,
            },
            ColumnValues::Long(values) => push_some(values, parse_integer(text)),
            ColumnValues::Double(values) => push_some(values, parse_double(text)),
            ColumnValues::Boolean(values) => push_some(values, parse_boolean(text)),
            ColumnValues::Decimal { values, precision, scale } => {
                push_some(values, decimal::parse(text, *precision, *scale))
            }
            ColumnValues::Timestamp { micros, clock } => push_some(micros, clock.parse(text)),
        };
        self.appended(fits, true)
    }

    /// Appends a JSON number. False when the column does not take it.
    pub(crate) fn push_integer(&mut self, number: i64) -> bool {
        let fits = match &mut self.kind {
            ColumnValues::Int(values) => push_some(values, i32::try_from(number).ok()),
            ColumnValues::Long(values) => push_some(values, Some(number)),
            ColumnValues::Double(values) => push_some(values, Some(number as f64)),
            ColumnValues::Decimal { values, precision, scale } => {
                push_some(values, decimal::from_integer(number, *precision, *scale))
            }
            ColumnValues::Timestamp { micros, clock } => push_some(micros, clock.of_number(number)),
            _ => false,
        };
        self.appended(fits, true)
    }

    /// Appends a JSON number with a fraction or exponent. False when the column does not take it.
    pub(crate) fn push_double(&mut self, number: f64) -> bool {
        let fits = match &mut self.kind {
            ColumnValues::Double(values) => push_some(values, Some(number)),
            _ => false,
        };
        self.appended(fits, true)
    }

    /// Appends a JSON boolean. False when the column does not take it.
    pub(crate) fn push_boolean(&mut self, value: bool) -> bool {
        let fits = match &mut self.kind {
            ColumnValues::Boolean(values) => push_some(values, Some(value)),
            _ => false,
        };
        self.appended(fits, true)
    }

    /// Appends the number `unscaled` with `scale` digits after the point. False when the column is no decimal or has no
    /// room for its digits.
    pub(crate) fn push_decimal(&mut self, unscaled: i128, scale: i64) -> bool {
        let fits = match &mut self.kind {
            ColumnValues::Decimal { values, precision, scale: wanted } => {
                push_some(values, decimal::rescale(unscaled, scale, *precision, *wanted))
            }
            _ => false,
        };
        self.appended(fits, true)
    }

    /// Whether a JSON number has to come as it was written, with every digit.
    #[inline]
    pub(crate) fn takes_number_text(&self) -> bool {
        match &self.kind {
            ColumnValues::Double(_) | ColumnValues::Decimal { .. } => true,
            ColumnValues::Timestamp { clock, .. } => clock.takes_numbers(),
            _ => false,
        }
    }

    /// Whether the column is one of doubles.
    #[inline]
    pub(crate) fn is_double(&self) -> bool {
        matches!(self.kind, ColumnValues::Double(_))
    }

    /// Whether the column is a text.
    #[inline]
    pub(crate) fn is_text(&self) -> bool {
        matches!(self.kind, ColumnValues::Text(_))
    }

    /// Appends an instant: seconds since the epoch, and microseconds of the second. False when the column takes
    /// none, or it lies outside the years 1 to 9999.
    pub(crate) fn push_instant(&mut self, secs: i64, micros: i64) -> bool {
        let fits = match &mut self.kind {
            ColumnValues::Timestamp { micros: values, .. } => {
                push_some(values, INSTANT_SECS.contains(&secs).then(|| secs * 1_000_000 + micros))
            }
            _ => false,
        };
        self.appended(fits, true)
    }

    /// Appends the instant at which the wall clock of the column's zone shows `secs` and `micros`, counted from
    /// its 1970-01-01T00:00:00. False as for [`ColumnBuilder::push_instant`].
    pub(crate) fn push_local_time(&mut self, secs: i64, micros: i64) -> bool {
        let fits = match &mut self.kind {
            ColumnValues::Timestamp { micros: values, clock } if INSTANT_SECS.contains(&secs) => {
                let (utc, kind) = clock.zone.instant(secs);
                clock.count(kind);
                push_some(values, Some(utc * 1_000_000 + micros))
            }
            _ => false,
        };
        self.appended(fits, true)
    }

    /// The column's type as the pipeline file writes it.
    pub(crate) fn type_name(&self) -> Cow<'static, str> {
        match self.kind {
            ColumnValues::Text(_) => ColumnType::Text.name(),
            ColumnValues::Int(_) => ColumnType::Int.name(),
            ColumnValues::Long(_) => ColumnType::Long.name(),
            ColumnValues::Double(_) => ColumnType::Double.name(),
            ColumnValues::Boolean(_) => ColumnType::Boolean.name(),
            ColumnValues::Decimal { precision, scale, .. } => ColumnType::Decimal(precision, scale).name(),
            ColumnValues::Timestamp { .. } => Cow::Borrowed(TIMESTAMP),
        }
    }

    /// Appends a null.
    pub(crate) fn push_null(&mut self) {
        match &mut self.kind {
            ColumnValues::Text(views) => views.push(0),
            ColumnValues::Int(values) => values.push(0),
            ColumnValues::Long(values) => values.push(0),
            ColumnValues::Double(values) => values.push(0.0),
            ColumnValues::Boolean(values) => values.push(false),
            ColumnValues::Decimal { values, .. } => values.push(0),
            ColumnValues::Timestamp { micros, .. } => micros.push(0),
        }
        self.appended(true, false);
    }

    #[inline]
    fn appended(&mut self, fits: bool, valid: bool) -> bool {
        if fits {
            if !valid || !self.valid.is_empty() {
                self.valid.resize(self.len, true);
                self.valid.push(valid);
            }
            self.len += 1;
        }
        fits
    }

    /// Drops the rows from `len` on: a row that turned out bad in a later column.
    pub(crate) fn truncate(&mut self, len: usize) {
        match &mut self.kind {
            ColumnValues::Text(views) => views.truncate(len),
            ColumnValues::Int(values) => values.truncate(len),
            ColumnValues::Long(values) => values.truncate(len),
            ColumnValues::Double(values) => values.truncate(len),
            ColumnValues::Boolean(values) => values.truncate(len),
            ColumnValues::Decimal { values, .. } => values.truncate(len),
            ColumnValues::Timestamp { micros, .. } => micros.truncate(len),
        }
        self.valid.truncate(len);
        self.len = self.len.min(len);
    }

    /// The newest value of a timestamp column, microseconds since the epoch; `None` when it is null.
    #[inline]
    pub(crate) fn last_micros(&self) -> Option<i64> {
        match &self.kind {
            ColumnValues::Timestamp { micros, .. } if self.valid.last() != Some(&false) => micros.last().copied(),
            _ => None,
        }
    }

    /// The column's rows as an array; the column is empty afterwards.
    pub(crate) fn finish(&mut self, buffers: &[Buffer]) -> ArrayRef {
        let nulls = (!self.valid.is_empty()).then(|| {
            let mut valid = std::mem::take(&mut self.valid);
            valid.resize(self.len, true);
            NullBuffer::from(valid)
        });
        self.len = 0;
        match &mut self.kind {
            ColumnValues::Text(views) => Arc::new(text_array(std::mem::take(views), buffers, nulls)),
            ColumnValues::Int(values) => Arc::new(Int32Array::new(std::mem::take(values).into(), nulls)),
            ColumnValues::Long(values) => Arc::new(Int64Array::new(std::mem::take(values).into(), nulls)),
            ColumnValues::Double(values) => Arc::new(Float64Array::new(std::mem::take(values).into(), nulls)),
            ColumnValues::Boolean(values) => Arc::new(BooleanArray::new(std::mem::take(values).into(), nulls)),
            ColumnValues::Decimal { values, precision, scale } => Arc::new(
                Decimal128Array::new(std::mem::take(values).into(), nulls)
                    .with_data_type(DataType::Decimal128(*precision, *scale)),
            ),
            ColumnValues::Timestamp { micros, clock } => Arc::new(
                TimestampMicrosecondArray::new(std::mem::take(micros).into(), nulls).with_timezone(clock.name.clone()),
            ),
        }
    }

    /// Local times that happened twice and that never happened, since the last call.
    pub(crate) fn take_odd_times(&mut self) -> (u64, u64) {
        match &mut self.kind {
            ColumnValues::Timestamp { clock, .. } => {
                (std::mem::take(&mut clock.ambiguous), std::mem::take(&mut clock.nonexistent))
            }
            _ => (0, 0),
        }
    }
}

#[inline]
fn push_some<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    match value {
        Some(value) => {
            values.push(value);
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};

    #[test]
    fn short_text_lies_in_the_view_and_long_text_stays_in_its_buffer() {
        let bytes = b"abc,exactly12byt,thirteen bytes and more,\xC3\xA9".to_vec();
        let mut column = ColumnBuilder::new(&ColumnType::Text);
        for (start, len) in [(0, 3), (4, 12), (17, 23), (41, 2), (0, 0)] {
            assert!(column.push_text(&bytes, start, len, TextBuffer::Values));
        }
        column.push_null();
        let array = column.finish(&[Buffer::from_vec(bytes), Buffer::from_vec(Vec::<u8>::new())]);
        let text: Vec<_> = array.as_string_view().iter().collect();
        assert_eq!(
            text,
            [Some("abc"), Some("exactly12byt"), Some("thirteen bytes and more"), Some("é"), Some(""), None]
        );
        assert_eq!(array.null_count(), 1);
    }

    #[test]
    fn numbers_outside_their_type_do_not_fit() {
        let mut column = ColumnBuilder::new(&ColumnType::Int);
        let mut fits = |text: &str| column.push_text(text.as_bytes(), 0, text.len(), TextBuffer::Values);
        assert!(fits("2147483647") && fits("-2147483648") && fits(" 7 ") && fits("+7"));
        for wrong in ["2147483648", "abc", "", "-", "1.0", "99999999999999999999", "１"] {
            assert!(!fits(wrong), "{wrong}");
        }
        assert_eq!(column.finish(&[]).len(), 4);
    }
}
