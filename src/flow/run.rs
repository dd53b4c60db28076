//! The loop of a running pipeline: when to cut, what to commit, when to end.
//!
//! It waits for progress of a worker, a report from the observer, the next cut, or shutdown. Its decisions are in
//! [`Cadence`], [`Idleness`], [`SoundPositions`] and [`RetentionWatch`]; its actions in [`Workers`], [`Committer`] and
//! [`DeadLetterTopic`]. Start at [`run`].

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::watch;
use turnstile_engine::{ClosePolicy, Engine, StateChange};
use turnstile_kafka::{LeaderWatch, LostTopic};
use turnstile_message::TopicPartition;

use super::cadence::{Cadence, CutDue, SinceCut};
use super::commit::{CommitContext, commit_events, lake_cut};
use super::committer::Committer;
use super::context::Context;
use super::cut::CutKind;
use super::dead_letter_topic::DeadLetterTopic;
use super::event::{CommitEvent, Event, PartitionProgress, Status};
use super::fault::engine_failed;
use super::idleness::Idleness;
use super::losses::{SoundPositions, topic_lost};
use super::maintenance::Maintenance;
use super::observer::{self, Observer, TopicSnapshot};
use super::owner::now_us;
use super::rejections::{describe_dead_letter, note_of_earlier};
use super::retention::RetentionWatch;
use super::run_options::RunOptions;
use super::run_status::RunStatus;
use super::schemas::open_registry;
use super::spark;
use super::start::{StartOptions, Started, start};
use super::stop_condition::RunEnd;
use super::worker::{WorkerErrors, Workers};
use super::worker_shared::WorkerProgress;

mod loss;

/// Open windows of which listeners learn more than how many there are.
const OPEN_WINDOWS_SHOWN: usize = 200;

/// The shortest time from one reaction to the workers' progress to the next: they may read thousands of batches a second.
const PROGRESS_EVERY: Duration = Duration::from_millis(5);
/// Runs the context's pipeline until it ends; what happens goes to the context's events. Shutdown commits what was read and
/// leaves windows open.
///
/// # Errors
/// A [`Failure`](crate::report::Failure) with fact, cause, next step and exit code. What was committed stays; the rest is read again
/// by the next run.
pub(crate) async fn run(context: &Context, options: &RunOptions) -> anyhow::Result<Status> {
    if let Some(on) = &options.spark {
        return Box::pin(spark::run(context, options, on)).await;
    }
    let (mut flow, end) = Flow::start(context, options).await?;
    let result = flow.run_loop(&end).await;
    let status = flow.stop().await;
    result.map(|()| status)
}

struct Flow {
    context: Context,
    engine: Engine,
    workers: Workers,
    worker_errors: WorkerErrors,
    partitions: Vec<TopicPartition>,
    leaders: LeaderWatch,
    observer: Observer,
    /// What the observer saw last.
    topics: TopicSnapshot,
    topics_changed: watch::Receiver<TopicSnapshot>,
    sound: SoundPositions,
    idleness: Idleness,
    retention: RetentionWatch,
    cadence: Cadence,
    /// When the last two cuts were taken; at first, when reading began.
    cuts_at_us: (i64, i64),
    /// More windows are due than the last cut closed.
    more: bool,
    dead_letters: Option<DeadLetterTopic>,
    committer: Committer,
    status: RunStatus,
    /// What keeps the lake in order beside the flow; none when a person does.
    maintenance: Option<Maintenance>,
}

