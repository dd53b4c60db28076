//! The request to stop, which threads check or wait for.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

#[derive(Debug, Default)]
pub(crate) struct ShutdownSignal {
    requested: Mutex<bool>,
    changed: Condvar,
}

impl ShutdownSignal {
    pub(crate) fn request(&self) {
        *self.requested.lock() = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_requested(&self) -> bool {
        *self.requested.lock()
    }

    /// Waits for the request, `timeout` at most; whether it came.
    pub(crate) fn wait_timeout(&self, timeout: Duration) -> bool {
        let mut requested = self.requested.lock();
        self.changed.wait_while_for(&mut requested, |requested| !*requested, timeout);
        *requested
    }
}
