//! What ends a statement before its time: the client's cancel, its own timeout, the server's stop, a panic.
//!
//! In: a future that works for one message. Out: its result, or the error that the client is told.
//! Knows nothing of SQL. Start at [`Interrupts::guard`].

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::startup::SecretKey;
use futures::FutureExt;
use tokio::sync::watch;

use crate::sqlstate;

/// How far a server is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Serving,
    /// Statements that run may end; nothing new begins.
    Draining,
    /// Statements that still run are cancelled.
    Ending,
}

/// Waits until the server is at `stage` or further; a server that is gone has ended.
pub(crate) async fn reached(stage: &mut watch::Receiver<Stage>, at_least: Stage) {
    let _ended_either_way = stage.wait_for(|now| *now >= at_least).await;
}

/// The interrupts of one connection.
pub(crate) struct Interrupts {
    cancels: watch::Sender<u64>,
    stage: watch::Receiver<Stage>,
}

impl Interrupts {
    pub(crate) fn new(stage: watch::Receiver<Stage>) -> Self {
        Self { cancels: watch::Sender::new(0), stage }
    }

    /// What the registry keeps to cancel this connection's statement.
    pub(crate) fn handle(&self) -> watch::Sender<u64> {
        self.cancels.clone()
    }

    /// Does `work`, or drops it where it stands: whatever it ran is freed then.
    ///
    /// Dropping is safe at any await: messages are put into the send buffer whole.
    pub(crate) async fn guard<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = PgWireResult<T>> + Send,
    ) -> PgWireResult<T> {
        let mut cancelled = self.cancels.subscribe();
        let mut stage = self.stage.clone();
        let work = AssertUnwindSafe(work).catch_unwind();
        tokio::select! {
            biased;
            Ok(()) = cancelled.changed() => Err(PgWireError::QueryCanceled),
            () = reached(&mut stage, Stage::Ending) => Err(sqlstate::stopping().into_error()),
            () = tokio::time::sleep(limit) => Err(sqlstate::timed_out(limit).into_error()),
            done = work => done.unwrap_or_else(|panic| {
                tracing::error!(panic = panic_text(&*panic), "a statement panicked; its connection goes on");
                Err(sqlstate::panicked().into_error())
            }),
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

/// Which connection a cancel request means. Holds no more entries than there are connections.
#[derive(Default)]
pub(crate) struct Registry(Mutex<HashMap<Key, watch::Sender<u64>>>);

/// The number and the secret that a client was given when it came in.
type Key = (i32, Vec<u8>);

impl Registry {
    pub(crate) fn register(&self, pid: i32, key: &SecretKey, cancels: watch::Sender<u64>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((pid, key.to_bytes().to_vec()), cancels);
    }

    pub(crate) fn forget(&self, pid: i32, key: &SecretKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(pid, key.to_bytes().to_vec()));
    }

    /// Cancels what that connection is doing. Nobody learns whether it exists.
    pub(crate) fn cancel(&self, pid: i32, key: &SecretKey) {
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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

    fn interrupts() -> (watch::Sender<Stage>, Interrupts) {
        let (stage, receiver) = watch::channel(Stage::Serving);
        (stage, Interrupts::new(receiver))
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    #[test]
    fn a_cancel_ends_what_never_would() {
        let (_stage, interrupts) = interrupts();
        let registry = Registry::default();
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
    fn a_cancel_that_comes_between_statements_hits_none() {
        let (_stage, interrupts) = interrupts();
        interrupts.handle().send_modify(|count| *count += 1);
        let outcome = runtime().block_on(interrupts.guard(LONG, async { Ok(5) }));
        assert_eq!(outcome.unwrap(), 5);
    }

    #[test]
    fn a_panic_is_an_error_of_its_statement() {
        let (_stage, interrupts) = interrupts();
        let outcome = runtime().block_on(interrupts.guard::<()>(LONG, async { panic!("on purpose") }));
        assert!(outcome.unwrap_err().to_string().contains("XX000"));
    }

    #[test]
    fn a_server_that_ends_ends_its_statements() {
        let (stage, interrupts) = interrupts();
        stage.send_replace(Stage::Ending);
        let outcome = runtime().block_on(interrupts.guard(LONG, pending::<PgWireResult<()>>()));
        assert!(outcome.unwrap_err().to_string().contains("57P01"));
    }
}