impl Flow {
    /// Opens everything and begins to read.
    async fn start(context: &Context, options: &RunOptions) -> anyhow::Result<(Self, RunEnd)> {
        let began = Instant::now();
        let pipeline = context.pipeline();
        let settings = context.client_settings()?.with_connect_timeout(options.connect_timeout);
        let registry = open_registry(pipeline, context.runtime())?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let start_options = StartOptions {
            takeover: options.takeover,
            accept_loss: options.accept_loss,
            workers: pipeline.stream.workers.unwrap_or(cores),
        };
        let started = start(context, &settings, &start_options).await?;
        let Started { ledger, engine, mut reader, connection, live, partitions, topic_ids, resumed_at, notes } =
            started;
        let end = RunEnd::find(options.until, &connection, &partitions)?;
        let dead_letters = match &pipeline.stream.dead_letter_topic {
            Some(topic) => Some(DeadLetterTopic::open(topic, &connection, &settings)?),
            None => None,
        };
        let observer = Observer::start(&pipeline.source, connection, partitions.clone(), topic_ids)?;
        let queues = reader.split();
        let part_bytes = (pipeline.stream.memory_bytes as usize / 2) / queues.len().max(1);
        let (workers, worker_errors) = Workers::start(queues, || engine.worker(), part_bytes, registry.as_ref())?;
        let now = Instant::now();
        let earlier = note_of_earlier(&ledger.newest().counters);
        let flow = Self {
            context: context.clone(),
            engine,
            workers,
            worker_errors,
            leaders: reader.leader_watch(),
            topics: observer.snapshot(),
            topics_changed: observer.subscribe(),
            observer,
            sound: SoundPositions::default(),
            idleness: Idleness::new(pipeline.stream.idle_us, pipeline.stream.quiet_us, now),
            retention: RetentionWatch::default(),
            cadence: Cadence::new(&pipeline.stream.commit, now),
            cuts_at_us: (now_us(), now_us()),
            more: false,
            dead_letters,
            status: RunStatus::new(ledger.newest().seq, &ledger.newest().counters, now),
            committer: Committer::of(context, ledger, live),
            maintenance: Maintenance::start(context),
            partitions,
        };
        notes.into_iter().for_each(|note| context.events().note(note));
        context.events().emit(Event::Ready {
            topics: pipeline.source.topics.to_string(),
            partitions: flow.partitions.len(),
            resumed_at,
            counters: flow.committer.newest().counters.clone(),
            took: began.elapsed(),
        });
        earlier.into_iter().for_each(|note| context.events().note(note));
        Ok((flow, end))
    }

    /// Ends all threads and tasks. What was read since the last cut is read again by the next run.
    async fn stop(self) -> Status {
        self.observer.stop();
        self.workers.stop();
        if let Some(maintenance) = self.maintenance {
            maintenance.stop().await;
        }
        self.status.into_status(self.idleness.lag())
    }

    async fn run_loop(&mut self, end: &RunEnd) -> anyhow::Result<()> {
        let shutdown = self.context.shutdown().clone();
        loop {
            if let Ok(error) = self.worker_errors.try_recv() {
                return Err(self.end_with(error).await);
            }
            let at_end = end.is_reached(|| self.workers.shared.progress());
            if at_end || shutdown.is_cancelled() {
                return self.cut(CutKind::Last { drain: at_end && end.drain }).await;
            }
            if self.topics_changed.has_changed().context(observer::ENDED)? {
                self.topics = self.topics_changed.borrow_and_update().clone();
                self.handle_observation().await?;
            }
            let now = Instant::now();
            if self.quiet_at().is_some_and(|at| now >= at) {
                self.cut(CutKind::Quiet { at_us: now_us() }).await?;
            } else if self.cut_due(now) == CutDue::Now {
                self.cut(CutKind::Interval).await?;
            }
            self.give_news();
            self.wait().await?;
        }
    }

