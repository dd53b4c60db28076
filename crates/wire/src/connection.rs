//! One client, from its first byte to its last.
//!
//! In: a socket. Out: responses. When it ends, everything that ran for the client is freed.
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
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::handler::QueryHandler;
use crate::interrupt::CancelRegistry;
use crate::login::Login;
use crate::planner::PreparedStatement;
use crate::sqlstate;

/// How long a client may take to log in.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(15);
/// How often to check whether the client of a running statement is still connected.
const DISCONNECT_CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// One connection, with what it needs of its server.
pub(crate) struct ClientConnection {
    pub(crate) handler: Arc<QueryHandler>,
    pub(crate) login: Arc<Login>,
    pub(crate) registry: Arc<CancelRegistry>,
    pub(crate) draining: CancellationToken,
    pub(crate) tls: Option<TlsAcceptor>,
}

/// Serves one client until it disconnects, is refused, or the server stops.
///
/// # Errors
/// When the socket fails; the client cannot be sent an error then.
pub(crate) async fn serve(connection: ClientConnection, socket: TcpStream) -> io::Result<()> {
    // A second handle on the socket sees the client disconnect while the first is busy with a statement.
    let socket = socket.into_std()?;
    let watcher = TcpStream::from_std(socket.try_clone()?)?;
    let socket = TcpStream::from_std(socket)?;
    let deadline = Instant::now() + STARTUP_TIMEOUT;
    let negotiated = timeout_at(deadline, negotiate_tls::<PreparedStatement>(socket, connection.tls.clone())).await;
    let Ok(Ok(Some(mut socket))) = negotiated else { return Ok(()) };
    let cancels = Arc::new(CancelRequests(Arc::clone(&connection.registry)));
    let mut registered = None;
    loop {
        let message = match socket.state() {
            PgWireConnectionState::AwaitingStartup | PgWireConnectionState::AuthenticationInProgress => {
                timeout_at(deadline, socket.next()).await.ok().flatten()
            }
            _ => tokio::select! {
                biased;
                () = connection.draining.cancelled() => {
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
            // In this order: a client that sends a cancel request closes its side at once.
            biased;
            outcome = process_message(
                message,
                &mut socket,
                Arc::clone(&connection.login),
                Arc::clone(&connection.handler),
                Arc::clone(&connection.handler),
                Arc::new(NoopHandler),
                Arc::clone(&cancels),
            ) => outcome,
            () = disconnected(&watcher) => return Ok(()),
        };
        if let Err(error) = outcome {
            let info = ErrorInfo::from(error);
            tracing::debug!(code = %info.code, message = %info.message, "sent an error to a client");
            let fatal = info.is_fatal();
            process_error(&mut socket, PgWireError::UserError(Box::new(info)), extended).await?;
            // After a fatal error nothing more is read, least of all from a client that did not log in.
            if fatal {
                return Ok(());
            }
        }
        if registered.is_none() && matches!(socket.state(), PgWireConnectionState::ReadyForQuery) {
            let (pid, key) = socket.pid_and_secret_key();
            connection.registry.register(pid, &key, connection.handler.interrupts.handle());
            registered = Some(CancelRegistration { registry: Arc::clone(&connection.registry), pid, key });
        }
    }
}

/// Waits until the client has closed its side.
async fn disconnected(socket: &TcpStream) {
    loop {
        match socket.ready(Interest::READABLE).await {
            Ok(ready) if !ready.is_read_closed() => sleep(DISCONNECT_CHECK_INTERVAL).await,
            _ => return,
        }
    }
}

struct CancelRegistration {
    registry: Arc<CancelRegistry>,
    pid: i32,
    key: datafusion_postgres::pgwire::messages::startup::SecretKey,
}

impl Drop for CancelRegistration {
    fn drop(&mut self) {
        self.registry.unregister(self.pid, &self.key);
    }
}

/// Cancel requests come over separate connections.
struct CancelRequests(Arc<CancelRegistry>);

#[async_trait]
impl CancelHandler for CancelRequests {
    async fn on_cancel_request(&self, request: CancelRequest) {
        self.0.cancel(request.pid, &request.secret_key);
    }
}
