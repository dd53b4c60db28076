//! An answer on its way: record batches into rows, as they come.
//!
//! In: a stream of batches. Out: a stream of rows in the client's format, ended by an error where it must.
//! Keeps one batch at a time: a slow client holds the stream back. Start at [`answer`].

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{
    DataType, Field, Schema, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use datafusion::arrow::error::ArrowError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion_postgres::arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch};
use datafusion_postgres::pgwire::api::Type;
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::data::DataRow;
use futures::{Stream, StreamExt, stream};

use crate::sqlstate;

/// The answer to a query: at most `max_rows`, instants in `zone`.
pub(crate) fn answer(
    batches: SendableRecordBatchStream,
    format: &Format,
    zone: &str,
    max_rows: Option<u64>,
) -> PgWireResult<QueryResponse> {
    let schema = Arc::new(in_zone(&batches.schema(), zone));
    let fields = Arc::new(arrow_schema_to_pg_fields(&schema, format, None)?);
    let encoded = Arc::clone(&fields);
    let rows = batches.flat_map(move |batch| {
        let rows = batch.and_then(|batch| Ok(moved(&batch, &schema)?));
        stream::iter(match rows {
            Ok(batch) => Rows::Encoded(Box::new(encode_recordbatch(Arc::clone(&encoded), batch))),
            Err(error) => Rows::Failed(Some(sqlstate::of_engine(&error, None).into_error())),
        })
    });
    // Fused, as a cursor may be asked again after its end.
    Ok(QueryResponse::new(fields, capped(rows, max_rows).fuse()))
}

/// A few rows of text that this server knows by itself.
pub(crate) fn texts(columns: &[&str], rows: Vec<Vec<String>>) -> PgWireResult<QueryResponse> {
    let field = |name: &&str| FieldInfo::new((*name).into(), None, None, Type::TEXT, FieldFormat::Text);
    let fields = Arc::new(columns.iter().map(field).collect::<Vec<_>>());
    let encode = |row: Vec<String>| {
        let mut encoder = DataRowEncoder::new(Arc::clone(&fields));
        row.into_iter().try_for_each(|text| encoder.encode_field(&Some(text)))?;
        Ok(encoder.take_row())
    };
    let rows: Vec<PgWireResult<DataRow>> = rows.into_iter().map(encode).collect();
    Ok(QueryResponse::new(fields, stream::iter(rows)))
}

enum Rows<I> {
    Encoded(I),
    Failed(Option<PgWireError>),
}

impl<I: Iterator<Item = PgWireResult<DataRow>>> Iterator for Rows<I> {
    type Item = PgWireResult<DataRow>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Encoded(rows) => rows.next(),
            Self::Failed(error) => error.take().map(Err),
        }
    }
}

/// The row after the last allowed one is an error, and the stream ends with the first error.
fn capped(
    rows: impl Stream<Item = PgWireResult<DataRow>> + Send + 'static,
    max_rows: Option<u64>,
) -> impl Stream<Item = PgWireResult<DataRow>> + Send + 'static {
    let limit = max_rows.unwrap_or(u64::MAX);
    rows.scan((0_u64, false), move |(count, failed), row| {
        if *failed {
            return std::future::ready(None);
        }
        *count += 1;
        let row = if *count > limit { Err(sqlstate::too_many_rows(limit).into_error()) } else { row };
        *failed = row.is_err();
        std::future::ready(Some(row))
    })
}

fn in_zone(schema: &Schema, zone: &str) -> Schema {
    let moved = |field: &Arc<Field>| match field.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            let data_type = DataType::Timestamp(*unit, Some(zone.into()));
            Arc::new(field.as_ref().clone().with_data_type(data_type))
        }
        _ => Arc::clone(field),
    };
    Schema::new(schema.fields().iter().map(moved).collect::<Vec<_>>())
}

/// The same instants under the zones of `schema`: no value changes.
fn moved(batch: &RecordBatch, schema: &Arc<Schema>) -> Result<RecordBatch, ArrowError> {
    let columns =
        batch.columns().iter().zip(schema.fields()).map(|(column, field)| retagged(column, field.data_type()));
    let options = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect(), &options)
}

fn retagged(column: &ArrayRef, to: &DataType) -> ArrayRef {
    let DataType::Timestamp(unit, Some(zone)) = to else { return Arc::clone(column) };
    match unit {
        TimeUnit::Second => {
            Arc::new(column.as_primitive::<TimestampSecondType>().clone().with_timezone_opt(Some(Arc::clone(zone))))
        }
        TimeUnit::Millisecond => Arc::new(
            column.as_primitive::<TimestampMillisecondType>().clone().with_timezone_opt(Some(Arc::clone(zone))),
        ),
        TimeUnit::Microsecond => Arc::new(
            column.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt(Some(Arc::clone(zone))),
        ),
        TimeUnit::Nanosecond => {
            Arc::new(column.as_primitive::<TimestampNanosecondType>().clone().with_timezone_opt(Some(Arc::clone(zone))))
        }
    }
}
