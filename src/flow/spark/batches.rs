//! The folder of a query: which batches it has finished, and what they wrote.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use turnstile_lake::{LedgerError, StoreError};
use turnstile_spark::{
    BatchFiles, BatchOffsets, SinkFile, SinkLog, UnknownFormat, compact_path, offsets_path, sink_path,
};
use turnstile_values::human;

use crate::exit::Exit;
use crate::flow::committer::RETRIES;
use crate::flow::context::Context;
use crate::flow::event::Event;
use crate::flow::fault::ledger_failed;
use crate::report::Failure;

/// The folder of a query: its checkpoint and its rows.
pub(super) struct QueryFolder {
    context: Context,
    /// Below the lake's root.
    path: String,
}

/// Batches that are finished and not published: one, or several of which only the last one's offsets are known.
#[derive(Debug, Default)]
pub(super) struct FinishedBatches {
    /// The first and the last of them.
    pub(super) first: u64,
    pub(super) last: u64,
    /// The files that they wrote.
    pub(super) files: Vec<SinkFile>,
    /// Files that all batches up to the last one wrote.
    pub(super) files_in_all: u64,
    /// Where the last one ends.
    pub(super) offsets: BatchOffsets,
}

impl QueryFolder {
    /// The folder of the pipeline's query.
    pub(super) fn of(context: &Context, generation: &str) -> Self {
        let path = format!("_turnstile/{}/spark/{generation}", context.pipeline().name);
        Self { context: context.clone(), path }
    }

    /// The folder of the rows, as the cluster knows it in `lake`.
    pub(super) fn rows_in(&self, lake: &str) -> String {
        format!("{lake}/{}/rows", self.path)
    }

    /// The folder of the checkpoint, as the cluster knows it in `lake`.
    pub(super) fn checkpoint_in(&self, lake: &str) -> String {
        format!("{lake}/{}/checkpoint", self.path)
    }

    /// The batches from `next` on that can be published together, as few as possible; `None`: there are none yet. The batches
    /// before wrote `files_before` files.
    ///
    /// # Errors
    /// The store does not answer; Spark's logs are not what this release knows.
    pub(super) async fn finished(&self, next: u64, files_before: u64) -> anyhow::Result<Option<FinishedBatches>> {
        let mut found = FinishedBatches { first: next, files_in_all: files_before, ..FinishedBatches::default() };
        let mut batch = next;
        loop {
            let Some(files) = self.files_of(batch, found.files_in_all).await? else { return Ok(None) };
            found.files_in_all += files.len() as u64;
            found.files.extend(files);
            // The cluster forgets the offsets of old batches; those of the newest it keeps.
            if let Some(bytes) = self.read(&format!("checkpoint/{}", offsets_path(batch))).await? {
                found.offsets = BatchOffsets::parse(&bytes).map_err(unknown)?;
                found.last = batch;
                return Ok(Some(found));
            }
            batch += 1;
        }
    }

    /// The files of one batch, when it is finished.
    async fn files_of(&self, batch: u64, files_before: u64) -> anyhow::Result<Option<Vec<SinkFile>>> {
        if let Some(bytes) = self.read(&format!("rows/{}", sink_path(batch))).await? {
            return Ok(Some(SinkLog::parse(&bytes).map_err(unknown)?.files));
        }
        let Some(bytes) = self.read(&format!("rows/{}", compact_path(batch))).await? else { return Ok(None) };
        // It begins with the files of all batches before.
        let mut files = SinkLog::parse(&bytes).map_err(unknown)?.files;
        let before = usize::try_from(files_before)?;
        if files.len() < before {
            let reason = format!("batch {batch} lists {} files, and the batches before it wrote {before}", files.len());
            return Err(self.contradicts(reason));
        }
        Ok(Some(files.split_off(before)))
    }

    /// Refuses if the cluster has finished later batches, but removed what it wrote down of batch `next`.
    ///
    /// # Errors
    /// That, or the store does not answer.
    pub(super) async fn refuse_gap(&self, next: u64) -> anyhow::Result<()> {
        let (lake, folder) = (self.context.lake().await?, format!("{}/rows/_spark_metadata", self.path));
        let names = self.patiently(|| lake.list(&folder, None)).await?;
        let numbers = names.iter().filter_map(|name| {
            let name = name.rsplit('/').next()?;
            name.strip_suffix(".compact").unwrap_or(name).parse::<u64>().ok()
        });
        let numbers: BTreeSet<u64> = numbers.collect();
        match numbers.range(next..).next() {
            Some(later) if *later > next => {
                Err(self.contradicts(format!("batch {later} is there, and batch {next} is not")))
            }
            _ => Ok(()),
        }
    }

    /// The rows that files hold.
    ///
    /// # Errors
    /// The store does not answer; a file is missing, has another size or is not Parquet.
    pub(super) async fn rows(&self, files: &[SinkFile]) -> anyhow::Result<BatchFiles> {
        let mut rows = BatchFiles::default();
        for file in files {
            let name = format!("rows/{}", file.name);
            let bytes = self.read(&name).await?.ok_or_else(|| self.contradicts(format!("{name} is missing")))?;
            if bytes.len() as u64 != file.bytes {
                let reason = format!("{name} has {} bytes instead of {}", bytes.len(), file.bytes);
                return Err(self.contradicts(reason));
            }
            let unreadable = |error: UnknownFormat| self.contradicts(format!("{name}: {error}"));
            let added = tokio::task::spawn_blocking(move || rows.add(bytes).map(|()| rows)).await?;
            rows = added.map_err(unreadable)?;
        }
        Ok(rows)
    }

    /// Deletes files of rows that are published.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn delete_rows(&self, names: &[String]) -> anyhow::Result<()> {
        let names: Vec<String> = names.iter().map(|name| format!("{}/rows/{name}", self.path)).collect();
        let lake = self.context.lake().await?;
        self.patiently(|| lake.delete(&names)).await
    }

    async fn read(&self, name: &str) -> anyhow::Result<Option<Bytes>> {
        let (lake, name) = (self.context.lake().await?, format!("{}/{name}", self.path));
        self.patiently(|| lake.read(&name)).await
    }

    /// Calls again while the store refuses for now, for as long as the pipeline says.
    async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(&self, call: impl Fn() -> F) -> anyhow::Result<T> {
        let retry_for = Duration::from_micros(self.context.pipeline().lake.retry_for_us.max(0) as u64);
        let (began, mut waits) = (Instant::now(), RETRIES.give_up_after(retry_for).waits());
        loop {
            let error = match call().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let wait = waits.next_after(began.elapsed()).filter(|_| error.retriable);
            let Some(wait) = wait else { return Err(ledger_failed(LedgerError::Store(error))) };
            self.context.events().emit(Event::Retried { cause: human::error(&error), wait });
            tokio::select! {
                () = self.context.shutdown().cancelled() => return Err(ledger_failed(LedgerError::Store(error))),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn contradicts(&self, reason: String) -> anyhow::Error {
        Failure::new(Exit::Lake, format!("what Spark wrote in {} cannot be published", self.path))
            .cause(anyhow::anyhow!(reason))
            .hint("has something else written there, or removed files? The batches before are published and stay")
            .into()
    }
}

fn unknown(error: UnknownFormat) -> anyhow::Error {
    Failure::of(Exit::Failed, error).hint("this release knows what Spark 4 writes").into()
}
