//! Worker threads: each reads its partitions and aggregates them, and hands over its part at a cut.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use turnstile_engine::{Frontier, Worker, WorkerPart};
use turnstile_kafka::{QueueWaker, ReadQueue};
use turnstile_message::{MessageBatch, TopicPartition};
use turnstile_registry::SchemaRegistry;

use super::fault::{engine_failed, read_failed};
use super::owner::now_us;
use super::schemas::SchemaFetcher;
use crate::exit::Exit;
use crate::report::Failure;

/// Messages that one batch holds at the most: large enough that work a batch is small beside work a message,
/// small enough that a batch and its columns stay in the processor's cache.
pub(super) const BATCH_ROWS: usize = 4096;

/// Payload bytes after which a batch ends.
pub(super) const BATCH_BYTES: usize = 2 << 20;

/// How long a worker waits for messages at most. A command wakes it earlier; librdkafka's events are handled in between.
const WAIT: Duration = Duration::from_millis(200);

/// How long a worker waits for the schema registry before it asks again whether it is time to.
const REGISTRY_WAIT: Duration = Duration::from_millis(10);

/// Dead letters that a worker holds before it asks for a cut and waits for it.
const DEAD_LETTER_BYTES: usize = 16 << 20;

/// Batches between two checks of how much memory a worker's part takes.
const CHECK_EVERY: u32 = 8;

/// Commands that may wait for a worker: a `Take`, the `Advance` that answers it, an `Add`.
const COMMANDS: usize = 3;

/// How long the flow waits for the reason of a worker that has ended.
const REASON: Duration = Duration::from_secs(1);

/// PendingNotes that may wait for the flow; more than that say nothing new.
const NOTES: usize = 16;

/// What a worker is to do.
enum WorkerCommand {
    /// Hand over; then wait for `Advance`.
    Take(oneshot::Sender<WorkerPart>),
    /// Go on.
    Advance(Frontier),
    /// Read one more partition, from this offset.
    Add(TopicPartition, i64),
}

/// What the flow sees of its workers all the time.
#[derive(Debug, Default)]
pub(crate) struct WorkerShared {
    /// Messages read since the start.
    pub(crate) read: AtomicU64,
    /// A worker's part has grown so large that a cut cannot wait.
    pub(crate) urgent: AtomicBool,
    /// Notified when a partition was read further, a cut has become urgent, or there is a note.
    pub(crate) changed: Notify,
    progress: Mutex<BTreeMap<TopicPartition, WorkerProgress>>,
    notes: Mutex<PendingNotes>,
}

#[derive(Debug, Default)]
struct PendingNotes {
    waiting: Vec<String>,
    last: String,
}

/// How far one partition was taken in.
#[derive(Debug, Clone)]
pub(crate) struct WorkerProgress {
    pub(crate) partition: TopicPartition,
    /// Everything before this offset has been taken in.
    pub(crate) next_offset: i64,
    /// The latest event time, microseconds since the epoch.
    pub(crate) event_us: Option<i64>,
    /// The last message's own timestamp, milliseconds since the epoch.
    pub(crate) timestamp_ms: Option<i64>,
}

impl WorkerShared {
    /// How far every partition was taken in.
    pub(crate) fn progress(&self) -> Vec<WorkerProgress> {
        self.progress.lock().values().cloned().collect()
    }