    /// Waits until something has happened or is due.
    async fn wait(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        let mut wake_at = self.status.due_at();
        match self.cut_due(now) {
            CutDue::Now => return Ok(()),
            CutDue::At(at) => wake_at = wake_at.min(at),
            CutDue::Nothing => {}
        }
        if let Some(at) = self.quiet_at() {
            wake_at = wake_at.min(at);
        }
        let (shutdown, changed) = (self.context.shutdown(), &self.workers.shared.changed);
        let progress = async {
            tokio::time::sleep(PROGRESS_EVERY).await;
            changed.notified().await;
        };
        tokio::select! {
            error = self.worker_errors.recv() => {
                let error = error.unwrap_or_else(|| anyhow::anyhow!("all workers ended without a reason"));
                return Err(self.end_with(error).await);
            }
            () = shutdown.cancelled() => {}
            changed = self.topics_changed.changed() => {
                changed.context(observer::ENDED)?;
                // The loop handles it; waiting for it marked it as seen.
                self.topics_changed.mark_changed();
            }
            () = progress => {}
            () = tokio::time::sleep_until(wake_at.into()) => {}
        }
        Ok(())
    }

    /// Emits what workers, brokers and time have to say.
    fn give_news(&mut self) {
        let events = self.context.events();
        self.workers.shared.take_notes().into_iter().for_each(|note| events.note(note));
        let now = Instant::now();
        if now >= self.status.due_at() {
            let status = self.status.give(now, self.read(), self.idleness.lag());
            let read_bytes = self.workers.shared.read_bytes.load(Ordering::Relaxed);
            let (memory_bytes, partitions) = (self.engine.memory_bytes(), self.partition_progress());
            events.emit(Event::Status(Status { read_bytes, memory_bytes, partitions, ..status }));
            self.leaders.take().iter().for_each(|change| events.note(change.to_string()));
        }
    }

    /// How far each partition was read, and how far it reaches.
    fn partition_progress(&self) -> Vec<PartitionProgress> {
        let ranges = self.topics.ranges.as_deref().unwrap_or_default();
        let ends: HashMap<&TopicPartition, i64> =
            ranges.iter().map(|(partition, (_, end))| (partition, *end)).collect();
        let progress = |worker: WorkerProgress| PartitionProgress {
            end_offset: ends.get(&worker.partition).copied(),
            partition: worker.partition,
            next_offset: worker.next_offset,
            event_us: worker.event_us,
            timestamp_ms: worker.timestamp_ms,
        };
        self.workers.shared.progress().into_iter().map(progress).collect()
    }

    /// Messages read since the start.
    fn read(&self) -> u64 {
        self.workers.shared.read.load(Ordering::Relaxed)
    }

    fn cut_due(&self, now: Instant) -> CutDue {
        let urgent = self.more || self.workers.shared.urgent.load(Ordering::Relaxed);
        let since = SinceCut { read: self.read(), idle: self.idleness.has_news(), urgent };
        self.cadence.due(now, since, || {
            let progress = self.workers.shared.progress();
            let events: Vec<_> = progress.into_iter().filter_map(|p| Some((p.partition, p.event_us?))).collect();
            self.engine.would_close(&events)
        })
    }

    /// When the windows that are open close because the whole stream is quiet, if nothing comes until then.
    fn quiet_at(&self) -> Option<Instant> {
        let waits = self.status.open_windows() > 0 && self.read() == self.cadence.cut_read();
        self.idleness.quiet_at().filter(|_| waits)
    }

    /// Acts on what the observer saw: lag, idle and new partitions, topics that vanished.
    async fn handle_observation(&mut self) -> anyhow::Result<()> {
        let progress = self.workers.shared.progress();
        if let Some(lost) = &self.topics.lost {
            let failure = topic_lost(lost, &progress);
            match lost {
                // All that was read is of the topic that was deleted, and counts.
                LostTopic::Deleted { .. } => self.cut(CutKind::Last { drain: false }).await?,
                LostTopic::Recreated { .. } => self.cut_before_loss().await,
            }
            return Err(failure.into());
        }
        self.sound.record(progress);
        for (partition, first) in std::mem::take(&mut self.topics.new) {
            // The observer may have looked before it heard of the last ones.
            if !self.partitions.contains(&partition) {
                self.add_partition(partition, first);
            }
        }
        let progress = self.workers.shared.progress();
        let (now, ranges) = (Instant::now(), self.topics.ranges.as_deref());
        self.idleness.observe(now, &progress, ranges);
        let (ranges, retention_ms) = (ranges.unwrap_or_default(), &self.topics.retention_ms);
        if let Some(risk) = self.retention.observe(now, now_us() / 1000, &progress, ranges, retention_ms) {
            self.context.events().note(risk);
        }
        Ok(())
    }

