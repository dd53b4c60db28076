//! Query results: record batches into rows, as they come.
//!
//! In: a stream of batches. Out: a stream of rows in the client's format, ended by the first error.
//! Keeps one batch at a time: a slow client slows the stream down. Start at [`query_response`].

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

/// The response to a query: at most `max_rows`, instants in `zone`.
pub(crate) fn query_response(
    batches: SendableRecordBatchStream,
    format: &Format,
    zone: &str,
    max_rows: Option<u64>,
) -> PgWireResult<QueryResponse> {
    let schema = Arc::new(schema_in_zone(&batches.schema(), zone));
    let fields = Arc::new(arrow_schema_to_pg_fields(&schema, format, None)?);
    let encoded = Arc::clone(&fields);
    let rows = batches.flat_map(move |batch| {
        let rows = batch.and_then(|batch| Ok(batch_in_zone(&batch, &schema)?));
        stream::iter(match rows {
            Ok(batch) => EncodedRows::Encoded(Box::new(encode_recordbatch(Arc::clone(&encoded), batch))),
            Err(error) => EncodedRows::Failed(Some(sqlstate::from_engine(&error, None).into_error())),
        })
    });
    // Fused, as a cursor may be polled again after its end.
    Ok(QueryResponse::new(fields, limit_rows(rows, max_rows).fuse()))
}

/// The response of a few rows of text.
pub(crate) fn text_response(columns: &[&str], rows: Vec<Vec<String>>) -> PgWireResult<QueryResponse> {
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

enum EncodedRows<I> {
    Encoded(I),
    Failed(Option<PgWireError>),
}

impl<I: Iterator<Item = PgWireResult<DataRow>>> Iterator for EncodedRows<I> {
    type Item = PgWireResult<DataRow>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Encoded(rows) => rows.next(),
            Self::Failed(error) => error.take().map(Err),
        }
    }
}

/// The row after the last allowed one is an error, and the stream ends with the first error.
fn limit_rows(
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

fn schema_in_zone(schema: &Schema, zone: &str) -> Schema {
    let with_zone = |field: &Arc<Field>| match field.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            let data_type = DataType::Timestamp(*unit, Some(zone.into()));
            Arc::new(field.as_ref().clone().with_data_type(data_type))
        }
        _ => Arc::clone(field),
    };
    Schema::new(schema.fields().iter().map(with_zone).collect::<Vec<_>>())
}

/// The same instants in the time zones of `schema`: no value changes.
fn batch_in_zone(batch: &RecordBatch, schema: &Arc<Schema>) -> Result<RecordBatch, ArrowError> {
    let columns =
        batch.columns().iter().zip(schema.fields()).map(|(column, field)| column_in_zone(column, field.data_type()));
    let options = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect(), &options)
}

fn column_in_zone(column: &ArrayRef, to: &DataType) -> ArrayRef {
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
