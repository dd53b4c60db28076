//! Worker threads: each reads its partitions and aggregates them, and hands over its part at a cut.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use turnstile_engine::{Frontier, Part, Worker};
use turnstile_kafka::ReadQueue;
use turnstile_message::{MessageBatch, TopicPartition};
use turnstile_registry::SchemaRegistry;

use super::fault::{engine_failed, read_failed};
use super::owner::now_us;
use super::schemas::Schemas;
use crate::exit::Exit;
use crate::report::Failure;

/// Messages that one batch holds at the most: large enough that work a batch is small beside work a message,
/// small enough that a batch and its columns stay in the processor's cache.
pub(super) const BATCH_ROWS: usize = 4096;

/// Payload bytes after which a batch ends.
pub(super) const BATCH_BYTES: usize = 2 << 20;

/// How long a worker waits for messages before it looks at its commands again.
const WAIT: Duration = Duration::from_millis(10);

/// Dead letters that a worker holds before it asks for a cut and waits for it.
const DEAD_LETTER_BYTES: usize = 16 << 20;

/// Batches between two looks at how much memory a worker's part takes.
const LOOK_EVERY: u32 = 8;

/// Commands that may wait for a worker: a `Take`, the `Advance` that answers it, an `Add`.
const ORDERS: usize = 3;

/// Notes that may wait for the flow; more than that say nothing new.
const NOTES: usize = 16;

/// What the flow tells a worker.
enum Command {
    /// Hand over; then wait for `Advance`.
    Take(SyncSender<Part>),
    /// Go on.
    Advance(Frontier),
    /// Read one more partition, from this offset.
    Add(TopicPartition, i64),
}

/// What workers and the flow see of each other all the time.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Messages read since the start.
    pub(crate) read: AtomicU64,
    /// A worker's part has grown so large that a cut cannot wait.
    pub(crate) urgent: AtomicBool,
    stop: AtomicBool,
    progress: Mutex<BTreeMap<TopicPartition, Progress>>,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    waiting: Vec<String>,
    last: String,
}

/// How far one partition was taken in.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    pub(crate) partition: TopicPartition,
    /// Everything before this offset has been taken in.
    pub(crate) next_offset: i64,
    /// The latest event time, microseconds since the epoch.
    pub(crate) event_us: Option<i64>,
    /// The last message's own timestamp, milliseconds since the epoch.
    pub(crate) timestamp_ms: Option<i64>,
}

impl Shared {
    /// How far every partition was taken in.
    pub(crate) fn progress(&self) -> Vec<Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// What a person should know, since the last call.
    pub(crate) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner).waiting)
    }

    /// Workers find the same thing at the same time, and again and again: it is said once.
    fn note(&self, note: String) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.waiting.len() < NOTES && notes.last != note {
            notes.last.clone_from(&note);
            notes.waiting.push(note);
        }
    }

    fn reached(&self, positions: &[(TopicPartition, i64)], worker: &Worker, batch: &MessageBatch) {
        let mut all = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        for (partition, next_offset) in positions {
            match all.get_mut(partition) {
                Some(known) => known.next_offset = *next_offset,
                None => {
                    let partition = partition.clone();
                    let new = Progress {
                        partition: partition.clone(),
                        next_offset: *next_offset,
                        event_us: None,
                        timestamp_ms: None,
                    };
                    all.insert(partition, new);
                }
            }
        }
        for (partition, event_us) in worker.event_times() {
            if let Some(known) = all.get_mut(partition) {
                known.event_us = Some(event_us);
            }
        }
        for run in &batch.runs {
            let last = run.rows.end.checked_sub(1).and_then(|row| batch.timestamps_ms.get(row)).filter(|ms| **ms >= 0);
            if let (Some(known), Some(ms)) = (all.get_mut(&run.partition), last) {
                known.timestamp_ms = Some(*ms);
            }
        }
    }
}

