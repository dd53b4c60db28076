//! The loop of a running pipeline: when to cut, what to commit, when to end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use turnstile_engine::{Close, Engine, Plan};
use turnstile_kafka::{KafkaConnection, LeaderWatch, Producer, ProducerLimits, ProducerRecord};
use turnstile_lake::{FileKind, Ledger, LedgerError, StateRef};
use turnstile_message::TopicPartition;
use turnstile_pipeline::Pipeline;

use super::commit::{Around, lake_cut};
use super::event::{Event, Status};
use super::fault::{client, engine_failed, ledger_failed};
use super::maintenance::Maintenance;
use super::observer::{Lost, Observer, Seen};
use super::owner::now_us;
use super::retention::Retention;
use super::schemas::open_registry;
use super::start::{StartOptions, Started, client_settings, recreated, start, unread};
use super::worker::{Progress, Workers};
use crate::exit::Exit;
use crate::report::Failure;

/// When a run ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// When it is told to stop.
    Stopped,
    /// Once what the topic held at the start is read and committed; windows stay open.
    End,
    /// The same, and then all windows are closed and published.
    Drained,
}

/// Choices of one run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) until: Until,
    /// Take the pipeline from a process that seems alive.
    pub(crate) takeover: bool,
    /// Go on with what is there when records were lost.
    pub(crate) accept_loss: bool,
    /// How long to look for a broker before giving up.
    pub(crate) connect_timeout: Duration,
    /// Ends the run: what was read is committed, windows stay open.
    pub(crate) stop: Arc<AtomicBool>,
}

/// The loop's own rhythm: how late at the most it notices that a cut is due.
const TICK: Duration = Duration::from_millis(5);
/// Windows that can close are cut early, but not sooner than this part of the interval after the last cut.
const EARLY: i64 = 4;
/// The longest interval between cuts of a pipeline that commits by rows alone: quiet times have few rows.
const ROWS_EVERY_US: i64 = 10_000_000;
/// How long a run that ends over lost offsets waits for the observer to tell why.
const OBSERVE: Duration = Duration::from_secs(4);
/// Largest dead letter that its topic is asked to take.
const DEAD_LETTER_BYTES: &str = "67108864";
/// How often a status is given.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// The first wait before a commit is tried again, or the schema registry asked, and the longest.
pub(super) const RETRY_FIRST: Duration = Duration::from_millis(200);
pub(super) const RETRY_MOST: Duration = Duration::from_secs(10);
/// How soon a wait between two tries notices that the run is to end.
const RETRY_SLICE: Duration = Duration::from_millis(100);
/// How long dead letters may take into their topic.
const DEAD_LETTER_FLUSH: Duration = Duration::from_secs(30);

