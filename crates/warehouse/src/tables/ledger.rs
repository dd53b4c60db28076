//! The ledger as tables: files, offset ranges, dead letters, conservation.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use arrow::array::{ArrayRef, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use turnstile_lake::{CommitRecord, FileEntry, FileKind, Lake, OwnedDeadLetter, for_each_commit};

use tokio::sync::Notify;

use crate::WarehouseError;
use crate::scan::external;

/// Rows a batch.
const BATCH_ROWS: usize = 4096;

/// Batches that wait for the query.
const BATCHES_AHEAD: usize = 2;

/// `_turnstile.windows`: what became of each window, over `_turnstile.files`.
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
    what: What,
    schema: SchemaRef,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Files,
    Offsets,
    Conservation,
    DeadLetters,
}

const TABLES: [(&str, What); 4] = [
    ("files", What::Files),
    ("offsets", What::Offsets),
    ("conservation", What::Conservation),
    ("dead_letters", What::DeadLetters),
];

impl LedgerTable {
    /// The tables with their names, as of commit `until`.
    pub(crate) fn all(lake: &Lake, pipeline: &str, until: u64) -> Vec<(&'static str, Self)> {
        let table = |what| {
            let schema = Rows::new(what).batch().schema();
            Self { lake: lake.clone(), pipeline: pipeline.to_owned(), until, what, schema }
        };
        TABLES.into_iter().map(|(name, what)| (name, table(what))).collect()
    }

    /// The tables' names and columns.
    pub(super) fn schemas() -> impl Iterator<Item = (&'static str, SchemaRef)> {
        TABLES.into_iter().map(|(name, what)| (name, Rows::new(what).batch().schema()))
    }
}

