//! Queues between the tracker and its listeners: bounded, and never waited for but at a run's end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::change::RunChange;

/// How often a full queue is tried again for the last changes of a run.
const RETRY_WAIT: Duration = Duration::from_millis(5);

/// The sending end of one listener's queue.
#[derive(Debug)]
pub(super) struct ChangeQueue {
    queue: mpsc::Sender<RunChange>,
    dropped: Arc<AtomicU64>,
}

/// One listener's changes, in order.
#[derive(Debug)]
pub struct ChangeStream {
    queue: mpsc::Receiver<RunChange>,
    dropped: Arc<AtomicU64>,
}

/// A queue for at most `capacity` changes.
pub(super) fn change_queue(capacity: usize) -> (ChangeQueue, ChangeStream) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let dropped = Arc::new(AtomicU64::new(0));
    (ChangeQueue { queue: sender, dropped: Arc::clone(&dropped) }, ChangeStream { queue: receiver, dropped })
}

impl ChangeQueue {
    /// Adds a change, or counts it as dropped when there is no room.
    pub(super) fn offer(&self, change: RunChange) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(change) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Adds a change of a run's end, and waits for room until `deadline`.
    pub(super) fn push_until(&self, mut change: RunChange, deadline: Instant) {
        loop {
            match self.queue.try_send(change) {
                Ok(()) | Err(TrySendError::Closed(_)) => return,
                Err(TrySendError::Full(back)) if Instant::now() < deadline => change = back,
                Err(TrySendError::Full(_)) => {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
            std::thread::sleep(RETRY_WAIT);
        }
    }
}

impl ChangeStream {
    /// The next change; `None` once the tracker has ended and all was taken.
    pub async fn next(&mut self) -> Option<RunChange> {
        self.queue.recv().await
    }

    /// The same, for a listener with its own thread.
    pub fn blocking_next(&mut self) -> Option<RunChange> {
        self.queue.blocking_recv()
    }

    /// A change that is there already.
    pub fn try_next(&mut self) -> Option<RunChange> {
        self.queue.try_recv().ok()
    }

    /// How many changes were dropped since the last call because the queue was full.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}
