//! Follows a flow: events in, changes of its run out to every listener.
//!
//! In: [`TrackEvent`]s, through a bounded queue that no one waits for. Out: [`RunChange`]s, to each listener through a
//! queue of its size. Knows no listener. The decisions are in [`track_core`], which is pure; here are the thread and the
//! clock. Start at [`TrackerBuilder`].

mod cancel;
mod chain;
mod listeners;
mod loads;
mod names;
mod tasks;
#[cfg(test)]
mod tests;
mod track_core;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use uuid::Uuid;

pub use self::cancel::CancelSignal;
pub use self::listeners::ChangeStream;
pub use self::names::TrackNames;
pub use self::track_core::{FlowStart, MessageMove, TrackCore, TrackEnd};

use self::listeners::{ChangeQueue, change_queue};
use crate::change::RunChange;
use crate::event::TrackEvent;
use crate::run::{CrashedRun, FlowRun};

/// How often a run says that it is alive.
pub const SEEN_EVERY: Duration = Duration::from_secs(2);
/// How long the end of a run waits for listeners whose queues are full.
const END_WAIT: Duration = Duration::from_secs(5);
/// How often the thread checks whether it was asked to end.
const TICK: Duration = Duration::from_millis(100);
/// Events that may wait for the tracker, when nothing else is said.
pub const EVENT_CAPACITY: usize = 4_096;
/// Changes that may wait for one listener, when nothing else is said.
pub const CHANGE_CAPACITY: usize = 16_384;

/// Collects listeners before the run begins.
#[derive(Debug)]
pub struct TrackerBuilder {
    core: TrackCore,
    cancel: CancelSignal,
    listeners: Vec<ChangeQueue>,
    first: Vec<RunChange>,
}

impl TrackerBuilder {
    /// A run that begins now.
    pub fn new(start: FlowStart) -> Self {
        let core = TrackCore::new(start, now_us(), Uuid::new_v4);
        Self { core, cancel: CancelSignal::default(), listeners: Vec::new(), first: Vec::new() }
    }

    /// The run, which is not in any store yet.
    pub fn run(&self) -> &FlowRun {
        self.core.run()
    }

    /// Asks the run to end; its token is cancelled when a person asks, in Prefect or by `turnstile runs cancel`.
    pub fn cancel_signal(&self) -> CancelSignal {
        self.cancel.clone()
    }

    /// A listener that gets every change from the beginning; at most `capacity` changes wait for it.
    pub fn listen(&mut self, capacity: usize) -> ChangeStream {
        let (queue, stream) = change_queue(capacity);
        self.listeners.push(queue);
        stream
    }

    /// Earlier runs that were found crashed: listeners get them before this run.
    pub fn crashed(&mut self, runs: impl IntoIterator<Item = CrashedRun>) {
        for CrashedRun { run, tasks } in runs {
            self.first.extend(tasks.into_iter().map(RunChange::Task));
            self.first.push(RunChange::Flow(run));
        }
    }

    /// Begins the run, on its own thread; at most `capacity` events wait for it.
    ///
    /// # Errors
    /// When the system gives no thread; nothing was begun.
    pub fn start(self, capacity: usize) -> std::io::Result<Tracker> {
        let (sender, receiver) = sync_channel(capacity.max(1));
        let (run, cancel) = (self.core.run().id, self.cancel.clone());
        let end = Arc::new(Mutex::new(None));
        let body = TrackThread { builder: self, events: receiver, end: Arc::clone(&end) };
        let thread = std::thread::Builder::new().name("tracker".into()).spawn(|| body.run())?;
        let events = TrackSender { events: sender, dropped: Arc::default() };
        Ok(Tracker { run, events, cancel, end, thread })
    }
}

/// A run that is being tracked.
#[derive(Debug)]
pub struct Tracker {
    run: Uuid,
    events: TrackSender,
    cancel: CancelSignal,
    end: Arc<Mutex<Option<TrackEnd>>>,
    thread: JoinHandle<()>,
}

/// Gives events to a tracker. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct TrackSender {
    events: SyncSender<(i64, TrackEvent)>,
    dropped: Arc<AtomicU64>,
}

impl TrackSender {
    /// Gives an event that happened at `at_us` (microseconds since the epoch, UTC). Never waits: without room it is
    /// dropped and counted.
    pub fn emit(&self, at_us: i64, event: TrackEvent) {
        if let Err(TrySendError::Full(_)) = self.events.try_send((at_us, event)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Events that were dropped since the run began.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Tracker {
    /// The id of the run.
    pub fn run(&self) -> Uuid {
        self.run
    }

    /// Where events are given.
    pub fn sender(&self) -> &TrackSender {
        &self.events
    }

    /// Asks the run to end, and tells when it was asked.
    pub fn cancel_signal(&self) -> &CancelSignal {
        &self.cancel
    }

    /// Ends the run, after the events that were given before. Blocks for some seconds at most: until listeners have
    /// room for the last changes. Listeners' streams end then.
    pub fn end(self, end: TrackEnd) {
        *self.end.lock() = Some(end);
        drop(self.events);
        // A panic of the tracker was reported by the panic hook; the flow ends as it would have.
        let _ = self.thread.join();
    }
}

struct TrackThread {
    builder: TrackerBuilder,
    events: Receiver<(i64, TrackEvent)>,
    end: Arc<Mutex<Option<TrackEnd>>>,
}

impl TrackThread {
    fn run(mut self) {
        let first = std::mem::take(&mut self.builder.first);
        self.offer(first);
        let begun = self.builder.core.begin();
        self.offer(begun);
        let mut seen = Instant::now();
        loop {
            match self.events.recv_timeout(TICK) {
                Ok((at_us, event)) => {
                    let changes = self.builder.core.on(&event, at_us);
                    self.offer(changes);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.end.lock().is_some() {
                        return self.finish();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
            if let Some(cause) = self.builder.cancel.cause() {
                let changes = self.builder.core.cancelling(&cause, now_us());
                self.offer(changes);
            }
            if seen.elapsed() >= SEEN_EVERY {
                seen = Instant::now();
                let changes = self.builder.core.seen(now_us());
                self.offer(changes);
            }
        }
    }

    fn offer(&self, changes: Vec<RunChange>) {
        for change in changes {
            for listener in &self.builder.listeners {
                listener.offer(change.clone());
            }
        }
    }

    /// Takes the events that were given before the end, and ends the run. Without an end the tracker was dropped: the
    /// run stays as it is, and the next start sees that it crashed.
    fn finish(mut self) {
        let Some(end) = self.end.lock().take() else { return };
        while let Ok((at_us, event)) = self.events.try_recv() {
            let changes = self.builder.core.on(&event, at_us);
            self.offer(changes);
        }
        let mut last = Vec::new();
        if let (TrackEnd::Completed { .. }, Some(cause)) = (&end, self.builder.cancel.cause()) {
            last.extend(self.builder.core.cancelling(&cause, now_us()));
        }
        last.extend(self.builder.core.end(&end, now_us()));
        let deadline = Instant::now() + END_WAIT;
        for change in last {
            for listener in &self.builder.listeners {
                listener.push_until(change.clone(), deadline);
            }
        }
    }
}

/// Microseconds since the epoch.
pub(crate) fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}
