//! Makes commits of a query's batches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use turnstile_engine::{ClosePolicy, ClosedWindow, Cut, DeadLetter, StateChange};
use turnstile_lake::{NewFile, Slot};
use turnstile_message::{Counters, OffsetRange, PartitionPosition, TopicPartition};
use turnstile_spark::{BatchOffsets, BlockRanges, PartitionOffsets, SparkWindowRows, offsets_of_blocks};
use turnstile_values::{MILLISECOND_US, human};

use super::batches::{FinishedBatches, QueryFolder};
use super::binding::Binding;
use crate::exit::Exit;
use crate::flow::commit::{CommitContext, commit_events, lake_cut, window_file};
use crate::flow::committer::Committer;
use crate::flow::context::Context;
use crate::flow::dead_letter_topic::DeadLetterTopic;
use crate::flow::event::{CommitEvent, Event, Status};
use crate::flow::owner::now_us;
use crate::flow::partition_key::partition_key;
use crate::flow::rejections::describe_dead_letter;
use crate::flow::run_status::RunStatus;
use crate::report::Failure;

/// The messages of batches that are to be published: what became of them.
#[derive(Debug, Default)]
pub(super) struct BatchAccount {
    pub(super) counts: Counters,
    pub(super) rejected: Vec<DeadLetter>,
    /// The latest event time, microseconds since the epoch.
    pub(super) newest_us: Option<i64>,
    /// Bytes that the query's states take.
    pub(super) state_bytes: u64,
}

/// Publishes batches, in their order.
pub(super) struct Publisher {
    context: Context,
    committer: Committer,
    pub(super) folder: QueryFolder,
    pub(super) binding: Binding,
    pub(super) status: RunStatus,
    dead_letters: Option<DeadLetterTopic>,
    /// Ids of the topics, where the cluster gives them.
    topic_ids: BTreeMap<String, String>,
    /// When the last batch was published; at first, when the run began.
    published_at_us: i64,
    /// Files of rows that are published, and since when.
    done: VecDeque<(Instant, Vec<String>)>,
}

impl Publisher {
    /// Publishes what `binding`'s query computes with `committer`, whose newest commit keeps the binding.
    pub(super) fn new(
        context: &Context,
        committer: Committer,
        binding: Binding,
        topic_ids: BTreeMap<String, String>,
        dead_letters: Option<DeadLetterTopic>,
    ) -> Self {
        let newest = committer.newest();
        Self {
            context: context.clone(),
            folder: QueryFolder::of(context, &binding.generation),
            binding,
            status: RunStatus::new(newest.seq, &newest.counters, Instant::now()),
            committer,
            dead_letters,
            topic_ids,
            published_at_us: now_us(),
            done: VecDeque::new(),
        }
    }

    /// The newest commit.
    pub(super) fn newest(&self) -> &Slot {
        self.committer.newest()
    }

    /// The next offset of each partition.
    pub(super) fn positions(&self) -> Vec<(TopicPartition, i64)> {
        self.committer.positions()
    }

    /// Where the messages that are not published begin, by topic and partition.
    pub(super) fn published_until(&self) -> PartitionOffsets {
        let mut next = self.binding.start.clone();
        for position in &self.newest().positions {
            let partition = &position.partition;
            let known = next.entry(partition.topic.to_string()).or_default();
            known.insert(partition.partition, position.next_offset);
        }
        next
    }

    /// The finished batches that come next, if there are any.
    ///
    /// # Errors
    /// As [`QueryFolder::finished`].
    pub(super) async fn finished(&self) -> anyhow::Result<Option<FinishedBatches>> {
        self.folder.finished(self.binding.next_batch, self.binding.files).await
    }

    /// The finished batches that come next, of which the cluster has removed the entries.
    ///
    /// # Errors
    /// As [`QueryFolder::after_gap`].
    pub(super) async fn after_gap(&self) -> anyhow::Result<Option<FinishedBatches>> {
        self.folder.after_gap(self.binding.next_batch, self.binding.files).await
    }

    /// Commits the binding without a batch.
    ///
    /// # Errors
    /// Another writer owns the pipeline, or the store refused for too long.
    pub(super) async fn commit_binding(&mut self, released: bool) -> anyhow::Result<()> {
        let newest = self.newest();
        let cut = cut_of(newest, newest.positions.clone(), newest.counters.clone());
        self.commit(cut, Vec::new(), released).await
    }