/// All workers of a flow.
pub(crate) struct Workers {
    commands: Vec<SyncSender<Command>>,
    threads: Vec<JoinHandle<()>>,
    /// How many partitions each reads.
    owned: Vec<usize>,
    errors: Receiver<anyhow::Error>,
    pub(crate) shared: Arc<Shared>,
}

impl Workers {
    /// Starts a thread for each queue. `part_bytes` bounds what one of them holds between two cuts.
    pub(crate) fn start(
        queues: Vec<ReadQueue>,
        mut worker: impl FnMut() -> Worker,
        part_bytes: usize,
        registry: Option<&Arc<SchemaRegistry>>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        // One error ends a worker, so there is room for all of them.
        let (failed, errors) = sync_channel(queues.len().max(1));
        let (mut commands, mut threads) = (Vec::new(), Vec::new());
        let owned = queues.iter().map(|queue| queue.positions().len()).collect();
        for (nth, queue) in queues.into_iter().enumerate() {
            let (command, orders) = sync_channel(ORDERS);
            let worker = worker();
            shared.reached(queue.positions(), &worker, &MessageBatch::default());
            let schemas = registry.map(|registry| Schemas::new(Arc::clone(registry)));
            let task = Task { queue, worker, schemas, orders, shared: Arc::clone(&shared), part_bytes, batches: 0 };
            let failed = failed.clone();
            let thread = std::thread::Builder::new().name(format!("worker-{nth}")).spawn(move || {
                if let Err(error) = told(|| task.run(&failed)) {
                    // Nobody listens any more when the flow has ended already.
                    let _ = failed.send(error);
                }
            })?;
            commands.push(command);
            threads.push(thread);
        }
        Ok(Self { commands, threads, owned, errors, shared })
    }

    /// Waits up to `timeout` for an error.
    pub(crate) fn wait(&self, timeout: Duration) -> Option<anyhow::Error> {
        match self.errors.recv_timeout(timeout) {
            Ok(error) => Some(error),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(anyhow::anyhow!("all workers ended without a reason")),
        }
    }

    /// What every worker has, at one moment: each waits for [`Workers::advance`] afterwards.
    pub(crate) fn take(&self) -> anyhow::Result<Vec<Part>> {
        let mut replies = Vec::with_capacity(self.commands.len());
        for command in &self.commands {
            let (reply, taken) = sync_channel(1);
            // A worker that has ended drops the reply too, which shows below.
            let _ = command.send(Command::Take(reply));
            replies.push(taken);
        }
        let mut all = Vec::with_capacity(replies.len());
        for taken in replies {
            match taken.recv() {
                Ok(taken) => all.push(taken),
                Err(_) => {
                    let error = self.wait(Duration::from_secs(1));
                    return Err(error.unwrap_or_else(|| anyhow::anyhow!("a worker ended without a reason")));
                }
            }
        }
        self.shared.urgent.store(false, Ordering::Relaxed);
        Ok(all)
    }

    /// Lets the workers go on.
    pub(crate) fn advance(&self, frontier: Frontier) {
        for command in &self.commands {
            // A worker that has ended is noticed at the next take.
            let _ = command.send(Command::Advance(frontier));
        }
    }

    /// Has the worker with the fewest partitions read one more.
    pub(crate) fn add(&mut self, partition: TopicPartition, offset: i64) {
        let Some(nth) = (0..self.owned.len()).min_by_key(|nth| self.owned[*nth]) else { return };
        self.owned[nth] += 1;
        // A worker that has ended is noticed at the next take.
        let _ = self.commands[nth].send(Command::Add(partition, offset));
    }

    /// Ends the threads and waits for them.
    pub(crate) fn stop(self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        drop(self.commands);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// What `work` ends with; a panic is an error too, so that the flow hears of it at once and not at its next cut.
fn told(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    // What the panic left half done is dropped with the worker.
    match std::panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(ended) => ended,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it did not say why");
            let fact = "a worker stopped, which is a fault of the program; nothing was lost";
            Err(Failure::new(Exit::Failed, fact).cause(anyhow::anyhow!(text.to_owned())).into())
        }
    }
}

