//! What the two threads of a reporter share, and what it did so far.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::spool::ReportSpool;
use crate::run::FlowRun;

/// What a reporter did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReporterStats {
    /// Items that the server took.
    pub delivered: u64,
    /// Items that the server will never take.
    pub set_aside: u64,
    /// Items that were dropped: the queue or the spool was full.
    pub dropped: u64,
    /// Bytes that wait for delivery.
    pub waiting_bytes: u64,
    /// Why nothing is delivered at the moment, in one line.
    pub outage: Option<String>,
}

/// What the two threads of a reporter share.
#[derive(Debug)]
pub(super) struct ReporterState {
    pub(super) spool: Mutex<ReportSpool>,
    /// The newest state of this process's run.
    pub(super) current: Mutex<Option<FlowRun>>,
    pub(super) outage: Mutex<Option<String>>,
    place: String,
    ended: AtomicBool,
    delivered: AtomicU64,
    set_aside: AtomicU64,
    queue_dropped: AtomicU64,
    spool_dropped: AtomicU64,
    waiting_bytes: AtomicU64,
}

impl ReporterState {
    /// Nothing was done yet. `place`: the spool's folder, for people.
    pub(super) fn new(spool: ReportSpool, place: String) -> Self {
        Self {
            spool: Mutex::new(spool),
            current: Mutex::default(),
            outage: Mutex::default(),
            place,
            ended: AtomicBool::new(false),
            delivered: AtomicU64::new(0),
            set_aside: AtomicU64::new(0),
            queue_dropped: AtomicU64::new(0),
            spool_dropped: AtomicU64::new(0),
            waiting_bytes: AtomicU64::new(0),
        }
    }

    /// No change comes any more.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(super) fn count_dropped(&self, changes: u64) {
        self.queue_dropped.fetch_add(changes, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> ReporterStats {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        ReporterStats {
            delivered: load(&self.delivered),
            set_aside: load(&self.set_aside),
            dropped: load(&self.queue_dropped) + load(&self.spool_dropped),
            waiting_bytes: load(&self.waiting_bytes),
            outage: self.outage.lock().clone(),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn count_delivered(&self, items: u64) {
        self.delivered.fetch_add(items, Ordering::Relaxed);
    }

    pub(super) fn count_set_aside(&self, items: u64) {
        self.set_aside.fetch_add(items, Ordering::Relaxed);
    }

    pub(super) fn set_spool_state(&self, waiting_bytes: u64, dropped: u64) {
        self.waiting_bytes.store(waiting_bytes, Ordering::Relaxed);
        self.spool_dropped.store(dropped, Ordering::Relaxed);
    }
}