/// Runs `pipeline` until it ends; `watch` is told what happens.
///
/// # Errors
/// A [`Failure`] with fact, cause, next step and exit code. What was committed stays; the rest is read again
/// by the next run.
pub(crate) fn run(pipeline: &Pipeline, options: &Options, watch: &mut dyn FnMut(Event)) -> anyhow::Result<Status> {
    let began = Instant::now();
    let plan = Arc::new(Plan::new(pipeline).map_err(engine_failed)?);
    let settings = client_settings(pipeline, &options.stop)?.with_connect_timeout(options.connect_timeout);
    let registry = open_registry(pipeline)?;
    // Commits run on this thread; the runtime's own thread carries the store's I/O.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let start_options = StartOptions {
        takeover: options.takeover,
        accept_loss: options.accept_loss,
        workers: pipeline.stream.workers.unwrap_or(cores),
    };
    let started = runtime.block_on(start(pipeline, plan, &settings, &start_options))?;
    let Started { ledger, engine, mut reader, connection, live, partitions, topic_ids, resumed_at, accepted } = started;
    let ends = match options.until {
        Until::Stopped => Vec::new(),
        _ => ends(&connection, &partitions)?,
    };
    let dead_letter_producer = match &pipeline.stream.dead_letter_topic {
        Some(topic) => {
            connection.topic_partitions(topic).map_err(client)?;
            // A message that is too large for this client's default may be what is wrong with it.
            let settings = settings.clone().with("message.max.bytes", DEAD_LETTER_BYTES, "dead_letter_topic");
            let settings = settings.map_err(|e| client(e.into()))?;
            Some(Producer::open(&settings, ProducerLimits::default()).map_err(client)?)
        }
        None => None,
    };
    let observer = Observer::start(&pipeline.source, connection, partitions.clone(), topic_ids.clone())?;
    let queues = reader.split();
    let part_bytes = (pipeline.stream.memory_bytes as usize / 2) / queues.len().max(1);
    let workers = Workers::start(queues, || engine.worker(), part_bytes, registry.as_ref())?;
    let maintenance = Maintenance::start(pipeline)?;
    accepted.into_iter().for_each(|lost| watch(Event::Note(lost)));
    watch(Event::Ready {
        topics: pipeline.source.topics.to_string(),
        partitions: partitions.len(),
        resumed_at,
        took: began.elapsed(),
    });

    let status = Status { seq: ledger.newest().seq, ..Status::default() };
    let now = Instant::now();
    let mut flow = Flow {
        pipeline,
        runtime,
        ledger,
        engine,
        observer,
        seen: Seen { topic_ids, ..Seen::default() },
        sound: Default::default(),
        retention: Retention::default(),
        live,
        partitions,
        workers,
        stop: Arc::clone(&options.stop),
        dead_letter_producer,
        status,
        cut_at: now,
        cut_read: 0,
        quiet_since: now,
        activity: HashMap::new(),
        fell_silent: Vec::new(),
        open_windows: 0,
        more: false,
        leaders: reader.leader_watch(),
        maintenance,
    };
    let result = flow.go(options, &ends, watch);
    let Flow { workers, observer, status, maintenance, .. } = flow;
    observer.stop();
    workers.stop();
    if let Some(maintenance) = maintenance {
        maintenance.stop();
    }
    result.map(|()| status)
}

struct Flow<'a> {
    pipeline: &'a Pipeline,
    runtime: tokio::runtime::Runtime,
    ledger: Ledger,
    engine: Engine,
    observer: Observer,
    /// What the observer saw last.
    seen: Seen,
    /// How far everything was read before the last two rounds that saw the topics unharmed: what the older one holds was
    /// surely read of these topics, not of others under their names.
    sound: [Vec<Progress>; 2],
    retention: Retention,
    live: Vec<StateRef>,
    partitions: Vec<TopicPartition>,
    workers: Workers,
    stop: Arc<AtomicBool>,
    dead_letter_producer: Option<Producer>,
    status: Status,
    cut_at: Instant,
    cut_read: u64,
    quiet_since: Instant,
    activity: HashMap<TopicPartition, Activity>,
    /// Partitions that have fallen silent since the last cut, with the offset up to which they were read.
    fell_silent: Vec<(TopicPartition, i64)>,
    open_windows: usize,
    /// More windows are due than the last cut closed.
    more: bool,
    leaders: LeaderWatch,
    /// What keeps the lake in order beside the flow; none when a person does.
    maintenance: Option<Maintenance>,
}

/// When a partition last moved.
struct Activity {
    position: i64,
    moved_at: Instant,
    idle: bool,
}

