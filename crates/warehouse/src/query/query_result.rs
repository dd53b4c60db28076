//! A query's rows, written out in the requested form.

use std::io::{self, Write};
use std::time::Duration;

use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use tokio::time::Instant;
use turnstile_lake::portable_schema;

use super::query_hint::{QueryHint, explain_error};
use super::result_table::ResultTable;
use super::text_rows::{TextColumn, TextRows};
use crate::error::WarehouseError;
use crate::replaced::{SNAPSHOTS_TRIED, is_replaced};
use crate::warehouse::Warehouse;

/// The form of a query result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueryResultFormat {
    /// Aligned columns, for people.
    #[default]
    Table,
    /// Comma-separated with a header line.
    Csv,
    /// An array of objects.
    Json,
    /// A Parquet file.
    Parquet,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The query is wrong, or needs more than it may use.
    #[error("{}", .hint.fact)]
    Query {
        /// What is wrong, for a person.
        hint: QueryHint,
        /// What the query engine reported.
        source: Box<DataFusionError>,
    },
    /// It took longer than it may.
    #[error("the query took longer than {} s", .0.as_secs())]
    Timeout(Duration),
    /// The tables cannot be read.
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    /// The result cannot be written.
    #[error("the result cannot be written")]
    Write(#[from] io::Error),
}

/// A query's rows, not read yet.
pub struct QueryResult {
    rows: SendableRecordBatchStream,
    tables: Vec<String>,
    limit: Duration,
    /// The deadline: `limit` after the query was sent.
    until: Instant,
}

impl QueryError {
    fn explained(error: DataFusionError, tables: &[String]) -> Self {
        Self::Query { hint: explain_error(&error, tables), source: Box::new(error) }
    }
}

impl Warehouse {
    /// Runs one query over the tables as they are now.
    ///
    /// # Errors
    /// `Query`: with its position and a hint. `Warehouse`: the tables cannot be read.
    /// `Timeout`: planning alone took longer than a query may.
    pub async fn query(&self, sql: &str) -> Result<QueryResult, QueryError> {
        let limit = self.limits().statement_timeout;
        let until = Instant::now() + limit;
        match tokio::time::timeout_at(until, self.start_query(sql)).await {
            Ok(started) => started.map(|(rows, tables)| QueryResult { rows, tables, limit, until }),
            Err(_) => Err(QueryError::Timeout(limit)),
        }
    }

    async fn start_query(&self, sql: &str) -> Result<(SendableRecordBatchStream, Vec<String>), QueryError> {
        let mut left = SNAPSHOTS_TRIED;
        loop {
            left -= 1;
            let session = self.session().await?;
            let tables = Self::table_names(&session);
            match start(&session, sql).await {
                Ok(rows) => return Ok((rows, tables)),
                Err(error) if left > 0 && is_replaced(&error) => {}
                Err(error) => return Err(QueryError::explained(error, &tables)),
            }
        }
    }
}

/// Plans and starts a query; no row is read.
async fn start(session: &SessionContext, sql: &str) -> DataFusionResult<SendableRecordBatchStream> {
    let plan = crate::session::plan(session, sql).await?;
    session.execute_logical_plan(plan).await?.execute_stream().await
}

impl QueryResult {
    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// Writes all rows to `out` and returns their number.
    ///
    /// # Errors
    /// `Query`, `Timeout`: part of the rows may have been written. `Write`.
    pub async fn write(self, format: QueryResultFormat, out: &mut (dyn Write + Send)) -> Result<u64, QueryError> {
        let (limit, until) = (self.limit, self.until);
        match tokio::time::timeout_at(until, self.write_all(format, out)).await {
            Ok(result) => result,
            Err(_) => Err(QueryError::Timeout(limit)),
        }
    }

    /// The first rows as text: `max_rows` of them, and `max_bytes` of text, at most. The query ends there.
    ///
    /// # Errors
    /// `Query`, `Timeout`, `Write`: a value has no text.
    pub async fn text_rows(self, max_rows: usize, max_bytes: usize) -> Result<TextRows, QueryError> {
        let (limit, until) = (self.limit, self.until);
        match tokio::time::timeout_at(until, self.collect_text(max_rows, max_bytes)).await {
            Ok(result) => result,
            Err(_) => Err(QueryError::Timeout(limit)),
        }
    }

