//! The open port.
//!
//! In: a [`Database`] and settings. Out: connections, each in its own task, no more than allowed.
//! Knows nothing of messages. Start at [`WireServer::start`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use datafusion_postgres::pgwire::api::RandomPidSecretKeyGenerator;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::connection::{ClientConnection, serve};
use crate::database::Database;
use crate::error::WireError;
use crate::handler::QueryHandler;
use crate::interrupt::{CancelRegistry, Interrupts, ShutdownTokens};
use crate::login::{Login, LoginPolicy, ScramVerifier};
use crate::pg_catalog::PgCatalog;
use crate::planner::{Planner, SharedPlanner};
use crate::settings::ServeSettings;
use crate::tls::ServerTls;
use crate::variables::Variables;

/// How many clients above the limit are refused with an error at a time, or may send a cancel request; more are
/// just closed.
const MAX_REFUSED: usize = 32;
/// How long to wait after the port could not accept a client, as when there are no more file descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// How long cancelled statements may take to send their errors.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// A port that answers SQL. Dropping it ends all connections at once; [`WireServer::stop`] lets them finish.
#[derive(Debug)]
pub struct WireServer {
    address: SocketAddr,
    draining: CancellationToken,
    ending: DropGuard,
    grace: Duration,
    accepting: JoinHandle<JoinSet<()>>,
}

impl WireServer {
    /// Opens the port; connections run on the caller's Tokio runtime, which needs time and I/O.
    ///
    /// # Errors
    /// When the settings do not fit together, a TLS file cannot be used, or the address cannot be listened on.
    pub async fn start(database: Arc<dyn Database>, settings: ServeSettings) -> Result<Self, WireError> {
        settings.check()?;
        let tls = settings.tls.as_ref().map(ServerTls::load).transpose()?;
        let listening = |source| WireError::Listen { address: settings.listen, source };
        let listener = TcpListener::bind(settings.listen).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        let catalog = PgCatalog::new().map_err(WireError::Catalog)?;
        let shutdown = ShutdownTokens::new();
        let (draining, ending) = (shutdown.draining.clone(), shutdown.ending.clone().drop_guard());
        let grace = settings.stop_grace;
        let (tls, certificate_pem) = tls.map(|tls| (tls.acceptor, tls.certificate_pem)).unzip();
        let acceptor = ClientAcceptor {
            login: LoginPolicy {
                verifier: settings.credentials.as_ref().map(|credentials| Arc::new(ScramVerifier::new(credentials))),
                certificate_pem,
                keys: Arc::new(RandomPidSecretKeyGenerator::default()),
            },
            shared: Arc::new(SharedPlanner::new(database, catalog)),
            registry: Arc::default(),
            tls,
            slots: Arc::new(Semaphore::new(settings.max_connections)),
            refusals: Arc::new(Semaphore::new(MAX_REFUSED)),
            shutdown,
            settings,
        };
        Ok(Self { address, draining, ending, grace, accepting: tokio::spawn(acceptor.accept(listener)) })
    }

    /// Where it listens, with the actual port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more clients, closes idle connections, gives running statements the grace of the settings, then
    /// cancels them.
    pub async fn stop(self) {
        self.draining.cancel();
        let Ok(mut connections) = self.accepting.await else { return };
        let all_ended = timeout(self.grace, ended(&mut connections)).await;
        drop(self.ending);
        if all_ended.is_err() {
            // Connections that do not even read their errors are closed by dropping the set.
            let _ended_or_not = timeout(CANCEL_TIMEOUT, ended(&mut connections)).await;
        }
    }
}

async fn ended(connections: &mut JoinSet<()>) {
    while connections.join_next().await.is_some() {}
}

/// Accepts clients: what every connection is built from.
struct ClientAcceptor {
    settings: ServeSettings,
    login: LoginPolicy,
    shared: Arc<SharedPlanner>,
    registry: Arc<CancelRegistry>,
    tls: Option<TlsAcceptor>,
    slots: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    shutdown: ShutdownTokens,
}

impl ClientAcceptor {
    /// Accepts clients until the server stops; returns those that are connected then.
    async fn accept(self, listener: TcpListener) -> JoinSet<()> {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.draining.cancelled() => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((socket, peer)) => self.start_connection(&mut connections, socket, peer),
                    Err(error) => {
                        tracing::warn!(%error, "a client could not be accepted");
                        sleep(ACCEPT_RETRY_DELAY).await;
                    }
                },
            }
        }
        self.shared.catalog.clear();
        connections
    }

    fn start_connection(&self, connections: &mut JoinSet<()>, socket: TcpStream, peer: SocketAddr) {
        let Some((slot, full)) = self.slot() else {
            tracing::warn!(%peer, "closed without an error: too many clients are being refused");
            return;
        };
        let connection = self.connection(full);
        connections.spawn(async move {
            let ended: io::Result<()> = serve(connection, socket).await;
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "a connection failed");
            }
            drop(slot);
        });
    }

    /// A slot among the connections, or among those that are refused because there is none.
    fn slot(&self) -> Option<(OwnedSemaphorePermit, Option<usize>)> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some((slot, None));
        }
        let refusal = Arc::clone(&self.refusals).try_acquire_owned().ok()?;
        Some((refusal, Some(self.settings.max_connections)))
    }

    fn connection(&self, full: Option<usize>) -> ClientConnection {
        let variables = Arc::new(Mutex::new(Variables::new(self.settings.statement_timeout)));
        let planner = Planner { shared: Arc::clone(&self.shared), variables };
        let interrupts = Interrupts::new(self.shutdown.ending.clone());
        let handler = Arc::new(QueryHandler::new(planner, interrupts, self.settings.max_rows));
        ClientConnection {
            login: Arc::new(Login::new(&self.login, &handler, full)),
            handler,
            registry: Arc::clone(&self.registry),
            draining: self.shutdown.draining.clone(),
            tls: self.tls.clone(),
        }
    }
}
