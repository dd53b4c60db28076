//! The external table: the rows of the lake's files, as the warehouse shows them.

use std::error::Error;
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
pub struct WarehouseSource {
    /// The pipeline whose ledger lists the files.
    pub pipeline: String,
    /// The external table's name.
    pub table: String,
    /// Columns of the files, in order, by their names in the files.
    pub files: SchemaRef,
    /// The same columns as queries see them: names in lower case, as PostgreSQL folds them.
    pub columns: SchemaRef,
    /// The form of files that are written now; older ones may have the other.
    pub format: FileEncoding,
    /// Which column holds the window's first instant.
    pub window_start: Option<usize>,
    /// Which column holds the first instant after the window.
    pub window_end: Option<usize>,
}

/// Columns that SQL cannot tell apart.
#[derive(Debug, thiserror::Error)]
#[error("columns {first:?} and {second:?} differ in case only, which SQL ignores; rename one with AS")]
pub struct SourceError {
    /// A column of the query.
    pub first: String,
    /// Another one.
    pub second: String,
}

/// Computes the rows of the windows that are open, from the newest slot's state: columns as in the files.
pub type LiveRows = Arc<dyn Fn(Slot) -> BoxFuture<'static, Result<Vec<LiveWindow>, LiveRowsError>> + Send + Sync>;

/// The open windows' rows could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum LiveRowsError {
    /// What they are computed from was deleted, because a newer commit replaced it. A newer session has the newer.
    #[error("newer commits replaced the open windows each time that they were read")]
    Replaced,
    /// Computing them failed.
    #[error("the open windows cannot be computed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

/// An open window as it stands.
#[derive(Debug, Clone)]
pub struct LiveWindow {
    /// First instant, microseconds since the epoch, UTC.
    pub start_us: i64,
    /// First instant after it.
    pub end_us: i64,
    /// The watermark that will close it, microseconds since the epoch, UTC.
    pub closes_at_us: i64,
    /// Its rows so far.
    pub rows: RecordBatch,
}

impl WarehouseSource {
    /// The external table `table` over files with the columns `files`.
    ///
    /// # Errors
    /// Two columns differ in case only.
    pub fn new(pipeline: &str, table: &str, files: SchemaRef, format: FileEncoding) -> Result<Self, SourceError> {
        let columns = to_lower_case(&files);
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

    /// Sets the columns that hold the window's bounds, so that files are pruned by their windows.
    pub fn with_window(mut self, start: Option<usize>, end: Option<usize>) -> Self {
        (self.window_start, self.window_end) = (start, end);
        self
    }

    /// The name of the table of all versions.
    pub fn history_table(&self) -> String {
        history_table(&self.table)
    }

    /// The name of the table of open windows.
    pub(crate) fn live_table(&self) -> String {
        live_table(&self.table)
    }

    /// The rows under the names of [`WarehouseSource::columns`].
    pub(crate) fn rename_columns(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns: Result<Vec<_>, _> = batch
            .columns()
            .iter()
            .zip(self.columns.fields())
            .map(|(column, field)| cast_exactly(column, field.data_type()))
            .collect();
        RecordBatch::try_new(self.columns.clone(), columns?)
    }
}

/// The name of the table of all versions of `external`.
pub(crate) fn history_table(external: &str) -> String {
    format!("{external}_history")
}

/// The name of the table of open windows: `ext_turnstile` has `live_turnstile`.
pub(crate) fn live_table(external: &str) -> String {
    format!("live_{}", external.strip_prefix("ext_").unwrap_or(external))
}

/// `column` as `kind`.
///
/// # Errors
/// A value that `kind` cannot hold: the error names it, where arrow's default makes it null.
pub(crate) fn cast_exactly(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    arrow::compute::cast_with_options(column, kind, &options)
}

fn to_lower_case(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| Field::new(field.name().to_lowercase(), query_type(field), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The type that queries see. An instant is the same whatever zone it is labelled with.
fn query_type(field: &Field) -> DataType {
    match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Dictionary(_, _) => DataType::Utf8View,
        DataType::Timestamp(_, Some(_)) => timestamp_type(),
        other => other.clone(),
    }
}

/// The type of instants: microseconds, UTC.
pub(crate) fn timestamp_type() -> DataType {
    DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()))
}

impl fmt::Display for WarehouseSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} over the files of {}", self.table, self.pipeline)
    }
}