    /// What a person should know, since the last call.
    pub(crate) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().waiting)
    }

    /// Workers find the same thing at the same time, and again and again: it is said once.
    fn note(&self, note: String) {
        let mut notes = self.notes.lock();
        if notes.waiting.len() < NOTES && notes.last != note {
            notes.last.clone_from(&note);
            notes.waiting.push(note);
            self.changed.notify_one();
        }
    }

    /// Records how far `positions` were taken in, with `batch` the last.
    fn record(&self, positions: &[(TopicPartition, i64)], worker: &Worker, batch: &MessageBatch) {
        let mut moved = false;
        let mut all = self.progress.lock();
        for (partition, next_offset) in positions {
            match all.get_mut(partition) {
                Some(known) => {
                    moved |= known.next_offset != *next_offset;
                    known.next_offset = *next_offset;
                }
                None => {
                    let partition = partition.clone();
                    let new = WorkerProgress {
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
        drop(all);
        if moved {
            self.changed.notify_one();
        }
    }
}

/// All workers of a flow.
pub(crate) struct Workers {
    handles: Vec<WorkerHandle>,
    pub(crate) shared: Arc<WorkerShared>,
}

struct WorkerHandle {
    commands: SyncSender<WorkerCommand>,
    waker: QueueWaker,
    thread: JoinHandle<()>,
    /// How many partitions it reads.
    partitions: usize,
}

impl WorkerHandle {
    /// Gives a command. A worker that has ended is noticed at the next take.
    fn give(&self, command: WorkerCommand) {
        let _ = self.commands.send(command);
        self.waker.wake();
    }
}

/// Why workers ended, in the order in which they did.
pub(crate) type WorkerErrors = mpsc::Receiver<anyhow::Error>;

impl Workers {
    /// Starts a thread for each queue. `part_bytes` bounds what one of them holds between two cuts.
    pub(crate) fn start(
        queues: Vec<ReadQueue>,
        mut worker: impl FnMut() -> Worker,
        part_bytes: usize,
        registry: Option<&Arc<SchemaRegistry>>,
    ) -> std::io::Result<(Self, WorkerErrors)> {
        let shared = Arc::new(WorkerShared::default());
        // One error ends a worker, so there is room for all of them.
        let (failed, errors) = mpsc::channel(queues.len().max(1));
        let mut handles = Vec::with_capacity(queues.len());
        for (nth, queue) in queues.into_iter().enumerate() {
            let (commands, receiver) = sync_channel(COMMANDS);
            let (worker, waker, partitions) = (worker(), queue.waker(), queue.positions().len());
            shared.record(queue.positions(), &worker, &MessageBatch::default());
            let schemas = registry.map(|registry| SchemaFetcher::new(Arc::clone(registry)));
            let task = WorkerTask {
                queue,
                worker,
                schemas,
                commands: receiver,
                shared: Arc::clone(&shared),
                part_bytes,
                batches: 0,
            };
            let failed = failed.clone();
            let thread = std::thread::Builder::new().name(format!("worker-{nth}")).spawn(move || {
                if let Err(error) = catch_panic(|| task.run(&failed)) {
                    // The flow may have ended already.
                    let _ = failed.try_send(error);
                }
            })?;
            handles.push(WorkerHandle { commands, waker, thread, partitions });
        }
        Ok((Self { handles, shared }, errors))
    }

    /// What every worker has, at one moment: each waits for [`Workers::advance`] afterwards.
    ///
    /// # Errors
    /// A worker has ended: the reason that it gave to `errors`.
    pub(crate) async fn take(&self, errors: &mut WorkerErrors) -> anyhow::Result<Vec<WorkerPart>> {
        let mut replies = Vec::with_capacity(self.handles.len());
        for handle in &self.handles {
            let (reply, taken) = oneshot::channel();
            // A worker that has ended drops the reply, which shows below.
            handle.give(WorkerCommand::Take(reply));
            replies.push(taken);
        }
        let mut all = Vec::with_capacity(replies.len());
        for taken in replies {
            match taken.await {
                Ok(taken) => all.push(taken),
                Err(_) => return Err(Self::ended(errors).await),
            }
        }
        self.shared.urgent.store(false, Ordering::Relaxed);
        Ok(all)
    }

    async fn ended(errors: &mut WorkerErrors) -> anyhow::Error {
        let reason = tokio::time::timeout(REASON, errors.recv()).await.ok().flatten();
        reason.unwrap_or_else(|| anyhow::anyhow!("a worker ended without a reason"))
    }

    /// Tells the workers which windows are closed; they go on.
    pub(crate) fn advance(&self, frontier: Frontier) {
        self.handles.iter().for_each(|handle| handle.give(WorkerCommand::Advance(frontier)));
    }

    /// Has the worker with the fewest partitions read one more.
    pub(crate) fn add(&mut self, partition: TopicPartition, offset: i64) {
        let Some(handle) = self.handles.iter_mut().min_by_key(|handle| handle.partitions) else { return };
        handle.partitions += 1;
        handle.give(WorkerCommand::Add(partition, offset));
    }

    /// Ends the threads and waits for them.
    pub(crate) fn stop(self) {
        let ended = self.handles.into_iter().map(|WorkerHandle { commands, waker, thread, .. }| {
            drop(commands);
            waker.wake();
            thread
        });
        // All get the signal before the first is waited for.
        let threads: Vec<JoinHandle<()>> = ended.collect();
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

/// Runs `work`; a panic is an error too, so that the flow learns of it at once and not at its next cut.
fn catch_panic(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
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

struct WorkerTask {
    queue: ReadQueue,
    worker: Worker,
    /// What waits for the schema registry, in pipelines that have one.
    schemas: Option<SchemaFetcher>,
    commands: Receiver<WorkerCommand>,
    shared: Arc<WorkerShared>,
    part_bytes: usize,
    batches: u32,
}

impl WorkerTask {
    /// Ends with the flow. An error of reading is sent to `failed` and ends reading alone: what was read before can still
    /// be taken.
    fn run(mut self, failed: &mpsc::Sender<anyhow::Error>) -> anyhow::Result<()> {
        loop {
            match self.commands.try_recv() {
                Ok(command) => {
                    if !self.handle(command)? {
                        return Ok(());
                    }
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
            if self.is_full() {
                self.shared.urgent.store(true, Ordering::Relaxed);
                self.shared.changed.notify_one();
                self.queue.poll_events();
                match self.commands.recv_timeout(WAIT) {
                    Ok(command) => {
                        if !self.handle(command)? {
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
                    // The flow may have ended already.
                    let _ = failed.try_send(error);
                    while let Ok(command) = self.commands.recv() {
                        if !self.handle(command)? {
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
            self.shared.record(self.queue.positions(), &self.worker, &batch);
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
            std::thread::sleep(REGISTRY_WAIT);
        }
        Ok(batch)
    }

    /// False when the flow has ended.
    fn handle(&mut self, command: WorkerCommand) -> anyhow::Result<bool> {
        match command {
            WorkerCommand::Advance(frontier) => self.worker.advance(frontier),
            WorkerCommand::Add(partition, offset) => self.queue.add(&partition, offset).map_err(read_failed)?,
            WorkerCommand::Take(reply) => {
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
                match self.commands.recv() {
                    Ok(WorkerCommand::Advance(frontier)) => self.worker.advance(frontier),
                    _ => return Ok(false),
                }
            }
        }
        Ok(true)
    }

    fn is_full(&self) -> bool {
        self.worker.dead_letter_bytes() > DEAD_LETTER_BYTES
            || (self.batches % CHECK_EVERY == CHECK_EVERY - 1 && self.worker.bytes() > self.part_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_panics_ends_with_an_error_that_says_why() {
        let error = catch_panic(|| panic!("index {} out of range", 7)).unwrap_err();
        assert!(error.to_string().contains("a worker stopped"), "{error}");
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert_eq!(failure.exit, Exit::Failed);
        assert!(catch_panic(|| Ok(())).is_ok());
    }
}
