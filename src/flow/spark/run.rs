//! The loop of a run on Spark: asks how the query is, publishes what it has finished, starts it again when it failed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use turnstile_engine::DeadLetter;
use turnstile_kafka::ClientSettings;
use turnstile_lake::Slot;
use turnstile_message::{Counters, PartitionPosition, TopicPartition};
use turnstile_pipeline::{DedupSettings, LatePolicy};
use turnstile_spark::{BatchProgress, PartitionOffsets, SparkAddress, SparkError, StreamTrigger, asked_schema};
use turnstile_values::{MILLISECOND_US, RetryPolicy, human};

use super::batches::FinishedBatches;
use super::binding::{Binding, StartedQuery, is_of_spark};
use super::cluster::{Cluster, QueryCondition, QueryRecipe};
use super::counts::{counts_of, counts_of_range};
use super::publisher::{BatchAccount, Publisher};
use super::range_account::{Question, RangeAccount, ask};
use super::schemas::{QuerySchemas, ids_in};
use super::source;
use crate::exit::Exit;
use crate::flow::committer::Committer;
use crate::flow::context::Context;
use crate::flow::dead_letter_topic::DeadLetterTopic;
use crate::flow::event::{Event, PartitionProgress, Status};
use crate::flow::fault::{ledger_failed, spark_failed};
use crate::flow::maintenance::Maintenance;
use crate::flow::observer::Observer;
use crate::flow::rejections::note_of_earlier;
use crate::flow::run_options::{OnStop, RunOptions, SparkRun};
use crate::flow::start::{ClaimedPipeline, claim};
use crate::flow::stop_condition::StopCondition;
use crate::report::Failure;

/// How often the cluster and its folder are asked for news.
const POLL: Duration = Duration::from_millis(500);
/// How long a finished batch waits for the query's counts of it.
const COUNTS_WAIT: Duration = Duration::from_secs(5);
/// How often the folder is asked whether a batch was skipped.
const GAP_EVERY: Duration = Duration::from_secs(60);
/// When the query is started again.
const RESTARTS: RetryPolicy = RetryPolicy::new(Duration::from_secs(1), Duration::from_secs(60));
/// How often the query may fail without finishing a batch between.
const FAILURES: u32 = 5;
/// Batches whose counts are kept until they are published.
const COUNTS_KEPT: usize = 1_000;

/// Runs the context's pipeline on a cluster until it ends.
///
/// # Errors
/// As the run of the embedded engine; and what of the pipeline Spark cannot do, a server that cannot be reached, a query that
/// fails again and again.
pub(crate) async fn run(context: &Context, options: &RunOptions, on: &SparkRun) -> anyhow::Result<Status> {
    let mut flow = Box::pin(SparkFlow::start(context, options, on)).await?;
    let result = flow.run_loop().await;
    let lag = flow.lag();
    flow.observer.stop();
    if let Some(maintenance) = flow.maintenance {
        maintenance.stop().await;
    }
    result.map(|()| flow.publisher.into_status(lag))
}

struct SparkFlow {
    context: Context,
    address: SparkAddress,
    on_stop: OnStop,
    /// The query ends by itself.
    ends: bool,
    settings: ClientSettings,
    recipe: QueryRecipe,
    schemas: QuerySchemas,
    cluster: Option<Cluster>,
    publisher: Publisher,
    observer: Observer,
    maintenance: Option<Maintenance>,
    /// The counts of batches that are not published yet.
    progress: BTreeMap<u64, BatchProgress>,
    /// Since when a finished batch waits for its counts.
    waiting_since: Option<Instant>,
    failures: u32,
    gap_asked_at: Instant,
}

