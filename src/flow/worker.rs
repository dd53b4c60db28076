//! The worker threads of a flow: each reads its partitions and aggregates them, and hands over its part at a cut.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use turnstile_engine::{Frontier, Worker, WorkerPart};
use turnstile_kafka::{QueueWaker, ReadQueue};
use turnstile_message::{MessageBatch, TopicPartition};
use turnstile_registry::SchemaRegistry;

use super::schemas::SchemaFetcher;
use super::worker_shared::WorkerShared;
use super::worker_task::{WorkerCommand, WorkerTask};
use crate::exit::Exit;
use crate::report::Failure;

/// Commands that may wait for a worker: a `Take`, the `Advance` that answers it, an `Add`.
const COMMANDS: usize = 3;

/// How long the flow waits for the reason of a worker that has ended.
const REASON: Duration = Duration::from_secs(1);

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

    /// Reports to the workers which windows are closed; they continue.
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
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no reason was given");
            let fact = "a worker panicked, which is a bug in turnstile; nothing was lost";
            Err(Failure::new(Exit::Failed, fact).cause(anyhow::anyhow!(text.to_owned())).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_panics_ends_with_an_error_that_says_why() {
        let error = catch_panic(|| panic!("index {} out of range", 7)).unwrap_err();
        assert!(error.to_string().contains("a worker panicked"), "{error}");
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert_eq!(failure.exit, Exit::Failed);
        assert!(catch_panic(|| Ok(())).is_ok());
    }
}
