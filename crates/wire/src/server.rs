//! The open port.
//!
//! In: a [`Database`] and settings. Out: connections, each in a task of its own, no more than allowed.
//! Knows nothing of messages. Start at [`Server::start`].

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use datafusion_postgres::pgwire::api::RandomPidSecretKeyGenerator;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::Database;
use crate::catalog::Catalog;
use crate::connection::{Connection, serve};
use crate::error::WireError;
use crate::interrupt::{Interrupts, Registry, Stage, reached};
use crate::login::{Gate, Login, Verifier};
use crate::prepared::{Dialect, Planner};
use crate::settings::ServeSettings;
use crate::statements::Statements;
use crate::tls::Tls;
use crate::variables::Variables;

/// How many clients above the limit are told so at a time, or may bring a cancel request; more are just closed.
const MOST_REFUSED: usize = 32;
/// How long to wait after the port could not take a client, as when there are no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long cancelled statements may take to tell their clients.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A port that answers SQL. Dropping it ends all connections at once; [`Server::stop`] lets them finish.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stage: watch::Sender<Stage>,
    grace: Duration,
    accepting: JoinHandle<JoinSet<()>>,
}

impl Server {
    /// Opens the port. Needs a Tokio runtime with time and I/O.
    ///
    /// # Errors
    /// When the settings do not fit together, a TLS file is no use, or the address cannot be listened on.
    pub async fn start(database: Arc<dyn Database>, settings: ServeSettings) -> Result<Self, WireError> {
        settings.check()?;
        let tls = settings.tls.as_ref().map(Tls::load).transpose()?;
        let listening = |source| WireError::Listen { address: settings.listen, source };
        let listener = TcpListener::bind(settings.listen).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        let catalog = Catalog::new().map_err(WireError::Catalog)?;
        let (stage, _) = watch::channel(Stage::Serving);
        let grace = settings.stop_grace;
        let (acceptor, certificate_pem) = tls.map(|tls| (tls.acceptor, tls.certificate_pem)).unzip();
        let reception = Reception {
            gate: Gate {
                verifier: settings.credentials.as_ref().map(|credentials| Arc::new(Verifier::new(credentials))),
                certificate_pem,
                keys: Arc::new(RandomPidSecretKeyGenerator::default()),
            },
            dialect: Arc::new(Dialect::new(database, catalog)),
            registry: Arc::default(),
            tls: acceptor,
            places: Arc::new(Semaphore::new(settings.max_connections)),
            refusals: Arc::new(Semaphore::new(MOST_REFUSED)),
            stage: stage.subscribe(),
            settings,
        };
        Ok(Self { address, stage, grace, accepting: tokio::spawn(reception.accept(listener)) })
    }

    /// Where it listens, with the port that was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more clients, sends idle ones away, gives running statements the grace of the settings, then cancels
    /// them.
    pub async fn stop(self) {
        self.stage.send_replace(Stage::Draining);
        let Ok(mut connections) = self.accepting.await else { return };
        let all_gone = timeout(self.grace, ended(&mut connections)).await;
        self.stage.send_replace(Stage::Ending);
        if all_gone.is_err() {
            // Those that do not even take their last words are closed by dropping the set.
            let _said_or_not = timeout(LAST_WORDS, ended(&mut connections)).await;
        }
    }
}

async fn ended(connections: &mut JoinSet<()>) {
    while connections.join_next().await.is_some() {}
}

/// What every connection is made of.
struct Reception {
    settings: ServeSettings,
    gate: Gate,
    dialect: Arc<Dialect>,
    registry: Arc<Registry>,
    tls: Option<TlsAcceptor>,
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    stage: watch::Receiver<Stage>,
}

impl Reception {
    /// Takes clients until the server stops; returns those that are there then.
    async fn accept(self, listener: TcpListener) -> JoinSet<()> {
        let mut connections = JoinSet::new();
        let mut stage = self.stage.clone();
        loop {
            tokio::select! {
                biased;
                () = reached(&mut stage, Stage::Draining) => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((socket, peer)) => self.receive(&mut connections, socket, peer),
                    Err(error) => {
                        tracing::warn!(%error, "a client could not be taken");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        self.dialect.catalog.clear();
        connections
    }

    fn receive(&self, connections: &mut JoinSet<()>, socket: TcpStream, peer: SocketAddr) {
        let Some((place, full)) = self.place() else {
            tracing::warn!(%peer, "closed without a word: too many clients are being refused");
            return;
        };
        let connection = self.connection(full);
        connections.spawn(async move {
            let ended: io::Result<()> = serve(connection, socket).await;
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "a connection broke");
            }
            drop(place);
        });
    }

    /// A place among the connections, or among those that are told there is none.
    fn place(&self) -> Option<(OwnedSemaphorePermit, Option<usize>)> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some((place, None));
        }
        let refusal = Arc::clone(&self.refusals).try_acquire_owned().ok()?;
        Some((refusal, Some(self.settings.max_connections)))
    }

    fn connection(&self, full: Option<usize>) -> Connection {
        let variables = Arc::new(Mutex::new(Variables::new(self.settings.statement_timeout)));
        let planner = Planner { dialect: Arc::clone(&self.dialect), variables };
        let interrupts = Interrupts::new(self.stage.clone());
        let statements = Arc::new(Statements::new(planner, interrupts, self.settings.max_rows));
        Connection {
            login: Arc::new(Login::new(&self.gate, &statements, full)),
            statements,
            registry: Arc::clone(&self.registry),
            stage: self.stage.clone(),
            tls: self.tls.clone(),
        }
    }
}
