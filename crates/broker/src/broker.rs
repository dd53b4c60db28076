//! Starts and stops the broker: the folder, the port, the threads.
//!
//! One thread takes connections, one each serves them, one keeps house (retention, fsync). There is no
//! async runtime: a Kafka connection has one request under way at a time, and a thread that waits for
//! messages or for a group costs little on one machine.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};

use crate::api::Sessions;
use crate::connection;
use crate::group::Groups;
use crate::identity::Identity;
use crate::settings::{BrokerError, Fsync, Settings};
use crate::topics::Topics;

/// How long [`Broker::stop`] waits for requests under way.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// A connection's thread needs little: requests are not recursive.
const STACK_BYTES: usize = 512 << 10;

/// A running broker. Dropping it stops it.
#[derive(Debug)]
pub struct Broker {
    node: Arc<Node>,
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
    /// Held as long as the broker runs, so that no second one serves from the same folder.
    _lock: Option<File>,
}

/// What all threads share.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) settings: Settings,
    pub(crate) identity: Identity,
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) sessions: Sessions,
    stopping: AtomicBool,
    /// Open connections, so that they can be shut.
    connections: Mutex<HashMap<u64, TcpStream>>,
    /// Notified when a connection ends and when the broker stops.
    changed: Condvar,
}

impl Node {
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// The wall clock, milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Broker {
    /// Reads the folder, listens, and serves on threads of its own; returns once clients can connect.
    ///
    /// # Errors
    /// See [`BrokerError`]: nothing was changed in the folder beyond cutting off a torn end.
    pub fn start(settings: Settings) -> Result<Self, BrokerError> {
        if !settings.listen.ip().is_loopback() && !settings.beyond_loopback {
            return Err(BrokerError::BeyondLoopback(settings.listen));
        }
        let dir = settings.dir.clone();
        let lock = dir.as_deref().map(lock_folder).transpose()?;
        let below = |name: &str| dir.as_ref().map(|dir| dir.join(name));
        let identity = Identity::open(below("broker").as_deref())?;
        let topics = Topics::open(below("topics").as_deref(), &settings, now_ms())?;
        let durable = settings.fsync == Fsync::EveryBatch;
        let groups = Groups::open(below("groups").as_deref(), durable, settings.max_groups)?;
        let wanted = settings.listen;
        let listen = move |source| BrokerError::Listen { address: wanted, source };
        let listener = TcpListener::bind(settings.listen).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let node = Arc::new(Node {
            settings,
            identity,
            topics,
            groups,
            sessions: Sessions::default(),
            stopping: AtomicBool::new(false),
            connections: Mutex::default(),
            changed: Condvar::new(),
        });
        let (accepting, keeping) = (node.clone(), node.clone());
        let threads = vec![
            spawn("broker-accept", move || accept(&accepting, &listener)).map_err(listen)?,
            spawn("broker-house", move || keep_house(&keeping)).map_err(listen)?,
        ];
        tracing::info!(%address, "the embedded broker listens");
        Ok(Self { node, address, threads, _lock: lock })
    }

    /// Where clients connect: their `bootstrap.servers`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets requests under way end, writes everything down and stops.
    pub fn stop(mut self) {
        self.halt(true);
    }

    /// Stops serving and writes nothing more, as when the process is killed. For tests.
    #[doc(hidden)]
    pub fn crash(mut self) {
        self.halt(false);
    }

    #[cfg(test)]
    pub(crate) fn node(&self) -> Arc<Node> {
        self.node.clone()
    }

    fn halt(&mut self, cleanly: bool) {
        if self.threads.is_empty() {
            return;
        }
        self.node.stopping.store(true, Ordering::Relaxed);
        self.node.groups.stop();
        let topics = self.node.topics.all();
        topics.iter().flat_map(|topic| topic.partitions()).for_each(|partition| partition.wake());
        // Wakes the thread that waits in accept.
        let _ = TcpStream::connect_timeout(&reachable(self.address), Duration::from_secs(1));
        self.node.changed.notify_all();
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
        let deadline = Instant::now() + STOP_PATIENCE;
        let mut connections = self.node.connections.lock();
        for stream in connections.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        while !connections.is_empty() && !self.node.changed.wait_until(&mut connections, deadline).timed_out() {}
        drop(connections);
        if !cleanly {
            return;
        }
        for topic in topics {
            for partition in topic.partitions() {
                if let Err(error) = partition.log().map_or(Ok(()), |mut log| log.close()) {
                    tracing::error!(topic = &*topic.name, partition = partition.index, %error, "cannot write it down");
                }
            }
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.halt(true);
    }
}

/// Takes the folder for this process. A folder that holds other things is refused: parts of topics that
/// were never finished are deleted at the start, and nothing else must be taken for one.
fn lock_folder(dir: &Path) -> Result<File, BrokerError> {
    fs::create_dir_all(dir).map_err(BrokerError::storage(dir))?;
    let foreign = dir.join("topics").exists() && !dir.join("broker").exists();
    if foreign {
        let why = io::Error::new(io::ErrorKind::InvalidInput, "it has a 'topics' that no broker made");
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

fn accept(node: &Arc<Node>, listener: &TcpListener) {
    for id in 0.. {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection");
                thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        if node.is_stopping() {
            return;
        }
        let mut connections = node.connections.lock();
        let limit = node.settings.max_connections;
        if connections.len() >= limit {
            tracing::warn!(limit, "too many connections: closed the newest");
            continue;
        }
        let Ok(handle) = stream.try_clone() else { continue };
        connections.insert(id, handle);
        drop(connections);
        let open = Open { node: node.clone(), id };
        if let Err(error) = spawn("broker-client", move || connection::serve(&open.node, stream)) {
            tracing::warn!(%error, "cannot serve a connection");
        }
    }
}

/// A connection's place among the open ones; given back however its thread ends.
struct Open {
    node: Arc<Node>,
    id: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.node.connections.lock().remove(&self.id);
        self.node.changed.notify_all();
    }
}

/// Retention and fsync, until the broker stops.
fn keep_house(node: &Node) {
    let sync_every = match node.settings.fsync {
        Fsync::Interval(every) => Some(every),
        Fsync::Never | Fsync::EveryBatch => None,
    };
    let retain_every = Duration::from_millis(node.settings.retention_check_ms.max(1));
    let pause = retain_every.min(sync_every.unwrap_or(Duration::from_secs(1))).max(Duration::from_millis(1));
    let mut retained_at = Instant::now();
    loop {
        let mut connections = node.connections.lock();
        if !node.is_stopping() {
            node.changed.wait_for(&mut connections, pause);
        }
        drop(connections);
        if node.is_stopping() {
            return;
        }
        let retain = retained_at.elapsed() >= retain_every;
        if retain {
            retained_at = Instant::now();
        }
        for topic in node.topics.all() {
            let limits = node.topics.limits(&topic);
            for partition in topic.partitions() {
                let Ok(mut log) = partition.log() else { continue };
                if retain && log.retain(&limits, now_ms()) {
                    tracing::info!(topic = &*topic.name, partition = partition.index, start = log.start(), "retention");
                }
                let flush = log.take_flush();
                drop(log);
                if let Err(error) = flush.run(sync_every.is_some()) {
                    tracing::error!(topic = &*topic.name, partition = partition.index, %error, "fsync");
                }
            }
        }
    }
}