    /// Commits finished batches.
    ///
    /// # Errors
    /// The same; the cluster's files contradict each other.
    pub(super) async fn publish(&mut self, batches: FinishedBatches, account: BatchAccount) -> anyhow::Result<()> {
        let rows = self.folder.rows(&batches.files).await?;
        let (from, until) = (self.binding.closed_until_us, batches.offsets.watermark_ms.saturating_mul(MILLISECOND_US));
        if let Some((start, end)) =
            rows.windows().find(|(_, end)| from.is_some_and(|from| *end <= from) || *end > until)
        {
            let range = format!("{} to {}", human::instant(start), human::instant(end));
            return Err(Failure::new(
                Exit::Failed,
                format!("batch {} has rows of the window {range}, which it cannot have", batches.last),
            )
            .cause(anyhow::anyhow!(
                "windows were complete up to {from:?} before it and up to {until} with it, microseconds"
            ))
            .hint("nothing of this batch was published; please report it with the checkpoint's folder")
            .into());
        }
        let newest = self.committer.newest_shared();
        let mut counters = newest.counters.clone();
        counters += account.counts;
        let mut cut = cut_of(&newest, positions(&newest.positions, &batches.offsets), counters);
        // 0: no message was seen before this batch.
        if batches.offsets.watermark_ms > 0 {
            cut.watermark_us = Some(until);
            cut.closed_until_us = until;
            self.binding.closed_until_us = Some(until);
        }
        if let Some((_, end)) = rows.windows().max_by_key(|(_, end)| *end) {
            cut.published_until_us = cut.published_until_us.max(end);
        }
        cut.dead_letters = account.rejected;
        cut.state_bytes = account.state_bytes as usize;
        let pipeline = self.context.pipeline();
        let key = partition_key(pipeline, Some(&newest))?;
        let output = self.context.plan()?.rows_schema();
        let rows = Arc::new(rows);
        let mut files = Vec::new();
        let before = self.binding.published_before_us.unwrap_or(i64::MIN);
        for mut run in rows.runs(pipeline.spark.memory_bytes) {
            // Messages of windows that the embedded engine had published were read again.
            run.retain(|(_, end)| *end > before);
            let (rows, output) = (Arc::clone(&rows), output.clone());
            let read = tokio::task::spawn_blocking(move || rows.read(&run, &output)).await?;
            let read = read.map_err(|error| Failure::of(Exit::Failed, error))?;
            for window in read {
                if window.rows.num_rows() > 0 {
                    files.push(window_file(pipeline, &key, &closed(window, &self.binding.start, &batches.offsets))?);
                }
            }
        }
        self.binding.advance(&batches, account.newest_us, pipeline.query.window.size_us);
        self.commit(cut, files, false).await?;
        self.done.push_back((Instant::now(), batches.files.into_iter().map(|file| file.name).collect()));
        Ok(())
    }

    async fn commit(&mut self, cut: Cut, files: Vec<NewFile>, released: bool) -> anyhow::Result<()> {
        if let Some(topic) = &self.dead_letters {
            topic.send(&cut.dead_letters)?;
        }
        self.status.record_cut(&cut);
        let first_dead_letter = cut.dead_letters.first().map(describe_dead_letter).unwrap_or_default();
        let memory_bytes = cut.state_bytes;
        let commit_context = CommitContext {
            pipeline: self.context.pipeline(),
            live: &[],
            topic_ids: &self.topic_ids,
            newest: self.committer.newest(),
            quiet_closed_at_us: None,
            released,
        };
        let mut commit = lake_cut(cut, &commit_context)?;
        let letters = std::mem::replace(&mut commit.publish, files);
        commit.publish.extend(letters);
        commit.state = vec![self.binding.state()];
        // Spark does not say in which windows.
        commit.excluded = None;
        let news = commit_events(&commit, &first_dead_letter);
        let (read_from_us, cut_at_us) = (self.published_at_us, now_us());
        let committed = self.committer.commit(commit).await?;
        self.published_at_us = now_us();
        self.status.record_commit(&committed, &news);
        let events = self.context.events();
        news.into_iter().for_each(|event| events.emit(event));
        events.emit(Event::Committed(CommitEvent {
            slot: self.committer.newest_shared(),
            read_from_us,
            cut_at_us,
            commit_began_at_us: cut_at_us,
            published_at_us: self.published_at_us,
            open_windows: 0,
            first_open: Vec::new(),
            memory_bytes,
        }));
        for name in &committed.pending {
            events.note(format!("{name} is committed but not published yet; publishing is retried"));
        }
        Ok(())
    }

