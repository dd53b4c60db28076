//! The folder of a query: which batches it has finished, and what they wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;
use turnstile_lake::{LedgerError, StoreError};
use turnstile_spark::{
    BatchFiles, BatchOffsets, SinkFile, SinkLog, UnknownFormat, compact_path, offsets_path, sink_path,
};

use crate::exit::Exit;
use crate::flow::committer::{RETRIES, wait_to_retry};
use crate::flow::context::Context;
use crate::flow::fault::ledger_failed;
use crate::flow::settings::retry_for;
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
            if let Some(offsets) = self.offsets_of(batch).await? {
                return Ok(Some(FinishedBatches { last: batch, offsets, ..found }));
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

    /// Where a batch ends, once it has begun and as long as the cluster knows it.
    ///
    /// # Errors
    /// The store does not answer; Spark's log is not what this release knows.
    pub(super) async fn offsets_of(&self, batch: u64) -> anyhow::Result<Option<BatchOffsets>> {
        let bytes = self.read(&format!("checkpoint/{}", offsets_path(batch))).await?;
        bytes.map(|bytes| BatchOffsets::parse(&bytes).map_err(unknown)).transpose()
    }

    /// The batches from `next` on, if the cluster has removed what it wrote down of `next` and has the files of all batches up to
    /// a later one; `None`: nothing was removed.
    ///
    /// # Errors
    /// Batches are missing, or the store does not answer.
    pub(super) async fn after_gap(&self, next: u64, files_before: u64) -> anyhow::Result<Option<FinishedBatches>> {
        let later = self.entries().await?.split_off(&next);
        let first = later.first_key_value().map(|(number, compact)| (*number, *compact));
        let Some((last, is_compact)) = first.filter(|(first, _)| *first > next) else { return Ok(None) };
        if !is_compact {
            return Err(self.contradicts(format!("batch {last} is there, and batch {next} is not")));
        }
        let Some(files) = self.files_of(last, files_before).await? else { return Ok(None) };
        let Some(offsets) = self.offsets_of(last).await? else {
            return Err(self.contradicts(format!("the offsets of batch {last} are missing")));
        };
        let files_in_all = files_before + files.len() as u64;
        Ok(Some(FinishedBatches { first: next, last, files, files_in_all, offsets }))
    }

    /// The files that batches before `next` wrote, and that are still there.
    ///
    /// # Errors
    /// The store does not answer; Spark's log is not what this release knows.
    pub(super) async fn files_before(&self, next: u64) -> anyhow::Result<Vec<String>> {
        let (lake, folder) = (self.context.lake().await?, format!("{}/rows", self.path));
        let there = self.patiently(|| lake.list(&folder, None)).await?;
        let there: BTreeSet<&str> = there.iter().filter_map(|name| name.rsplit('/').next()).collect();
        let mut entries = self.entries().await?;
        entries.split_off(&next);
        let from = entries.iter().rev().find(|(_, compact)| **compact).map_or(0, |(number, _)| *number);
        let mut found = Vec::new();
        for (number, compact) in entries.range(from..) {
            let path = if *compact { compact_path(*number) } else { sink_path(*number) };
            let Some(bytes) = self.read(&format!("rows/{path}")).await? else { continue };
            let files = SinkLog::parse(&bytes).map_err(unknown)?.files;
            found.extend(files.into_iter().map(|file| file.name).filter(|name| there.contains(name.as_str())));
        }
        Ok(found)
    }

    /// The batches that the sink's log has an entry of, and whether it is a compact one.
    async fn entries(&self) -> anyhow::Result<BTreeMap<u64, bool>> {
        let (lake, folder) = (self.context.lake().await?, format!("{}/rows/_spark_metadata", self.path));
        let names = self.patiently(|| lake.list(&folder, None)).await?;
        let numbers = names.iter().filter_map(|name| {
            let name = name.rsplit('/').next()?;
            let number = name.strip_suffix(".compact").unwrap_or(name).parse::<u64>().ok()?;
            Some((number, name.ends_with(".compact")))
        });
        Ok(numbers.collect())
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
        // Hadoop's local file system keeps a checksum beside each file.
        let both = names.iter().flat_map(|name| [name.clone(), format!(".{name}.crc")]);
        let names: Vec<String> = both.map(|name| format!("{}/rows/{name}", self.path)).collect();
        let lake = self.context.lake().await?;
        self.patiently(|| lake.delete(&names)).await
    }

    async fn read(&self, name: &str) -> anyhow::Result<Option<Bytes>> {
        let (lake, name) = (self.context.lake().await?, format!("{}/{name}", self.path));
        self.patiently(|| lake.read(&name)).await
    }

    /// Calls again while the store refuses for now, for as long as the pipeline says.
    async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(&self, call: impl Fn() -> F) -> anyhow::Result<T> {
        let retry_for = retry_for(self.context.pipeline());
        let (began, mut waits) = (Instant::now(), RETRIES.give_up_after(retry_for).waits());
        loop {
            let error = match call().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let wait = waits.next_after(began.elapsed()).filter(|_| error.retriable);
            let Some(wait) = wait else { return Err(ledger_failed(LedgerError::Store(error))) };
            if !wait_to_retry(self.context.events(), self.context.shutdown(), &error, wait).await {
                return Err(ledger_failed(LedgerError::Store(error)));
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use turnstile_pipeline::Pipeline;

    use super::*;
    use crate::flow::context::LakeAccess;
    use crate::process::Process;

    /// A folder of a query in a lake below `root`.
    fn folder(root: &Path) -> QueryFolder {
        let text = std::fs::read_to_string("pipelines/mta-stations.toml").unwrap();
        let url = format!("file:{}", root.display());
        let pipeline = Pipeline::from_str_with(&text, "p.toml", &[("lake.url".to_owned(), url)]).unwrap();
        let process = Process::new(tokio::runtime::Handle::current());
        QueryFolder::of(&Context::new(&process, pipeline, root, LakeAccess::Write), "000001")
    }

    fn write(root: &Path, name: &str, text: &str) {
        let file = root.join("_turnstile/mta-stations/spark/000001").join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    fn entry(files: impl IntoIterator<Item = u32>) -> String {
        let line =
            |file: u32| format!("\n{{\"path\":\"file:/x/rows/part-{file}.parquet\",\"size\":1,\"action\":\"add\"}}");
        format!("v1{}", files.into_iter().map(line).collect::<String>())
    }

    fn offsets(root: &Path, batch: u64) {
        let text = format!("v1\n{{\"batchTimestampMs\":5,\"batchWatermarkMs\":{batch}}}\n{{\"t\":{{\"0\":{batch}}}}}");
        write(root, &format!("checkpoint/offsets/{batch}"), &text);
    }

    fn names(found: &FinishedBatches) -> Vec<&str> {
        found.files.iter().map(|file| file.name.as_str()).collect()
    }

    #[tokio::test]
    async fn batches_come_one_by_one_also_from_a_compact_entry() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path());
        assert!(folder.finished(0, 0).await.unwrap().is_none());
        write(dir.path(), "rows/_spark_metadata/0", &entry([0, 1]));
        offsets(dir.path(), 0);
        write(dir.path(), "rows/_spark_metadata/1", &entry([]));
        offsets(dir.path(), 1);
        write(dir.path(), "rows/_spark_metadata/2.compact", &entry([0, 1, 2]));
        offsets(dir.path(), 2);
        let first = folder.finished(0, 0).await.unwrap().unwrap();
        assert_eq!((names(&first), first.last, first.files_in_all), (vec!["part-0.parquet", "part-1.parquet"], 0, 2));
        let second = folder.finished(1, 2).await.unwrap().unwrap();
        assert_eq!((names(&second), second.files_in_all, second.offsets.watermark_ms), (vec![], 2, 1));
        let third = folder.finished(2, 2).await.unwrap().unwrap();
        assert_eq!((names(&third), third.files_in_all), (vec!["part-2.parquet"], 3));
        assert!(folder.finished(3, 3).await.unwrap().is_none());
        let error = folder.finished(2, 9).await.unwrap_err();
        assert!(format!("{error:#}").contains("cannot be published"), "{error:#}");
    }

    #[tokio::test]
    async fn a_batch_whose_offsets_the_cluster_forgot_is_published_with_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path());
        write(dir.path(), "rows/_spark_metadata/4", &entry([7]));
        write(dir.path(), "rows/_spark_metadata/5", &entry([8]));
        assert!(folder.finished(4, 7).await.unwrap().is_none());
        offsets(dir.path(), 5);
        let both = folder.finished(4, 7).await.unwrap().unwrap();
        assert_eq!((names(&both), both.first, both.last), (vec!["part-7.parquet", "part-8.parquet"], 4, 5));
    }

    #[tokio::test]
    async fn a_batch_that_was_removed_and_a_file_that_changed_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path());
        write(dir.path(), "rows/_spark_metadata/3", &entry([3]));
        assert_eq!(folder.files_before(9).await.unwrap(), [""; 0]);
        assert!(folder.after_gap(3, 0).await.unwrap().is_none());
        assert!(folder.after_gap(4, 0).await.unwrap().is_none());
        let error = folder.after_gap(2, 0).await.unwrap_err();
        assert!(format!("{error:#}").contains("Spark wrote"), "{error:#}");
        let listed = SinkLog::parse(entry([3]).as_bytes()).unwrap().files;
        assert!(folder.rows(&listed).await.is_err(), "the file is missing");
        write(dir.path(), "rows/part-3.parquet", "xx");
        assert!(folder.rows(&listed).await.is_err(), "it is longer");
        write(dir.path(), "rows/part-3.parquet", "x");
        assert_eq!(folder.files_before(4).await.unwrap(), ["part-3.parquet"]);
        assert_eq!(folder.files_before(3).await.unwrap(), [""; 0], "they are not published");
        assert!(folder.rows(&listed).await.is_err(), "it is not Parquet");
    }

    #[tokio::test]
    async fn entries_that_the_cluster_removed_are_in_the_compact_one_after_them() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path());
        write(dir.path(), "rows/_spark_metadata/9.compact", &entry(0..6));
        write(dir.path(), "rows/_spark_metadata/10", &entry([6]));
        offsets(dir.path(), 9);
        assert!(folder.finished(4, 3).await.unwrap().is_none());
        let found = folder.after_gap(4, 3).await.unwrap().unwrap();
        assert_eq!((found.first, found.last, found.files_in_all), (4, 9, 6));
        assert_eq!(names(&found), ["part-3.parquet", "part-4.parquet", "part-5.parquet"]);
    }
}
