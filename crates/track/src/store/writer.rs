//! A tracker's listener that keeps its changes in a store, on its own thread.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use turnstile_values::human;

use super::error::RunStoreError;
use super::recover::move_aside;
use super::run_store::{RetentionLimits, RunStore};
use crate::change::RunChange;
use crate::run::FlowRun;
use crate::tracker::{CHANGE_CAPACITY, CancelSignal, ChangeStream, TrackerBuilder, now_us};

/// Changes that are stored in one transaction.
const BATCH: usize = 512;
/// How often old runs are deleted while a run goes on.
const RETAIN_EVERY: Duration = Duration::from_secs(60);
/// How often the last changes of a run are tried again when the file is locked.
const LAST_TRIES: u32 = 2;

/// What a writer did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreWriterCounts {
    /// Changes that were stored.
    pub stored: u64,
    /// Changes that were not, because the store was not usable or the queue was full.
    pub dropped: u64,
}

/// Stores changes until the tracker ends. Errors are logged once an outage, and never reach the flow.
#[derive(Debug)]
pub struct StoreWriter {
    thread: JoinHandle<()>,
    counts: Arc<[AtomicU64; 2]>,
}

impl StoreWriter {
    /// Opens the store at `path` for the run of `tracker`: a damaged one is moved aside, and earlier runs of the
    /// pipeline whose processes are gone (`is_alive(host, pid, seen_at_us)`) become `CRASHED`. A store that cannot be
    /// used is an error that says why; the run then goes on without one.
    ///
    /// # Errors
    /// As [`RunStore::open_or_replace`].
    pub fn attach(
        tracker: &mut TrackerBuilder,
        path: &Path,
        limits: &RetentionLimits,
        is_alive: impl Fn(&str, u32, i64) -> bool,
    ) -> Result<Self, RunStoreError> {
        let opened = RunStore::open_or_replace(path, limits, now_us())?;
        if let Some((aside, error)) = opened.replaced {
            tracing::warn!("{}; it was moved to {}, and a new one begun", human::error(&error), aside.display());
        }
        let mut store = opened.store;
        store.retain(now_us())?;
        let crashed = store.crashed_since(&tracker.run().pipeline, now_us(), is_alive)?;
        tracker.crashed(crashed);
        let (stream, cancel) = (tracker.listen(CHANGE_CAPACITY), tracker.cancel_signal());
        Self::start(store, stream, cancel)
    }

    /// Stores the changes of `stream`; `cancel` is asked when someone asks in the store.
    ///
    /// # Errors
    /// `Io`: the system gives no thread.
    pub fn start(store: RunStore, stream: ChangeStream, cancel: CancelSignal) -> Result<Self, RunStoreError> {
        let counts: Arc<[AtomicU64; 2]> = Arc::default();
        let path = store.path().to_path_buf();
        let (retained, counted) = (Instant::now(), Arc::clone(&counts));
        let mut body = WriterThread { store, stream, cancel, counts: counted, last_run: None, outage: false, retained };
        let thread = std::thread::Builder::new().name("run store".into()).spawn(move || body.run());
        Ok(Self { thread: thread.map_err(|source| RunStoreError::Io { path, source })?, counts })
    }

    /// What was done so far.
    pub fn counts(&self) -> StoreWriterCounts {
        let count = |at: usize| self.counts[at].load(Ordering::Relaxed);
        StoreWriterCounts { stored: count(0), dropped: count(1) }
    }

    /// Waits until everything is stored, after the tracker has ended.
    pub fn join(self) -> StoreWriterCounts {
        let counts = Arc::clone(&self.counts);
        // A panic was reported by the panic hook.
        let _ = self.thread.join();
        StoreWriterCounts { stored: counts[0].load(Ordering::Relaxed), dropped: counts[1].load(Ordering::Relaxed) }
    }
}

struct WriterThread {
    store: RunStore,
    stream: ChangeStream,
    cancel: CancelSignal,
    counts: Arc<[AtomicU64; 2]>,
    /// The run as last seen: what a new store begins with.
    last_run: Option<FlowRun>,
    /// Whether the last try failed, and that was logged.
    outage: bool,
    retained: Instant,
}

impl WriterThread {
    fn run(&mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(first) = self.stream.blocking_next() {
            batch.push(first);
            while batch.len() < BATCH
                && let Some(more) = self.stream.try_next()
            {
                batch.push(more);
            }
            self.remember(&batch);
            self.counts[1].fetch_add(self.stream.take_dropped(), Ordering::Relaxed);
            self.store_all(&mut batch);
            self.check_cancelled();
            self.retain();
        }
        let result = self.store.retain(now_us()).map(|_| ());
        self.report(result);
    }

    fn remember(&mut self, batch: &[RunChange]) {
        let run = batch.iter().rev().find_map(|change| match change {
            RunChange::Flow(run) => Some(run),
            _ => None,
        });
        if let Some(run) = run {
            self.last_run = Some(run.clone());
        }
    }

    /// Stores the batch; tries for as long as another process holds the file, while changes still come.
    fn store_all(&mut self, batch: &mut Vec<RunChange>) {
        let ending = self.last_run.as_ref().is_some_and(|run| run.state.is_final());
        let mut tries = 0;
        loop {
            let result = self.store.apply(batch);
            tries += 1;
            let stored = result.is_ok();
            let again = match &result {
                Err(RunStoreError::Locked { .. }) => !ending || tries < LAST_TRIES,
                Err(RunStoreError::Damaged { .. }) => tries == 1,
                _ => false,
            };
            let damaged = matches!(result, Err(RunStoreError::Damaged { .. }));
            self.report(result);
            if damaged && again {
                self.replace();
            }
            if !again {
                self.counts[usize::from(!stored)].fetch_add(batch.len() as u64, Ordering::Relaxed);
                return batch.clear();
            }
        }
    }

    /// Begins a new store after the file was damaged while it was open.
    fn replace(&mut self) {
        let (path, limits) = (self.store.path.clone(), self.store.limits.clone());
        let replaced = move_aside(&path, now_us()).and_then(|aside| {
            tracing::warn!("the run store {} was moved to {}, and a new one begun", path.display(), aside.display());
            RunStore::open(&path, &limits)
        });
        let result = replaced.and_then(|store| {
            self.store = store;
            let run = self.last_run.iter().cloned().map(RunChange::Flow).collect::<Vec<_>>();
            self.store.apply(&run)
        });
        self.report(result);
    }

    fn check_cancelled(&mut self) {
        let Some(run) = self.last_run.as_ref().filter(|run| !run.state.is_final()) else { return };
        if self.cancel.token().is_cancelled() {
            return;
        }
        if let Ok(Some(cause)) = self.store.cancel_requested(run.id) {
            self.cancel.request(if cause.is_empty() { "a person cancelled it".to_owned() } else { cause });
        }
    }

    fn retain(&mut self) {
        if self.retained.elapsed() >= RETAIN_EVERY {
            self.retained = Instant::now();
            let result = self.store.retain(now_us()).map(|_| ());
            self.report(result);
        }
    }

    /// One line for an outage, and one when it is over.
    fn report(&mut self, result: Result<(), RunStoreError>) {
        match (result, self.outage) {
            (Ok(()), true) => {
                self.outage = false;
                tracing::info!("the run store {} is used again", self.store.path.display());
            }
            (Err(error), false) => {
                self.outage = true;
                tracing::warn!("{}; the stream goes on, its runs are not stored meanwhile", human::error(&error));
            }
            _ => {}
        }
    }
}