impl SparkFlow {
    async fn start(context: &Context, options: &RunOptions, on: &SparkRun) -> anyhow::Result<Self> {
        let began = Instant::now();
        let pipeline = context.pipeline();
        if options.until == StopCondition::Drained {
            return Err(Failure::new(Exit::Usage, "a run on Spark cannot be drained: a query closes windows by its watermark only")
                .hint("--until-end ends the run once everything is read; `turnstile migrate --to embedded` continues here, and a run here can be drained")
                .into());
        }
        // What Spark cannot do is said before the pipeline is claimed.
        let mut schemas = QuerySchemas::new(context)?;
        schemas.plan()?;
        let lake_url = source::lake(pipeline)?;
        let settings = context.client_settings()?.with_connect_timeout(options.connect_timeout);
        let ClaimedPipeline { ledger, slot, connection, partitions, topic_ids } =
            claim(context, &settings, options.takeover, options.accept_loss, refuse_embedded).await?;
        let resumed_at = slot.as_ref().map(|slot| slot.seq);
        let known = slot.as_ref().and_then(Binding::reference);
        let binding = match known {
            Some(reference) => {
                let bytes = ledger.read_state(reference).await.map_err(ledger_failed)?;
                Binding::decode(&bytes).map_err(|error| Failure::of(Exit::Ledger, error))?
            }
            None => Binding::new(format!("{:06}", ledger.newest().epoch), start_of(&partitions, slot.as_ref())),
        };
        let is_new = known.is_none();
        schemas.recall(&binding.schemas).await?;
        let committer = Committer::of(context, ledger, Vec::new());
        let dead_letters = match &pipeline.stream.dead_letter_topic {
            Some(topic) => Some(DeadLetterTopic::open(topic, &connection, &settings)?),
            None => None,
        };
        let observer = Observer::start(&pipeline.source, connection, partitions.clone(), topic_ids.clone())?;
        let publisher = Publisher::new(context, committer, binding, topic_ids, dead_letters);
        let ends = options.until == StopCondition::End;
        let recipe = QueryRecipe::new(
            pipeline,
            schemas.plan()?,
            source::messages(pipeline, &settings, &publisher.binding.start, None)?,
            [publisher.folder.rows_in(&lake_url), publisher.folder.checkpoint_in(&lake_url)],
            ends.then_some(StreamTrigger::AvailableNow),
            partitions.len(),
        );
        let mut flow = Self {
            context: context.clone(),
            address: on.address.clone(),
            on_stop: on.on_stop,
            ends,
            settings,
            recipe,
            schemas,
            cluster: None,
            publisher,
            observer,
            maintenance: Maintenance::start(context),
            progress: BTreeMap::new(),
            waiting_since: None,
            failures: 0,
            gap_asked_at: Instant::now(),
        };
        match is_new {
            // The query's folder is known before the query: a run after a crash finds it.
            true => flow.publisher.commit_binding(false).await?,
            false => flow.publisher.find_done().await?,
        }
        let earlier = note_of_earlier(&flow.publisher.newest().counters);
        match flow.connect().await {
            Ok(committed) => committed?,
            // It was restarted since this run found it there.
            Err(failure @ SparkError::SessionLost { .. }) => flow.start_again(Some(failure)).await?,
            Err(failure) => return Err(spark_failed(failure)),
        }
        let cluster = flow.cluster.as_ref();
        let session =
            cluster.map(|cluster| format!("{}, Spark {}", cluster.session.server(), cluster.session.version()));
        context.events().note(format!("runs on {}", session.unwrap_or_default()));
        context.events().emit(Event::Ready {
            topics: pipeline.source.topics.to_string(),
            partitions: partitions.len(),
            resumed_at,
            counters: flow.publisher.newest().counters.clone(),
            took: began.elapsed(),
        });
        earlier.into_iter().for_each(|note| context.events().note(note));
        Ok(flow)
    }

    /// Returns to the query, or starts it.
    async fn connect(&mut self) -> Result<anyhow::Result<()>, SparkError> {
        if let Some(running) = self.publisher.binding.running.as_ref().filter(|_| !self.ends)
            && let Some(cluster) = self.recipe.find(&self.address, running).await?
        {
            self.cluster = Some(cluster);
            return Ok(Ok(()));
        }
        let cluster = self.recipe.start(&self.address).await?;
        self.publisher.binding.running =
            Some(StartedQuery { session: cluster.session.id(), query: cluster.query.clone() });
        self.cluster = Some(cluster);
        Ok(self.publisher.commit_binding(false).await)
    }

