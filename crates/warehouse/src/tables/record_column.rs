//! Columns of tables that are made from records: each is declared once, with its name, its type and where its value
//! comes from.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use crate::source::timestamp_type;

/// A column of a table over records `R`.
pub(super) struct RecordColumn<R> {
    name: &'static str,
    nullable: bool,
    value: ColumnValue<R>,
}

/// A column's type, and how its value is read from a record.
pub(super) enum ColumnValue<R> {
    /// Text.
    Text(for<'a> fn(&'a R) -> Option<Cow<'a, str>>),
    /// A 64-bit integer.
    Number(fn(&R) -> Option<i64>),
    /// A 32-bit integer.
    Version(fn(&R) -> Option<i32>),
    /// A boolean.
    Flag(fn(&R) -> bool),
    /// Microseconds since the epoch, UTC.
    Instant(fn(&R) -> Option<i64>),
}

impl<R> RecordColumn<R> {
    /// A column that is never null.
    pub(super) const fn new(name: &'static str, value: ColumnValue<R>) -> Self {
        Self { name, nullable: false, value }
    }

    /// A column that may be null.
    pub(super) const fn nullable(name: &'static str, value: ColumnValue<R>) -> Self {
        Self { name, nullable: true, value }
    }

    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    fn field(&self) -> Field {
        let data_type = match self.value {
            ColumnValue::Text(_) => DataType::Utf8View,
            ColumnValue::Number(_) => DataType::Int64,
            ColumnValue::Version(_) => DataType::Int32,
            ColumnValue::Flag(_) => DataType::Boolean,
            ColumnValue::Instant(_) => timestamp_type(),
        };
        Field::new(self.name, data_type, self.nullable)
    }

    fn array<'a>(&self, records: impl Iterator<Item = &'a R>) -> ArrayRef
    where
        R: 'a,
    {
        match self.value {
            ColumnValue::Text(value) => Arc::new(records.map(value).collect::<StringViewArray>()),
            ColumnValue::Number(value) => Arc::new(records.map(value).collect::<Int64Array>()),
            ColumnValue::Version(value) => Arc::new(records.map(value).collect::<Int32Array>()),
            ColumnValue::Flag(value) => Arc::new(records.map(|record| Some(value(record))).collect::<BooleanArray>()),
            ColumnValue::Instant(value) => {
                Arc::new(records.map(value).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
        }
    }
}

/// The schema of a table with these columns.
pub(super) fn schema_of<R>(columns: &[RecordColumn<R>]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(RecordColumn::field).collect::<Vec<_>>()))
}

/// One row per record.
pub(super) fn batch_of<R>(columns: &[RecordColumn<R>], records: &[R]) -> RecordBatch {
    let arrays = columns.iter().map(|column| column.array(records.iter())).collect();
    RecordBatch::try_new(schema_of(columns), arrays).expect("the arrays follow from the columns")
}

/// `schema` and after it these columns.
pub(super) fn extended_schema<R>(schema: &Schema, columns: &[RecordColumn<R>]) -> SchemaRef {
    let before = schema.fields().iter().map(|field| field.as_ref().clone());
    Arc::new(Schema::new(before.chain(columns.iter().map(RecordColumn::field)).collect::<Vec<_>>()))
}

/// `batch` with these columns after its own: every row has the values of `record`. `schema` is the extended one.
pub(super) fn extend_batch<R>(
    batch: &RecordBatch,
    columns: &[RecordColumn<R>],
    record: &R,
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let added = columns.iter().map(|column| column.array(std::iter::repeat_n(record, batch.num_rows())));
    RecordBatch::try_new(schema.clone(), batch.columns().iter().cloned().chain(added).collect())
}
