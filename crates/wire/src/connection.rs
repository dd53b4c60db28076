//! One client, from its first byte to its last.
//!
//! In: a socket. Out: answers, and an end that frees whatever ran for it.
//! Knows nothing of SQL. Start at [`serve`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion_postgres::pgwire::api::cancel::CancelHandler;
use datafusion_postgres::pgwire::api::{ClientInfo, NoopHandler, PgWireConnectionState};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};
use datafusion_postgres::pgwire::messages::PgWireFrontendMessage;
use datafusion_postgres::pgwire::messages::cancel::CancelRequest;
use datafusion_postgres::pgwire::tokio::server::{negotiate_tls, process_error, process_message};
use futures::StreamExt;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsAcceptor;

use crate::interrupt::{Registry, Stage, reached};
use crate::login::Login;
use crate::prepared::Prepared;
use crate::sqlstate;
use crate::statements::Statements;

/// How long a client may take to come in.
const STARTUP_LIMIT: Duration = Duration::from_secs(15);
/// How often to look whether the client of a running statement is still there.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What a connection needs of its server.
pub(crate) struct Connection {
    pub(crate) statements: Arc<Statements>,
    pub(crate) login: Arc<Login>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) stage: watch::Receiver<Stage>,
    pub(crate) tls: Option<TlsAcceptor>,
}

/// Serves one client until it goes, is refused, or the server stops.
///
/// # Errors
/// When the socket fails; there is nobody to tell then.
pub(crate) async fn serve(connection: Connection, socket: TcpStream) -> io::Result<()> {
    // A second handle on the socket sees the client go while the first is busy with a statement.
    let socket = socket.into_std()?;
    let line = TcpStream::from_std(socket.try_clone()?)?;
    let socket = TcpStream::from_std(socket)?;
    let deadline = Instant::now() + STARTUP_LIMIT;
    let negotiated = timeout_at(deadline, negotiate_tls::<Prepared>(socket, connection.tls.clone())).await;
    let Ok(Ok(Some(mut socket))) = negotiated else { return Ok(()) };
    let cancels = Arc::new(Cancels(Arc::clone(&connection.registry)));
    let mut registered = None;
    let mut stage = connection.stage.clone();
    loop {
        let message = match socket.state() {
            PgWireConnectionState::AwaitingStartup | PgWireConnectionState::AuthenticationInProgress => {
                timeout_at(deadline, socket.next()).await.ok().flatten()
            }
            _ => tokio::select! {
                biased;
                () = reached(&mut stage, Stage::Draining) => {
                    return process_error(&mut socket, sqlstate::stopping().into_error(), false).await;
                }
                message = socket.next() => message,
            },
        };
        let Some(Ok(message)) = message else { return Ok(()) };
        if matches!(message, PgWireFrontendMessage::Terminate(_)) {
            return Ok(());
        }
        let extended = message.is_extended_query();
        let outcome = tokio::select! {
            // In this order: who sends a cancel request closes its side at once.
            biased;
            outcome = process_message(
                message,
                &mut socket,
                Arc::clone(&connection.login),
                Arc::clone(&connection.statements),
                Arc::clone(&connection.statements),
                Arc::new(NoopHandler),
                Arc::clone(&cancels),
            ) => outcome,
            () = gone(&line) => return Ok(()),
        };
        if let Err(error) = outcome {
            let info = ErrorInfo::from(error);
            tracing::debug!(code = %info.code, message = %info.message, "a client was told of an error");
            let fatal = info.is_fatal();
            process_error(&mut socket, PgWireError::UserError(Box::new(info)), extended).await?;
            // After a fatal error nothing more is heard, least of all from who did not come in.
            if fatal {
                return Ok(());
            }
        }
        if registered.is_none() && matches!(socket.state(), PgWireConnectionState::ReadyForQuery) {
            let (pid, key) = socket.pid_and_secret_key();
            connection.registry.register(pid, &key, connection.statements.interrupts.handle());
            registered = Some(Registered { registry: Arc::clone(&connection.registry), pid, key });
        }
    }
}

/// Waits until the client has closed its side.
async fn gone(line: &TcpStream) {
    loop {
        match line.ready(Interest::READABLE).await {
            Ok(ready) if !ready.is_read_closed() => sleep(LOOK_EVERY).await,
            _ => return,
        }
    }
}

struct Registered {
    registry: Arc<Registry>,
    pid: i32,
    key: datafusion_postgres::pgwire::messages::startup::SecretKey,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.forget(self.pid, &self.key);
    }
}

/// Cancel requests come over connections of their own.
struct Cancels(Arc<Registry>);

#[async_trait]
impl CancelHandler for Cancels {
    async fn on_cancel_request(&self, request: CancelRequest) {
        self.0.cancel(request.pid, &request.secret_key);
    }
}
