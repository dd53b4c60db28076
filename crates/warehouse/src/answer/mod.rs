//! Answers: a question's rows, written out in the form that is asked for.
//!
//! In: one SELECT (or EXPLAIN). Out: rows on a writer, batch by batch: an answer is never held whole.
//! Start at [`Warehouse::ask`].

mod table;

use std::io::{self, Write};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use tokio::time::Instant;

use crate::question::{Advice, advise};
use crate::{Warehouse, WarehouseError};

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnswerFormat {
    /// Columns under one another, for people.
    #[default]
    Table,
    /// Comma-separated with a header line.
    Csv,
    /// An array of objects.
    Json,
    /// A Parquet file.
    Parquet,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The question is wrong, or needs more than it may use.
    #[error("{}", .0.fact)]
    Question(Advice),
    /// It took longer than it may.
    #[error("the question took longer than {} s", .0.as_secs())]
    Timeout(Duration),
    /// The tables cannot be read.
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    /// The answer cannot be written.
    #[error("the answer cannot be written")]
    Write(#[from] io::Error),
}

/// A question's rows, not read yet.
pub struct Answer {
    rows: SendableRecordBatchStream,
    tables: Vec<String>,
    limit: Duration,
    /// When it has taken that long, from the moment it was asked.
    until: Instant,
}

impl Warehouse {
    /// Asks one question of the tables as they are now.
    ///
    /// # Errors
    /// `Question`: with its place and a hint. `Warehouse`: the tables cannot be read.
    /// `Timeout`: planning alone took longer than a question may.
    pub async fn ask(&self, sql: &str) -> Result<Answer, AnswerError> {
        let limit = self.limits().statement_timeout;
        let until = Instant::now() + limit;
        match tokio::time::timeout_at(until, self.planned(sql)).await {
            Ok(planned) => planned.map(|(rows, tables)| Answer { rows, tables, limit, until }),
            Err(_) => Err(AnswerError::Timeout(limit)),
        }
    }

    async fn planned(&self, sql: &str) -> Result<(SendableRecordBatchStream, Vec<String>), AnswerError> {
        let session = self.session().await?;
        let tables = Self::table_names(&session);
        let wrong = |error: DataFusionError| AnswerError::Question(advise(&error, &tables));
        let plan = crate::session::plan(&session, sql).await.map_err(wrong)?;
        let frame = session.execute_logical_plan(plan).await.map_err(wrong)?;
        let rows = frame.execute_stream().await.map_err(wrong)?;
        Ok((rows, tables))
    }
}

impl Answer {
    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// Writes all rows to `out`. How many there were.
    ///
    /// # Errors
    /// `Question`, `Timeout`: part of the rows may have been written. `Write`.
    pub async fn write(self, format: AnswerFormat, out: &mut (dyn Write + Send)) -> Result<u64, AnswerError> {
        let (limit, until) = (self.limit, self.until);
        match tokio::time::timeout_at(until, self.write_all(format, out)).await {
            Ok(result) => result,
            Err(_) => Err(AnswerError::Timeout(limit)),
        }
    }

    async fn write_all(mut self, format: AnswerFormat, out: &mut (dyn Write + Send)) -> Result<u64, AnswerError> {
        let mut sink = Sink::new(format, self.schema(), out)?;
        let mut rows = 0;
        while let Some(batch) = self.rows.next().await {
            let batch = batch.map_err(|error| AnswerError::Question(advise(&error, &self.tables)))?;
            rows += batch.num_rows() as u64;
            sink.write(&batch)?;
        }
        sink.finish()?;
        Ok(rows)
    }
}

enum Sink<'a> {
    Table(table::Table<'a>),
    Csv(Box<arrow::csv::Writer<&'a mut (dyn Write + Send)>>),
    Json(arrow::json::ArrayWriter<&'a mut (dyn Write + Send)>),
    Parquet(Box<ArrowWriter<&'a mut (dyn Write + Send)>>),
}

impl<'a> Sink<'a> {
    fn new(format: AnswerFormat, schema: SchemaRef, out: &'a mut (dyn Write + Send)) -> Result<Self, AnswerError> {
        Ok(match format {
            AnswerFormat::Table => Self::Table(table::Table::new(schema, out)),
            AnswerFormat::Csv => {
                let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(out);
                // The header is there even if no row is.
                writer.write(&arrow::record_batch::RecordBatch::new_empty(schema)).map_err(unwritable)?;
                Self::Csv(Box::new(writer))
            }
            AnswerFormat::Json => Self::Json(arrow::json::WriterBuilder::new().with_explicit_nulls(true).build(out)),
            AnswerFormat::Parquet => {
                let writer = ArrowWriter::try_new(out, schema, None).map_err(|e| unwritable(e.into()))?;
                Self::Parquet(Box::new(writer))
            }
        })
    }

    fn write(&mut self, batch: &arrow::record_batch::RecordBatch) -> Result<(), AnswerError> {
        match self {
            Self::Table(table) => table.write(batch).map_err(unwritable),
            Self::Csv(writer) => writer.write(batch).map_err(unwritable),
            Self::Json(writer) => writer.write(batch).map_err(unwritable),
            Self::Parquet(writer) => writer.write(batch).map_err(|e| unwritable(e.into())),
        }
    }

    fn finish(self) -> Result<(), AnswerError> {
        match self {
            Self::Table(table) => table.finish().map_err(unwritable),
            Self::Csv(_) => Ok(()),
            Self::Json(mut writer) => {
                writer.finish().map_err(unwritable)?;
                writeln!(writer.into_inner())?;
                Ok(())
            }
            Self::Parquet(writer) => writer.close().map(|_| ()).map_err(|e| unwritable(e.into())),
        }
    }
}

fn unwritable(error: ArrowError) -> AnswerError {
    match error {
        ArrowError::IoError(_, error) => AnswerError::Write(error),
        other => AnswerError::Write(io::Error::other(other)),
    }
}