impl Flow<'_> {
    fn go(
        &mut self,
        options: &Options,
        ends: &[(TopicPartition, i64)],
        watch: &mut dyn FnMut(Event),
    ) -> anyhow::Result<()> {
        let (mut status_at, mut status_read) = (Instant::now(), 0);
        loop {
            if let Some(error) = self.workers.wait(TICK) {
                return Err(self.end_over(error, watch));
            }
            self.workers.shared.take_notes().into_iter().for_each(|note| watch(Event::Note(note)));
            let stopped = options.stop.load(Ordering::Relaxed);
            let at_end = options.until != Until::Stopped && self.reached(ends);
            if stopped || at_end {
                let close = if at_end && options.until == Until::Drained { Close::All } else { Close::Passed };
                self.cut(close, None, true, watch)?;
                return Ok(());
            }
            if let Some(seen) = self.observer.news(self.seen.round) {
                self.seen = seen;
                self.look_around(watch)?;
            }
            let quiet = self.is_quiet();
            if quiet {
                self.cut(Close::Quiet, Some(now_us()), false, watch)?;
            } else if self.is_due() {
                self.cut(Close::Passed, None, false, watch)?;
            }
            let since = status_at.elapsed();
            if since >= STATUS_EVERY {
                let read = self.workers.shared.read.load(Ordering::Relaxed);
                self.status.rate = (read - status_read) as f64 / since.as_secs_f64();
                (status_at, status_read) = (Instant::now(), read);
                watch(Event::Status(self.status.clone()));
                self.leaders.take().iter().for_each(|change| watch(Event::Note(change.to_string())));
                self.maintenance.iter().flat_map(Maintenance::notes).for_each(|note| watch(Event::Note(note)));
            }
        }
    }

    fn reached(&self, ends: &[(TopicPartition, i64)]) -> bool {
        let progress = self.workers.shared.progress();
        let next: HashMap<&TopicPartition, i64> = progress.iter().map(|p| (&p.partition, p.next_offset)).collect();
        ends.iter().all(|(partition, end)| next.get(partition).is_some_and(|next| next >= end))
    }

    fn is_due(&self) -> bool {
        let read = self.workers.shared.read.load(Ordering::Relaxed) - self.cut_read;
        let cadence = &self.pipeline.stream.commit;
        let news = read > 0 || !self.fell_silent.is_empty();
        let since = self.cut_at.elapsed().as_micros() as i64;
        let every = cadence.every_us.unwrap_or(ROWS_EVERY_US);
        let time = since >= every;
        let rows = cadence.rows.is_some_and(|rows| read >= rows);
        // A window that can close does not wait for the rest of the interval.
        let closing = since >= every / EARLY && self.would_close();
        self.more || (news && (time || closing)) || rows || self.workers.shared.urgent.load(Ordering::Relaxed)
    }

    fn would_close(&self) -> bool {
        let progress = self.workers.shared.progress();
        let events: Vec<_> = progress.into_iter().filter_map(|p| Some((p.partition, p.event_us?))).collect();
        self.engine.would_close(&events)
    }

    /// What a worker's `error` means. When messages are gone, what was read before them is committed first.
    fn end_over(&mut self, error: anyhow::Error, watch: &mut dyn FnMut(Event)) -> anyhow::Error {
        let is_loss = |error: &anyhow::Error| {
            error.downcast_ref::<Failure>().is_some_and(|failure| failure.exit == Exit::SourceData)
        };
        let error = self.told_by_the_topic(error);
        if is_loss(&error) {
            self.cut_before_a_loss(watch);
        }
        error
    }

    /// Commits what was read of topics that are lost now, unless some of it may be of another topic under the same name.
    fn cut_before_a_loss(&mut self, watch: &mut dyn FnMut(Event)) {
        if let Some(Lost::Recreated { topic, .. }) = &self.seen.lost {
            let of_topic = |all: &[Progress]| -> Vec<(i32, i64)> {
                let mut of: Vec<_> = all.iter().filter(|p| *p.partition.topic == **topic).collect();
                of.sort_by_key(|p| p.partition.partition);
                of.into_iter().map(|p| (p.partition.partition, p.next_offset)).collect()
            };
            if of_topic(&self.workers.shared.progress()) != of_topic(&self.sound[0]) {
                return;
            }
        }
        if let Err(error) = self.cut(Close::Passed, None, true, watch) {
            watch(Event::Note(format!("what was read since the last commit was not committed: {error}")));
        }
    }

    /// Offsets that are out of range can be those of another topic under the same name, which the observer can tell.
    fn told_by_the_topic(&mut self, error: anyhow::Error) -> anyhow::Error {
        if error.downcast_ref::<Failure>().is_none_or(|failure| failure.exit != Exit::SourceData) {
            return error;
        }
        let (began, round) = (Instant::now(), self.seen.round);
        // The round that is under way may have begun before the fault.
        while began.elapsed() < OBSERVE && self.seen.round < round + 2 {
            std::thread::sleep(TICK);
            if let Some(seen) = self.observer.news(self.seen.round) {
                self.seen = seen;
            }
            if let Some(Lost::Recreated { topic, was, is }) = &self.seen.lost {
                let progress = self.workers.shared.progress();
                return recreated(topic, was, is, progress.iter().map(|p| (&p.partition, p.next_offset))).into();
            }
        }
        error
    }

    /// Acts on what the observer saw: lag, idle and new partitions, topics that vanished.
    fn look_around(&mut self, watch: &mut dyn FnMut(Event)) -> anyhow::Result<()> {
        match &self.seen.lost {
            Some(Lost::Deleted { topic }) => {
                let failure = self.deleted(topic);
                // What was read of it counts.
                self.cut(Close::Passed, None, true, watch)?;
                return Err(failure.into());
            }
            Some(Lost::Recreated { topic, was, is }) => {
                let progress = self.workers.shared.progress();
                let failure = recreated(topic, was, is, progress.iter().map(|p| (&p.partition, p.next_offset)));
                self.cut_before_a_loss(watch);
                return Err(failure.into());
            }
            None => {
                let [_, newer] = std::mem::take(&mut self.sound);
                self.sound = [newer, self.workers.shared.progress()];
            }
        }
        for (partition, first) in std::mem::take(&mut self.seen.new) {
            // The observer may have looked before it was told of the last ones.
            if !self.partitions.contains(&partition) {
                self.add(partition, first, watch);
            }
        }
        let progress = self.workers.shared.progress();
        self.look_for_idleness(&progress);
        let ranges = self.seen.ranges.as_deref().unwrap_or_default();
        let now_ms = now_us() / 1000;
        let risk = self.retention.look(Instant::now(), now_ms, &progress, ranges, &self.seen.retention_ms);
        if let Some(risk) = risk {
            watch(Event::Note(risk));
        }
        Ok(())
    }

    /// Reads a partition that was added, from the `first` offset that it holds.
    fn add(&mut self, partition: TopicPartition, first: i64, watch: &mut dyn FnMut(Event)) {
        watch(Event::Note(format!("{partition} was added; it is read from its beginning")));
        self.engine.add_partition(partition.clone(), first);
        self.workers.add(partition.clone(), first);
        self.partitions.push(partition);
        self.observer.reads(&self.partitions);
    }

    fn deleted(&self, topic: &str) -> Failure {
        let progress = self.workers.shared.progress();
        let unread = unread(topic, progress.iter().map(|p| (&p.partition, p.next_offset)));
        Failure::new(Exit::SourceData, format!("topic {topic:?} was deleted while it was read"))
            .cause(anyhow::anyhow!("what was not read of it is gone: {unread}"))
            .hint("what was read is committed; to go on without it, or with one that is made anew, start with --accept-loss")
    }

    /// A partition is idle once it is read to its end and nothing came for as long as the pipeline says.
    fn look_for_idleness(&mut self, progress: &[Progress]) {
        let now = Instant::now();
        for Progress { partition, next_offset: position, .. } in progress {
            match self.activity.get_mut(partition) {
                Some(activity) if activity.position == *position => {}
                Some(activity) => {
                    (activity.position, activity.moved_at, activity.idle) = (*position, now, false);
                    self.quiet_since = now;
                }
                None => {
                    let new = Activity { position: *position, moved_at: now, idle: false };
                    self.activity.insert(partition.clone(), new);
                }
            }
        }
        // A broker that does not answer now says nothing about idleness; reading reports its own troubles.
        let Some(ranges) = &self.seen.ranges else {
            self.status.lag = None;
            return;
        };
        if self.status.lag.is_none() {
            // Silence counts from when the broker can be heard.
            self.quiet_since = now;
            self.activity.values_mut().for_each(|activity| activity.moved_at = now);
        }
        let mut lag = 0;
        for (partition, (_, end)) in ranges {
            let Some(activity) = self.activity.get_mut(partition) else { continue };
            lag += (end - activity.position).max(0) as u64;
            let quiet_for = activity.moved_at.elapsed().as_micros() as i64;
            let idle = activity.position >= *end && self.pipeline.stream.idle_us.is_some_and(|idle| quiet_for >= idle);
            if idle && !activity.idle {
                activity.idle = true;
                self.fell_silent.push((partition.clone(), activity.position));
            }
        }
        self.status.lag = Some(lag);
    }

    /// Whether the whole stream has been quiet for as long as the pipeline waits, with windows still open.
    fn is_quiet(&self) -> bool {
        let Some(quiet_us) = self.pipeline.stream.quiet_us else { return false };
        self.open_windows > 0
            && self.status.lag == Some(0)
            && self.quiet_since.elapsed().as_micros() as i64 >= quiet_us
            && self.workers.shared.read.load(Ordering::Relaxed) == self.cut_read
    }

    /// Takes a consistent cut and commits it. At most one commit is in flight; workers go on meanwhile.
    fn cut(
        &mut self,
        close: Close,
        quiet_at: Option<i64>,
        last: bool,
        watch: &mut dyn FnMut(Event),
    ) -> anyhow::Result<()> {
        self.cut_at = Instant::now();
        let read = self.workers.shared.read.load(Ordering::Relaxed);
        let parts = self.workers.take()?;
        let idle = std::mem::take(&mut self.fell_silent);
        let frontier = self.engine.absorb(parts, &idle, close);
        if !last {
            self.workers.advance(frontier);
        }
        self.cut_read = read;
        self.settle(close, quiet_at, last, watch)?;
        while last && self.more {
            // The workers have ended, so nothing comes between.
            self.engine.absorb(Vec::new(), &[], close);
            self.settle(close, quiet_at, last, watch)?;
        }
        Ok(())
    }

    /// Commits what the engine has absorbed.
    fn settle(
        &mut self,
        close: Close,
        quiet_at: Option<i64>,
        last: bool,
        watch: &mut dyn FnMut(Event),
    ) -> anyhow::Result<()> {
        let mut cut = self.engine.finish().map_err(engine_failed)?;
        self.more = cut.more;
        if last && !cut.more && close == Close::All && self.engine.clear_if_spent() {
            cut.state = turnstile_engine::StateChange::Clear;
        }
        // Messages may have come between the look at the clock and the cut.
        let quiet_closed_at_us = quiet_at.filter(|_| cut.close == Close::Quiet);
        self.open_windows = cut.open_windows;
        self.status.read = cut.counters.read;
        self.status.late = cut.counters.late;
        self.status.dead_lettered = cut.counters.dead_lettered;
        self.status.watermark_us = cut.watermark_us;
        self.status.open_windows = cut.open_windows;
        let first = cut.dead_letters.first().map(|l| {
            let field = l.rejection.field.as_ref().map(|f| format!("{f}: ")).unwrap_or_default();
            format!("{}: {} ({field}{})", l.position, l.rejection.reason, l.rejection.detail)
        });
        self.send_dead_letters(&cut.dead_letters)?;
        let around = Around {
            pipeline: self.pipeline,
            live: &self.live,
            topic_ids: &self.seen.topic_ids,
            seq: self.ledger.next_seq(),
            quiet_closed_at_us,
            released: last && !self.more,
        };
        let cut = lake_cut(cut, &around)?;
        let files: Vec<Event> = cut.publish.iter().map(|file| file_event(file, first.clone())).collect();
        let mut live = cut.kept.clone();
        let committed = self.commit(cut, watch)?;
        live.extend(committed.state);
        self.live = live;
        self.status.seq = committed.seq;
        let positions = self.ledger.newest().positions.iter();
        // For those who watch lag. The ledger decides where to go on, not this.
        self.observer.commits(positions.map(|p| (p.partition.clone(), p.next_offset)).collect());
        self.status.files += committed.published.len() as u64;
        files.into_iter().for_each(&mut *watch);
        if quiet_closed_at_us.is_some() {
            watch(Event::Note("the stream is quiet: its windows were closed by the wall clock".to_owned()));
        }
        for name in &committed.pending {
            watch(Event::Note(format!("{name} is committed; the store did not take it yet and is asked again")));
        }
        Ok(())
    }

    /// Commits, again and again while the store refuses for now.
    fn commit(
        &mut self,
        cut: turnstile_lake::Cut,
        watch: &mut dyn FnMut(Event),
    ) -> anyhow::Result<turnstile_lake::Committed> {
        let began = Instant::now();
        let patience = Duration::from_micros(self.pipeline.lake.retry_for_us.max(0) as u64);
        let mut wait = RETRY_FIRST;
        let mut result = self.runtime.block_on(self.ledger.commit(cut));
        loop {
            match result {
                Err(LedgerError::Store(error))
                    if error.retriable && self.ledger.is_unfinished() && began.elapsed() < patience =>
                {
                    watch(Event::Note(format!("{error}: {}; trying again in {} s", error.source, wait.as_secs_f32())));
                    if self.stopped_within(wait) {
                        return Err(ledger_failed(LedgerError::Store(error)));
                    }
                    wait = (wait * 2).min(RETRY_MOST);
                    result = self.runtime.block_on(self.ledger.retry());
                }
                other => return other.map_err(ledger_failed),
            }
        }
    }

    /// Waits; true as soon as the run is told to stop. A run that ends by itself is not told.
    fn stopped_within(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        while Instant::now() < until {
            if self.stop.load(Ordering::Relaxed) {
                return true;
            }
            std::thread::sleep(RETRY_SLICE.min(until.saturating_duration_since(Instant::now())));
        }
        false
    }

    /// Sends dead letters to their topic before they are committed: a crash in between sends them twice,
    /// never not at all.
    fn send_dead_letters(&mut self, letters: &[turnstile_engine::DeadLetter]) -> anyhow::Result<()> {
        let (Some(producer), Some(topic)) = (&self.dead_letter_producer, &self.pipeline.stream.dead_letter_topic)
        else {
            return Ok(());
        };
        if letters.is_empty() {
            return Ok(());
        }
        let failed = |reason: String| {
            Failure::new(Exit::Source, format!("dead letters did not reach topic {topic:?}"))
                .cause(anyhow::anyhow!(reason))
                .hint("nothing was committed or lost; correct the topic, or leave `dead_letter_topic` out: the lake keeps them too")
        };
        for letter in letters {
            producer.send(topic, &dead_letter_record(letter)).map_err(|e| failed(e.to_string()))?;
        }
        let stats = producer.flush(DEAD_LETTER_FLUSH);
        if stats.failed > 0 || stats.outstanding() > 0 {
            let reason = producer.failures().first().map(|f| f.reason.clone());
            return Err(failed(reason.unwrap_or_else(|| "the broker did not answer".to_owned())).into());
        }
        Ok(())
    }
}