    /// Takes the files of batches that earlier runs published for those that are to be deleted in time.
    ///
    /// # Errors
    /// As [`QueryFolder::files_before`].
    pub(super) async fn find_done(&mut self) -> anyhow::Result<()> {
        let names = self.folder.files_before(self.binding.next_batch).await?;
        self.done.push_back((Instant::now(), names));
        Ok(())
    }

    /// Deletes the cluster's files of rows that were published longer ago than the pipeline says.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn delete_done(&mut self) -> anyhow::Result<()> {
        let retain = Duration::from_micros(self.context.pipeline().spark.retain_us.max(0) as u64);
        while let Some((_, names)) = self.done.pop_front_if(|(since, _)| since.elapsed() >= retain) {
            self.folder.delete_rows(&names).await?;
        }
        Ok(())
    }

    /// The state of things.
    pub(super) fn give_status(&mut self, now: Instant, lag: Option<u64>) -> Status {
        let read = self.status.committed();
        self.status.give(now, read, lag)
    }

    /// The state of things at the end of the run.
    pub(super) fn into_status(self, lag: Option<u64>) -> Status {
        self.status.into_status(lag)
    }
}

/// A cut that changes nothing but positions and counters.
fn cut_of(newest: &Slot, partitions: Vec<PartitionPosition>, counters: Counters) -> Cut {
    Cut {
        closed: Vec::new(),
        failed: Vec::new(),
        excluded: Vec::new(),
        dead_letters: Vec::new(),
        partitions,
        watermark_us: newest.watermark_us,
        closed_until_us: newest.published_until_us.unwrap_or(i64::MIN),
        published_until_us: newest.published_until_us.unwrap_or(i64::MIN),
        counters,
        state: StateChange::None,
        close: ClosePolicy::Passed,
        more: false,
        open_windows: 0,
        state_bytes: 0,
    }
}

/// The positions after a batch.
fn positions(before: &[PartitionPosition], batch: &BatchOffsets) -> Vec<PartitionPosition> {
    let mut positions: BTreeMap<TopicPartition, PartitionPosition> =
        before.iter().map(|position| (position.partition.clone(), position.clone())).collect();
    for (topic, partitions) in &batch.next {
        for (partition, next) in partitions {
            let partition = TopicPartition::new(topic.as_str(), *partition);
            let known = positions.entry(partition.clone()).or_insert_with(|| PartitionPosition::new(partition, *next));
            if known.next_offset < *next {
                *known = PartitionPosition::new(known.partition.clone(), *next);
            }
        }
    }
    positions.into_values().collect()
}

/// A window as the lake takes it.
fn closed(window: SparkWindowRows, began: &PartitionOffsets, batch: &BatchOffsets) -> ClosedWindow {
    let (start_us, end_us) = window.bounds;
    let sources = sources(&window.blocks, window.messages, began, batch);
    ClosedWindow { start_us, end_us, version: 1, rows: window.rows, messages: window.messages, sources }
}

/// The ranges of offsets that hold a window's messages. Spark tells blocks of offsets: the ranges hold other messages too, and
/// how many of a window's are in which is known only if there is one; 0 says that it is not.
fn sources(blocks: &BlockRanges, messages: u64, began: &PartitionOffsets, batch: &BatchOffsets) -> Vec<OffsetRange> {
    let mut ranges = Vec::new();
    for (topic, partitions) in blocks {
        for (partition, range) in partitions {
            let (first, last) = offsets_of_blocks(*range);
            let of = |offsets: &PartitionOffsets| offsets.get(topic).and_then(|topic| topic.get(partition)).copied();
            // The window may have begun batches ago, but not before the query.
            let first = of(began).map_or(first, |began| first.max(began)).max(0);
            let last = of(&batch.next).map_or(last, |next| last.min(next - 1));
            let partition = TopicPartition::new(topic.as_str(), *partition);
            ranges.push(OffsetRange { partition, first, last, messages: 0 });
        }
    }
    if let [only] = ranges.as_mut_slice() {
        only.messages = messages;
    }
    ranges
}