    async fn collect_text(mut self, max_rows: usize, max_bytes: usize) -> Result<TextRows, QueryError> {
        let columns = self.schema().fields().iter().map(|field| TextColumn::of(field)).collect();
        let (mut rows, mut room) = (TextRows { columns, ..TextRows::default() }, max_bytes);
        while let Some(batch) = self.rows.next().await {
            let batch = batch.map_err(|error| QueryError::explained(error, &self.tables))?;
            room = rows.extend(&batch, max_rows, room).map_err(unwritable)?;
            if rows.truncated {
                break;
            }
        }
        Ok(rows)
    }

    async fn write_all(mut self, format: QueryResultFormat, out: &mut (dyn Write + Send)) -> Result<u64, QueryError> {
        let mut sink = RowWriter::new(format, self.schema(), out)?;
        let mut rows = 0;
        while let Some(batch) = self.rows.next().await {
            let batch = batch.map_err(|error| QueryError::explained(error, &self.tables))?;
            rows += batch.num_rows() as u64;
            sink.write(&batch)?;
        }
        sink.finish()?;
        Ok(rows)
    }
}

enum RowWriter<'a> {
    Table(ResultTable<'a>),
    Csv(Box<arrow::csv::Writer<&'a mut (dyn Write + Send)>>),
    Json(arrow::json::ArrayWriter<&'a mut (dyn Write + Send)>),
    Parquet(SchemaRef, Box<ArrowWriter<&'a mut (dyn Write + Send)>>),
}

impl<'a> RowWriter<'a> {
    fn new(format: QueryResultFormat, schema: SchemaRef, out: &'a mut (dyn Write + Send)) -> Result<Self, QueryError> {
        Ok(match format {
            QueryResultFormat::Table => Self::Table(ResultTable::new(schema, out)),
            QueryResultFormat::Csv => {
                let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(out);
                // The header is there even if no row is.
                writer.write(&RecordBatch::new_empty(schema)).map_err(unwritable)?;
                Self::Csv(Box::new(writer))
            }
            QueryResultFormat::Json => {
                Self::Json(arrow::json::WriterBuilder::new().with_explicit_nulls(true).build(out))
            }
            QueryResultFormat::Parquet => {
                let schema = portable_schema(&schema);
                let writer = ArrowWriter::try_new(out, schema.clone(), None).map_err(|e| unwritable(e.into()))?;
                Self::Parquet(schema, Box::new(writer))
            }
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        match self {
            Self::Table(table) => table.write(batch).map_err(unwritable),
            Self::Csv(writer) => writer.write(batch).map_err(unwritable),
            Self::Json(writer) => writer.write(batch).map_err(unwritable),
            Self::Parquet(schema, writer) => {
                let columns = batch.columns().iter().zip(schema.fields());
                let columns = columns.map(|(column, field)| cast(column, field.data_type()));
                let columns = columns.collect::<Result<Vec<_>, _>>().map_err(unwritable)?;
                let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &rows).map_err(unwritable)?;
                writer.write(&batch).map_err(|e| unwritable(e.into()))
            }
        }
    }

    fn finish(self) -> Result<(), QueryError> {
        match self {
            Self::Table(table) => table.finish().map_err(unwritable),
            Self::Csv(_) => Ok(()),
            Self::Json(mut writer) => {
                writer.finish().map_err(unwritable)?;
                writeln!(writer.into_inner())?;
                Ok(())
            }
            Self::Parquet(_, writer) => writer.close().map(|_| ()).map_err(|e| unwritable(e.into())),
        }
    }
}

fn unwritable(error: ArrowError) -> QueryError {
    match error {
        ArrowError::IoError(_, error) => QueryError::Write(error),
        other => QueryError::Write(io::Error::other(other)),
    }
}