    /// Reads a partition that was added, from the `first` offset that it holds.
    fn add_partition(&mut self, partition: TopicPartition, first: i64) {
        self.context.events().note(format!("{partition} was added; it is read from its beginning"));
        self.engine.add_partition(partition.clone(), first);
        self.workers.add(partition.clone(), first);
        self.partitions.push(partition);
        self.observer.set_read(&self.partitions);
    }

    /// Takes a consistent cut and commits it. At most one commit is in flight; workers continue meanwhile.
    async fn cut(&mut self, kind: CutKind) -> anyhow::Result<()> {
        self.cadence.record(Instant::now(), self.read());
        self.cuts_at_us = (self.cuts_at_us.1, now_us());
        let parts = self.workers.take(&mut self.worker_errors).await?;
        let idle = self.idleness.take_fell_idle();
        let frontier = self.engine.absorb(parts, &idle, kind.close());
        if !kind.is_last() {
            self.workers.advance(frontier);
        }
        self.commit(kind).await?;
        while kind.is_last() && self.more {
            // The workers have ended, so nothing comes between.
            self.engine.absorb(Vec::new(), &[], kind.close());
            self.commit(kind).await?;
        }
        Ok(())
    }

    /// Commits what the engine has absorbed.
    async fn commit(&mut self, kind: CutKind) -> anyhow::Result<()> {
        let mut cut = self.engine.finish().map_err(engine_failed)?;
        self.more = cut.more;
        let released = kind.is_last() && !cut.more;
        if released && kind.close() == ClosePolicy::All && self.engine.clear_if_unneeded() {
            cut.state = StateChange::Clear;
        }
        // Messages may have come between the reading of the clock and the cut.
        let quiet_closed_at_us = kind.quiet_at_us().filter(|_| cut.close == ClosePolicy::Quiet);
        self.status.record_cut(&cut);
        if let Some(topic) = &self.dead_letters {
            topic.send(&cut.dead_letters)?;
        }
        let first_dead_letter = cut.dead_letters.first().map(describe_dead_letter).unwrap_or_default();
        let merged = self.committer.merge_state(self.context.plan()?, &cut.state, cut.closed_until_us).await?;
        let commit_context = CommitContext {
            pipeline: self.context.pipeline(),
            live: self.committer.live(),
            topic_ids: &self.topics.topic_ids,
            newest: self.committer.newest(),
            quiet_closed_at_us,
            released,
        };
        let mut cut = lake_cut(cut, &commit_context)?;
        cut.state.extend(merged);
        let news = commit_events(&cut, &first_dead_letter);
        let commit_began_at_us = now_us();
        let committed = self.committer.commit(cut).await?;
        self.status.record_commit(&committed, &news);
        // For lag tools. The ledger, not this, decides where to resume.
        self.observer.commit_group_offsets(self.committer.positions());
        let events = self.context.events();
        news.into_iter().for_each(|event| events.emit(event));
        events.emit(Event::Committed(CommitEvent {
            slot: self.committer.newest_shared(),
            read_from_us: self.cuts_at_us.0,
            cut_at_us: self.cuts_at_us.1,
            commit_began_at_us,
            published_at_us: now_us(),
            open_windows: self.status.open_windows(),
            first_open: self.engine.open_windows(OPEN_WINDOWS_SHOWN),
            memory_bytes: self.engine.memory_bytes(),
        }));
        if quiet_closed_at_us.is_some() {
            events.note("the stream is quiet: its windows were closed by the wall clock");
        }
        for name in &committed.pending {
            events.note(format!("{name} is committed but not published yet; publishing is retried"));
        }
        Ok(())
    }
}
