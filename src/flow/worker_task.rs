//! One worker's thread: reads its partitions, aggregates them, and does what the flow commands.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use turnstile_engine::{Frontier, Worker, WorkerPart};
use turnstile_kafka::ReadQueue;
use turnstile_message::{MessageBatch, TopicPartition};

use super::fault::{engine_failed, read_failed};
use super::owner::now_us;
use super::schemas::SchemaFetcher;
use super::worker_shared::WorkerShared;

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

/// Windows with late rows or duplicates that a worker holds before it asks for a cut and waits for it: bounds a slot.
const EXCLUDED_WINDOWS: usize = 4_096;

/// Batches between two checks of how much memory a worker's part takes.
const CHECK_EVERY: u32 = 8;

/// What a worker is to do.
pub(super) enum WorkerCommand {
    /// Hand over; then wait for `Advance`.
    Take(oneshot::Sender<WorkerPart>),
    /// Go on.
    Advance(Frontier),
    /// Read one more partition, from this offset.
    Add(TopicPartition, i64),
}

/// What a worker's thread owns.
pub(super) struct WorkerTask {
    pub(super) queue: ReadQueue,
    pub(super) worker: Worker,
    /// What waits for the schema registry, in pipelines that have one.
    pub(super) schemas: Option<SchemaFetcher>,
    pub(super) commands: Receiver<WorkerCommand>,
    pub(super) shared: Arc<WorkerShared>,
    pub(super) part_bytes: usize,
    pub(super) batches: u32,
}

impl WorkerTask {
    /// Ends with the flow. An error of reading is sent to `failed` and ends reading alone: what was read before can still
    /// be taken.
    pub(super) fn run(mut self, failed: &mpsc::Sender<anyhow::Error>) -> anyhow::Result<()> {
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
                // The cut that makes room comes as a command; librdkafka's events and statistics must not pile up until then.
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
                self.shared.read_bytes.fetch_add(batch.payload_bytes() as u64, Ordering::Relaxed);
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
            // The time of the next question is the registry's; a command, which the loop takes next, waits no longer than this.
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
            || self.worker.excluded_windows() > EXCLUDED_WINDOWS
            || (self.batches % CHECK_EVERY == CHECK_EVERY - 1 && self.worker.bytes() > self.part_bytes)
    }
}
