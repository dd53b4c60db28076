//! A request to end, which a person or another process makes.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Asks a run to end; cloning gives the same request. The first cause stays.
#[derive(Debug, Clone, Default)]
pub struct CancelSignal {
    token: CancellationToken,
    cause: Arc<Mutex<Option<String>>>,
}

impl CancelSignal {
    /// Asks the run to end because of `cause`, in one line: `a person cancelled it in Prefect`.
    pub fn request(&self, cause: impl Into<String>) {
        self.cause.lock().get_or_insert_with(|| cause.into());
        self.token.cancel();
    }

    /// Ends when the run was asked to end; clone it to wait for that.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Why the run was asked to end, once it was.
    pub fn cause(&self) -> Option<String> {
        self.cause.lock().clone()
    }
}