    async fn run_loop(&mut self) -> anyhow::Result<()> {
        let shutdown = self.context.shutdown().clone();
        loop {
            self.publish_finished(false).await?;
            if shutdown.is_cancelled() {
                return self.end().await;
            }
            match self.condition().await {
                Ok(QueryCondition::Running) => {}
                Ok(QueryCondition::Ended) if self.ends => return self.end().await,
                // Somebody stopped it.
                Ok(QueryCondition::Ended) => self.start_again(None).await?,
                Ok(QueryCondition::Failed(failure)) => match self.asks_for(&failure) {
                    Some(id) => self.learn(id).await?,
                    None => self.start_again(Some(failure)).await?,
                },
                Err(failure) => self.start_again(Some(failure)).await?,
            }
            if self.schemas.has_news().await {
                self.stop_for_news().await?;
            }
            self.give_news();
            if self.gap_asked_at.elapsed() >= GAP_EVERY {
                self.gap_asked_at = Instant::now();
                if let Some(batches) = self.publisher.after_gap().await? {
                    self.publish(batches, true).await?;
                }
                self.publisher.delete_done().await?;
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    async fn condition(&self) -> Result<QueryCondition, SparkError> {
        match &self.cluster {
            Some(cluster) => cluster.condition().await,
            None => Ok(QueryCondition::Ended),
        }
    }

    /// Publishes all batches that are finished. `last`: none waits for its counts.
    async fn publish_finished(&mut self, last: bool) -> anyhow::Result<()> {
        while let Some(batches) = self.publisher.finished().await? {
            if !self.publish(batches, last).await? {
                break;
            }
        }
        Ok(())
    }

    /// Publishes batches; false: their counts are waited for.
    async fn publish(&mut self, batches: FinishedBatches, last: bool) -> anyhow::Result<bool> {
        let waited = self.waiting_since.get_or_insert_with(Instant::now).elapsed();
        self.ask_for_counts().await;
        let Some(account) = self.account_of(&batches, last || waited >= COUNTS_WAIT).await? else { return Ok(false) };
        self.waiting_since = None;
        self.publisher.publish(batches, account).await?;
        self.progress = self.progress.split_off(&self.publisher.binding.next_batch);
        self.failures = 0;
        self.observer.commit_group_offsets(self.publisher.positions());
        self.give_news();
        Ok(true)
    }

    /// Takes the counts that the query still has.
    async fn ask_for_counts(&mut self) {
        let Some(cluster) = &self.cluster else { return };
        match cluster.progress().await {
            Ok(progress) => self.progress.extend(progress.into_iter().map(|batch| (batch.batch, batch))),
            Err(error) => tracing::debug!(%error, "no counts of batches"),
        }
        while self.progress.len() > COUNTS_KEPT {
            self.progress.pop_last();
        }
    }

    /// What became of the messages of `batches`; `None`: the query will say, and `now` is false.
    async fn account_of(&mut self, batches: &FinishedBatches, now: bool) -> anyhow::Result<Option<BatchAccount>> {
        let stream = &self.context.pipeline().stream;
        let (dedup, with_late) = (stream.dedup != DedupSettings::Off, stream.late == LatePolicy::DeadLetter);
        let binding = &self.publisher.binding;
        let said = counts_of(&self.progress, batches.first..=batches.last, dedup);
        let plan = &self.recipe.plan;
        // The watermark of the batch before this one decides, as in Spark, where it is 0 at first; of several batches, that of
        // the one before the first.
        let watermark_ms = binding.closed_until_us.unwrap_or(0).div_euclid(MILLISECOND_US);
        let late_for_ledger = binding.published_before_us.map_or(i64::MIN, |us| plan.in_open_windows_from_us(us));
        let in_time_from_us = plan.in_time_from_us(watermark_ms).max(late_for_ledger);
        let late_for_last = plan.in_time_from_us(batches.offsets.watermark_ms);
        let has_before = |limit_us: i64| said.oldest_us.is_some_and(|us| us < limit_us);
        let question = Question {
            clock_ms: batches.offsets.clock_ms,
            in_time_from_us,
            with_counts: true,
            with_late: with_late && (said.missing > 0 || said.counters.late > 0 || has_before(in_time_from_us)),
        };
        let mut account =
            BatchAccount { newest_us: said.newest_us, state_bytes: said.state_bytes, ..BatchAccount::default() };
        let (end, read_from) = (&batches.offsets.next, binding.read_until.clone());
        let mut asked = None;
        if said.missing > 0 && has_moved(&read_from, end) {
            if !now {
                return Ok(None);
            }
            let Some(all) = self.ask_again(&read_from, end, question).await? else { return Ok(None) };
            account.newest_us = account.newest_us.max(all.newest_us);
            asked = Some(all);
        }
        let began = self.publisher.published_until();
        if !has_moved(&began, end) {
            // It only closes windows, or reads what was counted before.
            return Ok(Some(account));
        }
        // The query's counts are those of messages that were counted before, too; it does not know which windows the ledger
        // had; and without dedup it counts late groups.
        let again = self.publisher.binding.reads_again(&self.publisher.newest().positions);
        let is_one = batches.first == batches.last;
        let is_late_unnoticed = has_before(match (dedup, is_one) {
            (true, _) => late_for_ledger,
            (false, true) => in_time_from_us,
            // The watermarks before the last one are not known.
            (false, false) => late_for_last.max(late_for_ledger),
        });
        let known = said.missing == 0 && !again && !is_late_unnoticed;
        if known && said.counters.dead_lettered == 0 && !question.with_late {
            account.counts = said.counters;
            return Ok(Some(account));
        }
        let asked = match asked.filter(|_| !again) {
            Some(asked) => asked,
            None => match self.ask_again(&began, end, Question { with_counts: !known, ..question }).await? {
                Some(asked) => asked,
                None => return Ok(None),
            },
        };
        if known {
            self.compare(&said.counters, &asked, batches, question.with_late)?;
            account.counts = said.counters;
        } else {
            account.counts = counts_of_range(&asked, !dedup && is_one);
            if (dedup || !is_one) && said.missing > 0 && !again {
                let what = if is_one { "duplicates" } else { "duplicates and late messages" };
                let fact = format!("the counts of batch {} were lost", batches.last);
                self.context.events().note(format!("{fact}: {what} in it are counted as aggregated"));
            }
        }
        account.rejected = asked.rejected;
        account.rejected.extend(asked.late_letters);
        let place = |letter: &DeadLetter| (letter.position.partition.clone(), letter.position.offset);
        account.rejected.sort_by_key(place);
        Ok(Some(account))
    }

    /// Compares what the query counted with the messages that were found.
    fn compare(
        &self,
        said: &Counters,
        found: &RangeAccount,
        batches: &FinishedBatches,
        with_late: bool,
    ) -> anyhow::Result<()> {
        let late = if with_late { found.late_letters.len() as u64 } else { said.late };
        let [rejected, of_batches] = [found.rejected.len() as u64, batches.last - batches.first + 1];
        // The cluster removed what it knew of the batches before the last one, and with it their watermarks.
        if of_batches > 1 && late < said.late {
            let [lost, from, to] = [said.late - late, batches.first, batches.last];
            self.context.events().note(format!(
                "{lost} late messages of the batches {from} to {to} are counted and not in the dead letters: \
                 the cluster had removed what tells which they are"
            ));
        } else if late != said.late {
            return Err(disagree("found late", said.late, late));
        }
        match rejected == said.dead_lettered {
            true => Ok(()),
            false => Err(disagree("rejected", said.dead_lettered, rejected)),
        }
    }

    /// Has the cluster read a range of offsets once more; `None`: the run is to end.
    async fn ask_again(
        &mut self,
        began: &PartitionOffsets,
        end: &PartitionOffsets,
        question: Question,
    ) -> anyhow::Result<Option<RangeAccount>> {
        let pipeline = self.context.pipeline();
        let range = source::messages(pipeline, &self.settings, &began_in(began, end), Some(end))?;
        let (window, limit) = (pipeline.query.window, pipeline.spark.memory_bytes);
        let binding = &self.publisher.binding;
        let closed_until_us = binding.closed_until_us.max(binding.published_before_us);
        loop {
            let Some(cluster) = &self.cluster else { return Ok(None) };
            let failure = match ask(&cluster.session, &self.recipe.plan, &range, question, limit).await {
                Ok(answer) => return answer.account(&window, closed_until_us).map(Some),
                Err(failure) => failure,
            };
            if !failure.lost_the_session() {
                return Err(spark_failed(failure));
            }
            self.start_again(Some(failure)).await?;
            if self.context.shutdown().is_cancelled() {
                return Ok(None);
            }
        }
    }

    /// The schema that the query needs and does not have, if that is why it failed.
    fn asks_for(&self, failure: &SparkError) -> Option<u32> {
        asked_schema(failure).filter(|id| !self.schemas.holds(*id))
    }

    /// Starts the query again with the schemas of the batch that asks for schema `id`.
    async fn learn(&mut self, id: u32) -> anyhow::Result<()> {
        // With the plan by which they were made.
        self.publish_finished(true).await?;
        let mut ids = BTreeSet::from([id]);
        let batch = self.publisher.folder.offsets_of(self.publisher.binding.next_batch).await?;
        if let (Some(batch), Some(cluster)) = (batch, &self.cluster) {
            let pipeline = self.context.pipeline();
            let begin = began_in(&self.publisher.binding.read_until, &batch.next);
            let range = source::messages(pipeline, &self.settings, &begin, Some(&batch.next))?;
            match ids_in(&cluster.session, &range, pipeline.spark.memory_bytes).await {
                Ok(more) => ids.extend(more),
                // Then one after another is asked for.
                Err(error) => tracing::debug!(%error, "the schemas of a batch are not known"),
            }
        }
        self.schemas.learn(&ids).await?;
        self.start_with_schemas().await
    }

    /// Starts the query again with schemas that the registry knows by now.
    async fn stop_for_news(&mut self) -> anyhow::Result<()> {
        if let Some(cluster) = &self.cluster
            && let Err(failure) = cluster.session.stop(&cluster.query).await
        {
            return self.start_again(Some(failure)).await;
        }
        self.publish_finished(true).await?;
        self.start_with_schemas().await
    }

    /// Starts the query with the schemas that are known. A run after a crash knows by them what the query rejects.
    async fn start_with_schemas(&mut self) -> anyhow::Result<()> {
        self.recipe.plan = self.schemas.plan()?;
        self.publisher.binding.schemas = self.schemas.held();
        self.publisher.binding.running = None;
        if let Some(cluster) = self.cluster.take() {
            let _ = cluster.session.release().await;
        }
        self.publisher.commit_binding(false).await?;
        match self.connect().await {
            Ok(committed) => committed,
            Err(failure) => self.start_again(Some(failure)).await,
        }
    }

    /// Starts the query from its checkpoint, after a wait that grows.
    async fn start_again(&mut self, mut failure: Option<SparkError>) -> anyhow::Result<()> {
        let mut waits = RESTARTS.waits();
        let shutdown = self.context.shutdown().clone();
        loop {
            let wait = waits.next_after(Duration::ZERO).unwrap_or(RESTARTS.longest_wait);
            match failure.take() {
                None => self.context.events().note("the query was stopped on the cluster; it is started again"),
                Some(failure) => {
                    if !failure.lost_the_session() {
                        self.failures += 1;
                        if self.failures >= FAILURES {
                            return Err(spark_failed(failure));
                        }
                    }
                    self.context.events().emit(Event::Retried { cause: human::error(&failure), wait });
                }
            }
            self.cluster = None;
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
            }
            match self.connect().await {
                Ok(committed) => {
                    committed?;
                    self.context.events().note("the query runs again, from its checkpoint");
                    return Ok(());
                }
                Err(error) => failure = Some(error),
            }
        }
    }

    /// Ends the run: stops the query or leaves it, publishes what it has finished, releases the pipeline.
    async fn end(&mut self) -> anyhow::Result<()> {
        let stop = self.ends || self.on_stop == OnStop::Stop;
        if let (true, Some(cluster)) = (stop, &self.cluster)
            && let Err(error) = cluster.session.stop(&cluster.query).await
        {
            self.context.events().note(format!("the query could not be stopped: {}", human::error(&error)));
        }
        self.publish_finished(true).await?;
        while let Some(batches) = self.publisher.after_gap().await? {
            self.publish(batches, true).await?;
            self.publish_finished(true).await?;
        }
        if let Some(cluster) = self.cluster.take().filter(|_| stop) {
            self.publisher.binding.running = None;
            let _ = cluster.session.release().await;
        } else if !stop {
            self.context.events().note("the query goes on; the next run publishes what it finishes meanwhile");
        }
        self.publisher.commit_binding(true).await
    }

    fn lag(&self) -> Option<u64> {
        let ranges = self.observer.snapshot().ranges?;
        let next: HashMap<TopicPartition, i64> = self.publisher.positions().into_iter().collect();
        let left = |(partition, (first, end)): &(TopicPartition, (i64, i64))| {
            end.saturating_sub(next.get(partition).copied().unwrap_or(*first)).max(0) as u64
        };
        Some(ranges.iter().map(left).sum())
    }

    /// Emits the state of things.
    fn give_news(&mut self) {
        let now = Instant::now();
        if now < self.publisher.status.due_at() {
            return;
        }
        let lag = self.lag();
        let snapshot = self.observer.snapshot();
        let ranges = snapshot.ranges.unwrap_or_default();
        let ends: HashMap<&TopicPartition, i64> =
            ranges.iter().map(|(partition, (_, end))| (partition, *end)).collect();
        let partitions = self.publisher.positions().into_iter().map(|(partition, next_offset)| PartitionProgress {
            end_offset: ends.get(&partition).copied(),
            partition,
            next_offset,
            event_us: None,
            timestamp_ms: None,
        });
        let partitions = partitions.collect();
        let status = self.publisher.give_status(now, lag);
        self.context.events().emit(Event::Status(Status { partitions, ..status }));
    }
}

/// A batch was read twice and had other messages the second time.
fn disagree(did: &str, first: u64, then: u64) -> anyhow::Error {
    let fact = format!("the query {did} {first} messages, and {then} when it was asked again");
    Failure::new(Exit::Failed, fact)
        .hint("nothing of this batch was published; this is a bug in turnstile: please report it")
        .into()
}

/// Refuses a pipeline whose open windows are the embedded engine's.
fn refuse_embedded(newest: &Slot) -> anyhow::Result<()> {
    if newest.state.is_empty() || is_of_spark(newest) {
        return Ok(());
    }
    Err(Failure::new(Exit::Ledger, format!("pipeline {:?} runs on the embedded engine", newest.pipeline))
        .cause(anyhow::anyhow!("commit {} has its open windows, which a cluster cannot read", newest.seq))
        .hint("run it without --engine, or move it: `turnstile migrate PIPELINE.toml --to spark`")
        .into())
}

/// The first message of a partition, in the words of Spark's Kafka source.
const EARLIEST: i64 = -2;

/// Where a new query begins to read: where the ledger says, and at the beginning of partitions that it does not know.
pub(super) fn start_of(partitions: &[TopicPartition], slot: Option<&Slot>) -> PartitionOffsets {
    let known: &[PartitionPosition] = slot.map_or(&[], |slot| &slot.positions);
    let mut start = PartitionOffsets::new();
    for partition in partitions {
        let next = known.iter().find(|position| position.partition == *partition).map(|position| position.next_offset);
        let topic = start.entry(partition.topic.to_string()).or_default();
        topic.insert(partition.partition, next.unwrap_or(EARLIEST));
    }
    start
}

/// Whether a batch read anything.
fn has_moved(began: &PartitionOffsets, next: &PartitionOffsets) -> bool {
    next.iter().any(|(topic, partitions)| {
        let began = began.get(topic);
        partitions.iter().any(|(partition, next)| {
            let began = began.and_then(|topic| topic.get(partition)).copied().unwrap_or(0);
            *next > began.max(0)
        })
    })
}

/// Where each partition of `next` begins, and not after its end; one that is new begins with its first message.
fn began_in(began: &PartitionOffsets, next: &PartitionOffsets) -> PartitionOffsets {
    let of = |topic: &String, partition: i32, end: i64| {
        began.get(topic).and_then(|topic| topic.get(&partition)).map_or(EARLIEST, |began| (*began).min(end))
    };
    let partitions = |topic: &String, partitions: &BTreeMap<i32, i64>| {
        partitions.iter().map(|(partition, end)| (*partition, of(topic, *partition, *end))).collect()
    };
    next.iter().map(|(topic, of_topic)| (topic.clone(), partitions(topic, of_topic))).collect()
}
