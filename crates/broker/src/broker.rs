//! Starts and stops the broker: the folder, the port, the threads.
//!
//! One thread accepts connections, one each serves them, one does the housekeeping (retention, fsync). There is no
//! async runtime: a Kafka connection has one request under way at a time, and a thread that waits for
//! messages or for a group costs little on one machine.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::connection;
use crate::fetch_sessions::FetchSessionCache;
use crate::group::GroupCoordinator;
use crate::identity::BrokerIdentity;
use crate::settings::{BrokerError, BrokerSettings, Fsync};
use crate::shutdown::ShutdownSignal;
use crate::state::{BrokerState, Connections, now_ms};
use crate::topics::TopicStore;

/// How long [`Broker::stop`] waits for requests under way.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait after the port could not accept a client, as when there are no more file descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);
/// A connection's thread needs little: requests are not recursive.
const STACK_BYTES: usize = 512 << 10;

/// A running broker. Dropping it stops it.
#[derive(Debug)]
pub struct Broker {
    state: Arc<BrokerState>,
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
    /// Held as long as the broker runs, so that no second one serves from the same folder.
    _lock: Option<File>,
}

impl Broker {
    /// Reads the folder, listens, and serves on its own threads; returns once clients can connect.
    ///
    /// # Errors
    /// See [`BrokerError`]: nothing was changed in the folder beyond cutting off a torn end.
    pub fn start(settings: BrokerSettings) -> Result<Self, BrokerError> {
        if !settings.listen.ip().is_loopback() && !settings.beyond_loopback {
            return Err(BrokerError::BeyondLoopback(settings.listen));
        }
        let dir = settings.dir.clone();
        let lock = dir.as_deref().map(lock_folder).transpose()?;
        let below = |name: &str| dir.as_ref().map(|dir| dir.join(name));
        let identity = BrokerIdentity::open(below("broker").as_deref())?;
        let topics = TopicStore::open(below("topics").as_deref(), &settings, now_ms())?;
        let durable = settings.fsync == Fsync::EveryBatch;
        let shutdown = Arc::new(ShutdownSignal::default());
        let groups =
            GroupCoordinator::open(below("groups").as_deref(), durable, settings.max_groups, shutdown.clone())?;
        let requested = settings.listen;
        let listen = move |source| BrokerError::Listen { address: requested, source };
        let listener = TcpListener::bind(requested).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (sessions, connections) = (FetchSessionCache::default(), Connections::default());
        let state = Arc::new(BrokerState { settings, identity, topics, groups, sessions, connections, shutdown });
        let (accepting, keeping) = (state.clone(), state.clone());
        let threads = vec![
            spawn("broker-accept", move || accept(&accepting, &listener)).map_err(listen)?,
            spawn("broker-housekeeping", move || run_housekeeping(&keeping)).map_err(listen)?,
        ];
        tracing::info!(%address, "the embedded broker is listening");
        Ok(Self { state, address, threads, _lock: lock })
    }

    /// Where clients connect: their `bootstrap.servers`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets requests under way end, writes everything to the disk and stops.
    pub fn stop(mut self) {
        self.shut_down(true);
    }

    /// Stops serving and writes nothing more, as when the process is killed. For tests.
    #[doc(hidden)]
    pub fn crash(mut self) {
        self.shut_down(false);
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> Arc<BrokerState> {
        self.state.clone()
    }

    fn shut_down(&mut self, cleanly: bool) {
        if self.threads.is_empty() {
            return;
        }
        self.state.shutdown.request();
        self.state.groups.wake_all();
        let topics = self.state.topics.all();
        topics.iter().flat_map(|topic| topic.partitions()).for_each(|partition| partition.wake());
        // Wakes the thread that waits in accept.
        let _ = TcpStream::connect_timeout(&reachable(self.address), Duration::from_secs(1));
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
        self.state.connections.close_all(Instant::now() + STOP_TIMEOUT);
        if !cleanly {
            return;
        }
        for topic in topics {
            for partition in topic.partitions() {
                if let Err(error) = partition.log().map_or(Ok(()), |mut log| log.close()) {
                    tracing::error!(topic = &*topic.name, partition = partition.index, %error, "cannot close the log");
                }
            }
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shut_down(true);
    }
}

/// Takes the folder for this process. A folder that holds other things is refused: topics whose creation
/// was interrupted are deleted at the start, and nothing else must be mistaken for one.
fn lock_folder(dir: &Path) -> Result<File, BrokerError> {
    fs::create_dir_all(dir).map_err(BrokerError::storage(dir))?;
    let foreign = dir.join("topics").exists() && !dir.join("broker").exists();
    if foreign {
        let why = io::Error::new(io::ErrorKind::InvalidInput, "it has a folder 'topics' that no broker created");
        return Err(BrokerError::storage(dir)(why));
    }
    let path = dir.join("lock");
    let lock = File::create(&path).map_err(BrokerError::storage(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(BrokerError::InUse(dir.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(BrokerError::storage(&path)(error)),
    }
}

/// An address that this machine can connect to, when `address` means all of its addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(run)
}

fn accept(state: &Arc<BrokerState>, listener: &TcpListener) {
    let limit = state.settings.max_connections;
    for id in 0.. {
        let accepted = listener.accept();
        if state.shutdown.is_requested() {
            return;
        }
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                thread::sleep(ACCEPT_RETRY_DELAY);
                continue;
            }
        };
        match state.connections.add(id, &stream, limit) {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(limit, "too many connections: closed the newest");
                continue;
            }
            Err(_) => continue,
        }
        let guard = ConnectionGuard { state: state.clone(), id };
        if let Err(error) = spawn("broker-client", move || connection::serve(&guard.state, stream)) {
            tracing::warn!(%error, "cannot serve a connection");
        }
    }
}

/// A connection's place among the open ones; given back however its thread ends.
struct ConnectionGuard {
    state: Arc<BrokerState>,
    id: u64,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.state.connections.remove(self.id);
    }
}

/// Retention and fsync, until the broker stops.
fn run_housekeeping(state: &BrokerState) {
    let sync_interval = match state.settings.fsync {
        Fsync::Interval(interval) => Some(interval),
        Fsync::Never | Fsync::EveryBatch => None,
    };
    let retention_interval = Duration::from_millis(state.settings.retention_check_ms.max(1));
    let pause = retention_interval.min(sync_interval.unwrap_or(Duration::from_secs(1))).max(Duration::from_millis(1));
    let mut retention_at = Instant::now();
    while !state.shutdown.wait_timeout(pause) {
        let retention_due = retention_at.elapsed() >= retention_interval;
        if retention_due {
            retention_at = Instant::now();
        }
        for topic in state.topics.all() {
            let limits = state.topics.limits(&topic);
            for partition in topic.partitions() {
                let Ok(mut log) = partition.log() else { continue };
                if retention_due && log.apply_retention(&limits, now_ms()) {
                    tracing::info!(topic = &*topic.name, partition = partition.index, start = log.start(), "retention");
                }
                let flush = log.take_flush();
                drop(log);
                if let Err(error) = flush.run(sync_interval.is_some()) {
                    tracing::error!(topic = &*topic.name, partition = partition.index, %error, "fsync");
                }
            }
        }
    }
}
