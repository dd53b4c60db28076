//! What ends a statement early: the client's cancel request, its timeout, the server's shutdown, a panic.
//!
//! In: the future that handles one message. Out: its result, or the error for the client.
//! Knows nothing of SQL. Start at [`Interrupts::guard`].

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::startup::SecretKey;
use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::sqlstate;

/// How a server shuts down. Cancelling `ending` cancels `draining` too.
#[derive(Debug, Clone)]
pub(crate) struct ShutdownTokens {
    /// Running statements may finish; no new ones are accepted.
    pub(crate) draining: CancellationToken,
    /// Statements that still run are cancelled.
    pub(crate) ending: CancellationToken,
}

impl ShutdownTokens {
    pub(crate) fn new() -> Self {
        let ending = CancellationToken::new();
        Self { draining: ending.child_token(), ending }
    }
}

/// The interrupts of one connection.
pub(crate) struct Interrupts {
    cancels: watch::Sender<u64>,
    ending: CancellationToken,
}

impl Interrupts {
    pub(crate) fn new(ending: CancellationToken) -> Self {
        Self { cancels: watch::Sender::new(0), ending }
    }

    /// The handle by which the registry cancels this connection's statement.
    pub(crate) fn handle(&self) -> watch::Sender<u64> {
        self.cancels.clone()
    }

    /// Runs `work` to its end, or drops it: everything that it runs is freed then.
    ///
    /// Dropping is safe at any await: messages are put into the send buffer whole.
    pub(crate) async fn guard<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = PgWireResult<T>> + Send,
    ) -> PgWireResult<T> {
        let mut cancelled = self.cancels.subscribe();
        let work = AssertUnwindSafe(work).catch_unwind();
        tokio::select! {
            biased;
            Ok(()) = cancelled.changed() => Err(PgWireError::QueryCanceled),
            () = self.ending.cancelled() => Err(sqlstate::stopping().into_error()),
            () = tokio::time::sleep(limit) => Err(sqlstate::timed_out(limit).into_error()),
            done = work => done.unwrap_or_else(|panic| {
                tracing::error!(panic = panic_text(&*panic), "a statement panicked; its connection continues");
                Err(sqlstate::panicked().into_error())
            }),
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

/// The connections that cancel requests can name. Holds at most one entry for each connection.
#[derive(Default)]
pub(crate) struct CancelRegistry(Mutex<HashMap<CancelKey, watch::Sender<u64>>>);

/// The process id and the secret that a client was given when it logged in.
type CancelKey = (i32, Vec<u8>);

impl CancelRegistry {
    pub(crate) fn register(&self, pid: i32, key: &SecretKey, cancels: watch::Sender<u64>) {
        self.0.lock().insert((pid, key.to_bytes().to_vec()), cancels);
    }

    pub(crate) fn unregister(&self, pid: i32, key: &SecretKey) {
        self.0.lock().remove(&(pid, key.to_bytes().to_vec()));
    }

    /// Cancels what that connection is doing. The sender does not learn whether it exists.
    pub(crate) fn cancel(&self, pid: i32, key: &SecretKey) {
        let registry = self.0.lock();
        if let Some(cancels) = registry.get(&(pid, key.to_bytes().to_vec())) {
            cancels.send_modify(|count| *count += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::pending;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn interrupts() -> Interrupts {
        Interrupts::new(CancellationToken::new())
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    #[test]
    fn a_cancel_request_ends_a_statement() {
        let interrupts = interrupts();
        let registry = CancelRegistry::default();
        let key = SecretKey::I32(7);
        registry.register(1, &key, interrupts.handle());
        let outcome = runtime().block_on(async {
            let work = interrupts.guard(LONG, pending::<PgWireResult<()>>());
            let cancel = async {
                registry.cancel(1, &SecretKey::I32(8));
                registry.cancel(1, &key);
            };
            tokio::join!(work, cancel).0
        });
        assert!(matches!(outcome, Err(PgWireError::QueryCanceled)));
    }

    #[test]
    fn a_cancel_request_between_statements_has_no_effect() {
        let interrupts = interrupts();
        interrupts.handle().send_modify(|count| *count += 1);
        let outcome = runtime().block_on(interrupts.guard(LONG, async { Ok(5) }));
        assert_eq!(outcome.unwrap(), 5);
    }

    #[test]
    fn a_panic_becomes_an_error_of_its_statement() {
        let interrupts = interrupts();
        let outcome = runtime().block_on(interrupts.guard::<()>(LONG, async { panic!("on purpose") }));
        assert!(outcome.unwrap_err().to_string().contains("XX000"));
    }

    #[test]
    fn a_server_that_ends_cancels_its_statements() {
        let interrupts = interrupts();
        interrupts.ending.cancel();
        let outcome = runtime().block_on(interrupts.guard(LONG, pending::<PgWireResult<()>>()));
        assert!(outcome.unwrap_err().to_string().contains("57P01"));
    }
}