struct Task {
    queue: ReadQueue,
    worker: Worker,
    /// What waits for the schema registry, in pipelines that have one.
    schemas: Option<Schemas>,
    orders: Receiver<Command>,
    shared: Arc<Shared>,
    part_bytes: usize,
    batches: u32,
}

impl Task {
    /// Ends with the flow. An error of reading is sent to `failed` and ends reading alone: what was read before can still
    /// be taken.
    fn run(mut self, failed: &SyncSender<anyhow::Error>) -> anyhow::Result<()> {
        loop {
            match self.orders.try_recv() {
                Ok(command) => {
                    if !self.obey(command)? {
                        return Ok(());
                    }
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
            if self.is_full() {
                self.shared.urgent.store(true, Ordering::Relaxed);
                self.queue.poll_events();
                match self.orders.recv_timeout(WAIT) {
                    Ok(command) => {
                        if !self.obey(command)? {
                            return Ok(());
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
                continue;
            }
            let batch = match self.next_batch() {
                Ok(Some(batch)) => batch,
                Ok(None) => continue,
                Err(error) => {
                    // Nobody listens any more when the flow has ended already.
                    let _ = failed.send(error);
                    while let Ok(command) = self.orders.recv() {
                        if !self.obey(command)? {
                            break;
                        }
                    }
                    return Ok(());
                }
            };
            if !batch.is_empty() {
                self.worker.push(&batch, Some(now_us())).map_err(engine_failed)?;
                self.shared.read.fetch_add(batch.len() as u64, Ordering::Relaxed);
                self.batches = self.batches.wrapping_add(1);
            }
            self.shared.reached(self.queue.positions(), &self.worker, &batch);
        }
    }

    /// The next messages, once their schemas are known; `None` while the schema registry is waited for.
    fn next_batch(&mut self) -> anyhow::Result<Option<MessageBatch>> {
        let mut next = || self.queue.next(BATCH_ROWS, BATCH_BYTES, WAIT).map_err(read_failed);
        let Some(schemas) = &mut self.schemas else { return next().map(Some) };
        if !schemas.is_holding() {
            schemas.hold(next()?, &mut self.worker);
        }
        let batch = schemas.release(&mut self.worker, |note| self.shared.note(note))?;
        if batch.is_none() {
            // A long wait must not let librdkafka's events and statistics pile up.
            self.queue.poll_events();
            std::thread::sleep(WAIT);
        }
        Ok(batch)
    }

    /// False when the flow has ended.
    fn obey(&mut self, command: Command) -> anyhow::Result<bool> {
        match command {
            Command::Advance(frontier) => self.worker.advance(frontier),
            Command::Add(partition, offset) => self.queue.add(&partition, offset).map_err(read_failed)?,
            Command::Take(reply) => {
                // Messages that wait for the schema registry lie before the queue's positions, unread.
                if self.schemas.as_ref().is_none_or(|schemas| !schemas.is_holding()) {
                    for (partition, next_offset) in self.queue.positions() {
                        self.worker.skip_to(partition, *next_offset);
                    }
                }
                let part = self.worker.take().map_err(engine_failed)?;
                if reply.send(part).is_err() {
                    return Ok(false);
                }
                // The frontier decides what is late from here on, so nothing is read before it is known.
                match self.orders.recv() {
                    Ok(Command::Advance(frontier)) => self.worker.advance(frontier),
                    _ => return Ok(false),
                }
            }
        }
        Ok(!self.shared.stop.load(Ordering::Relaxed))
    }

    fn is_full(&self) -> bool {
        self.worker.dead_letter_bytes() > DEAD_LETTER_BYTES
            || (self.batches % LOOK_EVERY == LOOK_EVERY - 1 && self.worker.bytes() > self.part_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_panics_ends_with_an_error_that_says_why() {
        let error = told(|| panic!("index {} out of range", 7)).unwrap_err();
        assert!(error.to_string().contains("a worker stopped"), "{error}");
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert_eq!(failure.exit, Exit::Failed);
        assert!(told(|| Ok(())).is_ok());
    }
}
