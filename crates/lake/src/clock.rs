//! What the ledger needs from the machine besides its store: the time, a wait, a unique name.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;

/// Time and chance, given so that a simulation can decide both.
pub(crate) trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Microseconds since the epoch, UTC. Recorded for people; no decision depends on it.
    fn now_us(&self) -> i64;

    /// Waits before a call is sent again.
    fn sleep(&self, wait: Duration) -> BoxFuture<'static, ()>;

    /// A text of `[0-9a-f]` that no other writer has.
    fn nonce(&self) -> String;
}

/// The machine's own clock and randomness.
#[derive(Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the lake reads the machine's clock")]
    fn now_us(&self) -> i64 {
        // A clock before 1970 is set wrong; zero says so without stopping the pipeline.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
    }

    fn sleep(&self, wait: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(wait))
    }

    fn nonce(&self) -> String {
        uuid::Uuid::new_v4().simple().to_string()
    }
}
