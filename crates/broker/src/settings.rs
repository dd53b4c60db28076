//! What a caller chooses, and why starting can fail.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::log::{CorruptLog, OpenLogError};

/// When appended batches are forced to the disk. A killed process loses nothing under any of them,
/// since every acknowledged batch is in the operating system's cache; the choice is about power loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// The operating system decides: power loss can cost the last half minute or so.
    Never,
    /// In the background, this often: power loss can cost what came since.
    Interval(Duration),
    /// Before the batch is acknowledged: power loss costs nothing that was acknowledged.
    EveryBatch,
}

/// How the embedded broker is set up. `BrokerSettings::default()` is in memory, on a free loopback port.
#[derive(Debug, Clone)]
pub struct BrokerSettings {
    /// Where to listen; port 0 selects a free one, see [`crate::Broker::address`].
    pub listen: SocketAddr,
    /// Allows a `listen` address that other machines reach. The broker has neither passwords nor
    /// encryption, so it is refused without this.
    pub beyond_loopback: bool,
    /// The folder that holds the messages, created if missing; `None` keeps them in memory.
    pub dir: Option<PathBuf>,
    /// When batches are forced to the disk. Without `dir` it means nothing.
    pub fsync: Fsync,
    /// A segment file is closed before it grows beyond this; retention deletes whole segments. Bytes.
    pub segment_bytes: u64,
    /// Messages older than this (by their own timestamps) are deleted; `None` keeps them. Milliseconds.
    pub retention_ms: Option<u64>,
    /// The oldest segments are deleted while a partition holds more than this; `None` sets no limit. Bytes.
    pub retention_bytes: Option<u64>,
    /// How often retention is applied. Milliseconds.
    pub retention_check_ms: u64,
    /// Largest record batch accepted. Bytes.
    pub max_message_bytes: u32,
    /// Whether naming a topic that does not exist creates it, if the client asks for that too.
    pub auto_create_topics: bool,
    /// Partitions of a topic whose creator left the number to the broker.
    pub default_partitions: i32,
    /// Partitions of all topics together; each holds a file open.
    pub max_partitions: usize,
    /// Largest request accepted; a connection that announces a larger one is closed. Bytes.
    pub max_request_bytes: usize,
    /// Connections at a time; one more is closed at once. Each takes a thread.
    pub max_connections: usize,
    /// Consumer groups at a time.
    pub max_groups: usize,
    /// Without `dir`: bytes of all messages together; a batch beyond it is refused.
    pub memory_bytes: u64,
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            beyond_loopback: false,
            dir: None,
            fsync: Fsync::Interval(Duration::from_secs(1)),
            segment_bytes: 128 << 20,
            retention_ms: Some(7 * 24 * 3600 * 1000),
            retention_bytes: None,
            retention_check_ms: 30_000,
            max_message_bytes: 16 << 20,
            auto_create_topics: false,
            default_partitions: 1,
            max_partitions: 500,
            max_request_bytes: 32 << 20,
            max_connections: 256,
            max_groups: 1000,
            memory_bytes: 1 << 30,
        }
    }
}

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// Other machines can reach the address, and that was not allowed.
    #[error("{0} can be reached from other machines, and the broker has neither passwords nor encryption")]
    BeyondLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The requested address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// Another broker uses the folder.
    #[error("another process is using {}", .0.display())]
    InUse(PathBuf),
    /// A file of the folder cannot be read or written.
    #[error("cannot use {}", path.display())]
    Storage {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A closed segment does not hold what was written to it. A torn end of the newest segment, as a
    /// crash leaves it, is not an error: it is cut off.
    #[error(transparent)]
    Corrupt(#[from] CorruptLog),
}

impl BrokerError {
    pub(crate) fn storage(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Storage { path, source }
    }
}

impl From<OpenLogError> for BrokerError {
    fn from(error: OpenLogError) -> Self {
        match error {
            OpenLogError::Io { path, source } => Self::Storage { path, source },
            OpenLogError::Corrupt(corrupt) => Self::Corrupt(corrupt),
        }
    }
}
