//! The ledger as tables: files, offset ranges, dead letters, conservation.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use tokio::sync::Notify;
use turnstile_lake::{CommitRecord, DeadLetterError, DeadLetterReader, Lake, dead_letter_files, for_each_commit};

use super::ledger_columns::{CONSERVATION, DEAD_LETTERS, DeadLetterRow, FILES, OFFSETS, files_of, offsets_of};
use super::record_column::{RecordColumn, batch_of, schema_of};
use crate::error::WarehouseError;

/// Rows per batch.
const BATCH_ROWS: usize = 4096;

/// Batches that wait for the query.
const BATCHES_AHEAD: usize = 2;

/// `_turnstile.windows`: the state of each window, over `_turnstile.files`.
pub(crate) const WINDOWS_VIEW: &str = "\
SELECT window_start, window_end, max(version) AS versions, last_value(rows ORDER BY version) AS rows, \
last_value(messages ORDER BY version) AS messages, last_value(name ORDER BY version) AS file, \
min(committed_at) AS first_published_at, max(committed_at) AS last_published_at \
FROM _turnstile.files WHERE kind = 'window' GROUP BY window_start, window_end";

/// One of the ledger's tables, up to one commit. Read from the ledger each time; memory does not grow with its length.
#[derive(Clone)]
pub(crate) struct LedgerTable {
    lake: Lake,
    pipeline: String,
    until: u64,
    kind: LedgerTableKind,
    schema: SchemaRef,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LedgerTableKind {
    Files,
    Offsets,
    Conservation,
    DeadLetters,
}

const TABLES: [(&str, LedgerTableKind); 4] = [
    ("files", LedgerTableKind::Files),
    ("offsets", LedgerTableKind::Offsets),
    ("conservation", LedgerTableKind::Conservation),
    ("dead_letters", LedgerTableKind::DeadLetters),
];

impl LedgerTable {
    /// The tables with their names, as of commit `until`.
    pub(crate) fn all(lake: &Lake, pipeline: &str, until: u64) -> Vec<(&'static str, Self)> {
        let table = |kind: LedgerTableKind| {
            let (lake, pipeline, schema) = (lake.clone(), pipeline.to_owned(), kind.schema());
            Self { lake, pipeline, until, kind, schema }
        };
        TABLES.into_iter().map(|(name, kind)| (name, table(kind))).collect()
    }

    /// The tables' names and columns.
    pub(super) fn schemas() -> impl Iterator<Item = (&'static str, SchemaRef)> {
        TABLES.into_iter().map(|(name, kind)| (name, kind.schema()))
    }
}

impl LedgerTableKind {
    fn schema(self) -> SchemaRef {
        match self {
            Self::Files => schema_of(&FILES),
            Self::Offsets => schema_of(&OFFSETS),
            Self::Conservation => schema_of(&CONSERVATION),
            Self::DeadLetters => schema_of(&DEAD_LETTERS),
        }
    }
}

impl fmt::Debug for LedgerTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of the ledger up to {}", self.kind, self.until)
    }
}

#[async_trait]
impl TableProvider for LedgerTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let partitions = vec![Arc::new(self.clone()) as _];
        let plan = StreamingTableExec::try_new(self.schema.clone(), partitions, projection, None, false, limit)?;
        Ok(Arc::new(plan))
    }
}

impl PartitionStream for LedgerTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStream::builder(self.schema.clone(), BATCHES_AHEAD);
        let (send, table) = (stream.tx(), self.clone());
        let runtime = tokio::runtime::Handle::current();
        // The walk emits commit by commit and cannot wait: it runs on a blocking thread. Within it nothing of
        // tokio's may block, so that batches take a plain channel to where one may.
        let (walked, batches) = sync_channel::<RecordBatch>(BATCHES_AHEAD);
        stream.spawn_blocking(move || runtime.block_on(table.send_rows(walked)).map_err(DataFusionError::from));
        stream.spawn_blocking(move || {
            // A query with enough rows drops the receiver; the walk ends at its next batch.
            for batch in batches {
                if send.blocking_send(Ok(batch)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        stream.build()
    }
}

impl LedgerTable {
    /// Sends all rows, or as many as the query takes.
    async fn send_rows(&self, batches: SyncSender<RecordBatch>) -> std::result::Result<(), WarehouseError> {
        match self.kind {
            LedgerTableKind::Files => self.send_commits(RowBatches::new(&FILES, batches), files_of).await,
            LedgerTableKind::Offsets => self.send_commits(RowBatches::new(&OFFSETS, batches), offsets_of).await,
            LedgerTableKind::Conservation => {
                self.send_commits(RowBatches::new(&CONSERVATION, batches), |commit| vec![commit]).await
            }
            LedgerTableKind::DeadLetters => self.send_dead_letters(RowBatches::new(&DEAD_LETTERS, batches)).await,
        }
    }

    /// Sends the rows that `rows_of` returns for each commit.
    async fn send_commits<R: 'static>(
        &self,
        mut rows: RowBatches<R>,
        rows_of: fn(Arc<CommitRecord>) -> Vec<R>,
    ) -> std::result::Result<(), WarehouseError> {
        let enough = Notify::new();
        let walk = for_each_commit(&self.lake, &self.pipeline, |commit| {
            if commit.seq <= self.until && !rows.extend(rows_of(Arc::new(commit))) {
                enough.notify_one();
            }
        });
        tokio::select! {
            biased;
            () = enough.notified() => return Ok(()),
            walked = walk => walked.map(drop)?,
        }
        rows.finish();
        Ok(())
    }

    async fn send_dead_letters(&self, mut rows: RowBatches<DeadLetterRow>) -> std::result::Result<(), WarehouseError> {
        let files = dead_letter_files(&self.lake, &self.pipeline).await?;
        let mut reader = DeadLetterReader::new(&self.lake);
        for published in files.into_iter().filter(|published| published.seq <= self.until) {
            let file: Arc<str> = Arc::from(published.file.name.as_str());
            let letters = match reader.read(&published).await {
                Ok(Some(letters)) => letters,
                // Retention has deleted it.
                Ok(None) => continue,
                Err(DeadLetterError::Store(error)) => return Err(error.into()),
                Err(error) => return Err(WarehouseError::unreadable(&file, "cannot be read", error)),
            };
            if !rows.extend(letters.into_iter().map(|letter| DeadLetterRow { letter, file: file.clone() })) {
                return Ok(());
            }
        }
        rows.finish();
        Ok(())
    }
}

/// Rows on their way to the query, in batches.
struct RowBatches<R: 'static> {
    columns: &'static [RecordColumn<R>],
    rows: Vec<R>,
    batches: SyncSender<RecordBatch>,
}

impl<R: 'static> RowBatches<R> {
    fn new(columns: &'static [RecordColumn<R>], batches: SyncSender<RecordBatch>) -> Self {
        Self { columns, rows: Vec::new(), batches }
    }

    /// Adds rows and sends each full batch. Whether the query wants more.
    fn extend(&mut self, rows: impl IntoIterator<Item = R>) -> bool {
        self.rows.extend(rows);
        self.rows.len() < BATCH_ROWS || self.send()
    }

    /// Sends what is left.
    fn finish(mut self) {
        // A query that has enough needs no more.
        let _ = self.send();
    }

    fn send(&mut self) -> bool {
        let rows = std::mem::take(&mut self.rows);
        self.batches.send(batch_of(self.columns, &rows)).is_ok()
    }
}