impl fmt::Debug for LedgerTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of the ledger up to {}", self.what, self.until)
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
        // The walk hands over commit by commit and cannot wait itself: it has a thread of its own. Within it nothing of
        // tokio's may block, so that batches take a plain channel to where one may.
        let (walked, batches) = sync_channel::<RecordBatch>(BATCHES_AHEAD);
        stream.spawn_blocking(move || runtime.block_on(table.walk(walked)).map_err(external));
        stream.spawn_blocking(move || {
            // A query that has enough lets go; the walk notices at its next batch, and ends.
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
    /// Hands over all rows, or as many as somebody takes.
    async fn walk(&self, batches: SyncSender<RecordBatch>) -> std::result::Result<(), WarehouseError> {
        let mut rows = Rows::new(self.what);
        let mut letters: Vec<String> = Vec::new();
        let enough = Notify::new();
        let walk = for_each_commit(&self.lake, &self.pipeline, |commit| {
            if commit.seq > self.until {
                return;
            }
            if self.what == What::DeadLetters {
                let files = commit.files.into_iter().filter(|file| file.kind == FileKind::DeadLetters);
                letters.extend(files.map(|file| file.name));
                return;
            }
            rows.take(&commit);
            if rows.len() >= BATCH_ROWS && batches.send(rows.batch()).is_err() {
                enough.notify_one();
            }
        });
        tokio::select! {
            biased;
            () = enough.notified() => return Ok(()),
            walked = walk => walked.map(drop)?,
        }
        for name in letters {
            // Retention may have taken it.
            let Some(bytes) = self.lake.read(&name).await? else { continue };
            let read = turnstile_lake::decode_dead_letters(&bytes)
                .map_err(|e| WarehouseError::File { name: name.clone(), reason: format!("cannot be read: {e}") })?;
            for letter in read {
                rows.letter(&letter, &name);
                if rows.len() >= BATCH_ROWS && batches.send(rows.batch()).is_err() {
                    return Ok(());
                }
            }
        }
        // Who has enough needs no more.
        let _ = batches.send(rows.batch());
        Ok(())
    }
}

/// A value of a ledger's table.
enum Value {
    Text(Option<String>),
    Number(Option<i64>),
    Instant(Option<i64>),
}

fn text(value: impl Into<String>) -> Value {
    Value::Text(Some(value.into()))
}

fn number(value: u64) -> Value {
    Value::Number(Some(value as i64))
}

/// Rows of one of the tables, being collected.
struct Rows {
    what: What,
    rows: Vec<Vec<Value>>,
}

impl Rows {
    fn new(what: What) -> Self {
        Self { what, rows: Vec::new() }
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn names(&self) -> &'static [&'static str] {
        match self.what {
            What::Files => &[
                "name",
                "kind",
                "window_start",
                "window_end",
                "version",
                "rows",
                "bytes",
                "messages",
                "sha256",
                "seq",
                "epoch",
                "host",
                "committed_at",
            ],
            What::Offsets => &["file", "topic", "partition", "first_offset", "last_offset", "messages"],
            What::Conservation => &[
                "seq",
                "committed_at",
                "read",
                "aggregated",
                "filtered",
                "duplicate",
                "late",
                "dead_lettered",
                "tombstones",
                "difference",
            ],
            What::DeadLetters => {
                &["topic", "partition", "offset", "timestamp", "reason", "field", "key", "value", "file"]
            }
        }
    }

    fn take(&mut self, commit: &CommitRecord) {
        match self.what {
            What::Files => commit.files.iter().for_each(|entry| self.rows.push(file(commit, entry))),
            What::Offsets => commit.files.iter().for_each(|file| self.rows.extend(offsets(file))),
            What::Conservation => self.rows.push(conservation(commit)),
            What::DeadLetters => {}
        }
    }

    fn letter(&mut self, letter: &OwnedDeadLetter, file: &str) {
        let bytes = |bytes: &Option<Vec<u8>>| {
            Value::Text(bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
        };
        self.rows.push(vec![
            text(&*letter.position.partition.topic),
            Value::Number(Some(letter.position.partition.partition.into())),
            Value::Number(Some(letter.position.offset)),
            Value::Instant(Some(letter.timestamp_ms * 1000)),
            text(letter.reason.clone()),
            Value::Text(letter.field.clone()),
            bytes(&letter.key),
            bytes(&letter.value),
            text(file),
        ]);
    }

    /// What is collected, which is none any more.
    fn batch(&mut self) -> RecordBatch {
        let rows = std::mem::take(&mut self.rows);
        let columns = self.names().iter().enumerate().map(|(at, name)| (*name, column(&rows, at, name), true));
        RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length")
    }
}

/// The column's type follows from its name, so that a table without rows has the same one.
fn column(rows: &[Vec<Value>], at: usize, name: &str) -> ArrayRef {
    const INSTANTS: [&str; 4] = ["window_start", "window_end", "committed_at", "timestamp"];
    const TEXTS: [&str; 10] = ["name", "kind", "sha256", "host", "file", "topic", "reason", "field", "key", "value"];
    if INSTANTS.contains(&name) {
        let values = rows.iter().map(|row| if let Value::Instant(us) = row[at] { us } else { None });
        Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    } else if TEXTS.contains(&name) {
        let values = rows.iter().map(|row| if let Value::Text(text) = &row[at] { text.as_deref() } else { None });
        Arc::new(values.collect::<StringViewArray>())
    } else {
        let values = rows.iter().map(|row| if let Value::Number(n) = row[at] { n } else { None });
        Arc::new(values.collect::<Int64Array>())
    }
}

fn file(commit: &CommitRecord, file: &FileEntry) -> Vec<Value> {
    let (kind, start, end, version) = match file.kind {
        FileKind::Window { start_us, end_us, version } => {
            ("window", Some(start_us), Some(end_us), Some(version.into()))
        }
        FileKind::DeadLetters => ("dead_letters", None, None, None),
    };
    vec![
        text(file.name.clone()),
        text(kind),
        Value::Instant(start),
        Value::Instant(end),
        Value::Number(version),
        number(file.rows),
        number(file.bytes),
        number(file.sources.iter().map(|range| range.messages).sum()),
        text(file.sha256.to_string()),
        number(commit.seq),
        number(commit.epoch),
        text(commit.host.clone()),
        Value::Instant(Some(commit.committed_at_us)),
    ]
}

fn offsets(file: &FileEntry) -> impl Iterator<Item = Vec<Value>> {
    file.sources.iter().map(|range| {
        vec![
            text(file.name.clone()),
            text(&*range.partition.topic),
            Value::Number(Some(range.partition.partition.into())),
            Value::Number(Some(range.first)),
            Value::Number(Some(range.last)),
            number(range.messages),
        ]
    })
}

fn conservation(commit: &CommitRecord) -> Vec<Value> {
    let c = &commit.counters;
    let terms = [c.aggregated, c.filtered, c.duplicate, c.late, c.dead_lettered, c.tombstones];
    let difference = c.read as i64 - terms.iter().sum::<u64>() as i64;
    let mut row = vec![number(commit.seq), Value::Instant(Some(commit.committed_at_us)), number(c.read)];
    row.extend(terms.map(number));
    row.push(Value::Number(Some(difference)));
    row
}
