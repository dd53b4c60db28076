//! The external table: what the lake's files hold, as the warehouse shows it.

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::CastOptions;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use futures::future::BoxFuture;
use turnstile_lake::{FileEncoding, Slot};

/// What the lake's files of one pipeline hold.
#[derive(Debug, Clone)]
pub struct Source {
    /// The pipeline whose ledger lists the files.
    pub pipeline: String,
    /// The external table's name.
    pub table: String,
    /// Columns of the files, in order, by their names in the files.
    pub files: SchemaRef,
    /// The same columns as they are asked for: names in lower case, as PostgreSQL folds them.
    pub columns: SchemaRef,
    /// The form of files that are written now; older ones may have the other.
    pub format: FileEncoding,
    /// Which column holds the window's first instant.
    pub window_start: Option<usize>,
    /// Which column holds the first instant after the window.
    pub window_end: Option<usize>,
}

/// Columns that cannot be shown.
#[derive(Debug, thiserror::Error)]
#[error("columns {first:?} and {second:?} differ in case only, and SQL cannot tell them apart; rename one with AS")]
pub struct SourceError {
    /// A column of the query.
    pub first: String,
    /// Another one.
    pub second: String,
}

/// Computes the rows of the windows that are open, from the newest slot's state: columns as in the files.
pub type LiveRows = Arc<dyn Fn(Slot) -> BoxFuture<'static, Result<Vec<Live>, String>> + Send + Sync>;

/// An open window as it stands.
#[derive(Debug, Clone)]
pub struct Live {
    /// First instant, microseconds since the epoch, UTC.
    pub start_us: i64,
    /// First instant after it.
    pub end_us: i64,
    /// The watermark that will close it, microseconds since the epoch, UTC.
    pub closes_at_us: i64,
    /// Its rows so far.
    pub rows: RecordBatch,
}

impl Source {
    /// The external table `table` over files with the columns `files`.
    ///
    /// # Errors
    /// Two columns differ in case only.
    pub fn new(pipeline: &str, table: &str, files: SchemaRef, format: FileEncoding) -> Result<Self, SourceError> {
        let columns = in_lower_case(&files);
        for (at, field) in columns.fields().iter().enumerate() {
            if let Some(before) = columns.fields()[..at].iter().position(|other| other.name() == field.name()) {
                let (first, second) = (files.field(before).name().clone(), files.field(at).name().clone());
                return Err(SourceError { first, second });
            }
        }
        Ok(Self {
            pipeline: pipeline.to_owned(),
            table: table.to_ascii_lowercase(),
            files,
            columns,
            format,
            window_start: None,
            window_end: None,
        })
    }

    /// Says which columns are the window itself, so that files are left out by their windows.
    pub fn with_window(mut self, start: Option<usize>, end: Option<usize>) -> Self {
        (self.window_start, self.window_end) = (start, end);
        self
    }

    /// The rows under the names of [`Source::columns`].
    pub(crate) fn renamed(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns: Result<Vec<_>, _> = batch
            .columns()
            .iter()
            .zip(self.columns.fields())
            .map(|(column, field)| exactly(column, field.data_type()))
            .collect();
        RecordBatch::try_new(self.columns.clone(), columns?)
    }
}

/// `column` as `kind`.
///
/// # Errors
/// A value that `kind` cannot hold: it is named, where arrow's own default makes a null of it.
pub(crate) fn exactly(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    arrow::compute::cast_with_options(column, kind, &options)
}

fn in_lower_case(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| Field::new(field.name().to_lowercase(), shown(field), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The type that a column is asked in. An instant is one whatever zone it is labelled with.
fn shown(field: &Field) -> DataType {
    match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Dictionary(_, _) => DataType::Utf8View,
        DataType::Timestamp(_, Some(_)) => instant(),
        other => other.clone(),
    }
}

/// The type of instants: microseconds, UTC.
pub(crate) fn instant() -> DataType {
    DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} over the files of {}", self.table, self.pipeline)
    }
}
