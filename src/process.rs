//! What exists once per process: the runtime, which lives in `main`, and the token that ends everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// A second signal within this time of the first is taken for the same one: shells and supervisors often
/// signal a process and its group.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// The process, as verbs see it.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    /// The one runtime.
    pub(crate) runtime: Handle,
    /// Cancelled when the process is to end: every task waits for it too.
    pub(crate) shutdown: CancellationToken,
}

impl Process {
    /// A process that runs its tasks on `runtime`.
    pub(crate) fn new(runtime: Handle) -> Self {
        Self { runtime, shutdown: CancellationToken::new() }
    }

    /// The shutdown token, which SIGINT and SIGTERM cancel from now on; a later second signal ends the process at once.
    ///
    /// # Errors
    /// The signals cannot be handled.
    pub(crate) fn shutdown_on_signals(&self) -> anyhow::Result<CancellationToken> {
        let armed = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&armed))
                .context("signal handler")?;
        }
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("signal handler")?;
        let shutdown = self.shutdown.clone();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            if let Some(signal) = signals.forever().next() {
                tracing::debug!(signal, "shutting down");
                shutdown.cancel();
                std::thread::sleep(SAME_SIGNAL);
                armed.store(true, Ordering::Relaxed);
            }
        })?;
        Ok(self.shutdown.clone())
    }

    /// Lets this thread sleep for `time`, or until shutdown; true when that has begun.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        turnstile_kafka::pause(time, &self.shutdown)
    }
}
