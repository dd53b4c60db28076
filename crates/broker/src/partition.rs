//! One partition as requests see it: its log, and the fetches that wait for more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use kafka_protocol::ResponseError;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::log::Log;

#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) index: i32,
    log: Mutex<Log>,
    deleted: AtomicBool,
    /// Fetches that wait for messages: at most one a connection.
    waiters: Mutex<Vec<Arc<Waiter>>>,
}

/// A fetch that waits until one of several partitions changes.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Waiter {
    /// Waits until woken or `deadline`; false when the deadline came first.
    pub(crate) fn wait_until(&self, deadline: Instant) -> bool {
        let mut woken = self.woken.lock();
        while !*woken {
            if self.changed.wait_until(&mut woken, deadline).timed_out() {
                break;
            }
        }
        std::mem::take(&mut *woken)
    }

    pub(crate) fn wake(&self) {
        *self.woken.lock() = true;
        self.changed.notify_all();
    }
}

impl Partition {
    pub(crate) fn new(index: i32, log: Log) -> Self {
        Self { index, log: Mutex::new(log), deleted: AtomicBool::new(false), waiters: Mutex::default() }
    }

    /// The log, unless the topic was deleted.
    pub(crate) fn log(&self) -> Result<MutexGuard<'_, Log>, ResponseError> {
        let log = self.log.lock();
        if self.deleted.load(Ordering::Relaxed) { Err(ResponseError::UnknownTopicOrPartition) } else { Ok(log) }
    }

    /// Marks the partition as deleted: requests can no longer read or write it.
    pub(crate) fn delete(&self) {
        let log = self.log.lock();
        self.deleted.store(true, Ordering::Relaxed);
        drop(log);
        self.wake();
    }

    /// Wakes the waiting fetches, so that they read again.
    pub(crate) fn wake(&self) {
        self.waiters.lock().iter().for_each(|waiter| waiter.wake());
    }

    pub(crate) fn watch(&self, waiter: &Arc<Waiter>) {
        self.waiters.lock().push(waiter.clone());
    }

    pub(crate) fn unwatch(&self, waiter: &Arc<Waiter>) {
        self.waiters.lock().retain(|other| !Arc::ptr_eq(other, waiter));
    }
}