/// A dead letter as its topic gets it: the message as it was, and in headers where it stood and what is wrong with it.
fn dead_letter_record(letter: &turnstile_engine::DeadLetter) -> ProducerRecord {
    let (at, rejection) = (&letter.position, &letter.rejection);
    let record = ProducerRecord::resent(letter.key.as_deref(), letter.value.as_deref(), letter.timestamp_ms)
        .with_header("turnstile.topic", &*at.partition.topic)
        .with_header("turnstile.partition", at.partition.partition.to_string())
        .with_header("turnstile.offset", at.offset.to_string())
        .with_header("turnstile.reason", format!("{}: {}", rejection.reason, rejection.detail));
    match &rejection.field {
        Some(field) => record.with_header("turnstile.field", field),
        None => record,
    }
}

fn file_event(file: &turnstile_lake::NewFile, first: Option<String>) -> Event {
    match file.kind {
        FileKind::Window { version, .. } => Event::Published {
            name: file.name.clone(),
            rows: file.rows,
            messages: file.counts.get("messages").copied().unwrap_or_default(),
            version,
        },
        FileKind::DeadLetters => {
            Event::DeadLetters { name: file.name.clone(), count: file.rows, first: first.unwrap_or_default() }
        }
    }
}

fn ends(connection: &KafkaConnection, partitions: &[TopicPartition]) -> anyhow::Result<Vec<(TopicPartition, i64)>> {
    let ranges = connection.watermarks(partitions).map_err(client)?;
    Ok(partitions.iter().cloned().zip(ranges.into_iter().map(|(_, high)| high)).collect())
}
