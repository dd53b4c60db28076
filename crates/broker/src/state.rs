//! What all threads of a broker share.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};

use crate::fetch_sessions::FetchSessionCache;
use crate::group::GroupCoordinator;
use crate::identity::BrokerIdentity;
use crate::settings::BrokerSettings;
use crate::shutdown::ShutdownSignal;
use crate::topics::TopicStore;

#[derive(Debug)]
pub(crate) struct BrokerState {
    pub(crate) settings: BrokerSettings,
    pub(crate) identity: BrokerIdentity,
    pub(crate) topics: TopicStore,
    pub(crate) groups: GroupCoordinator,
    pub(crate) sessions: FetchSessionCache,
    pub(crate) connections: Connections,
    pub(crate) shutdown: Arc<ShutdownSignal>,
}

/// The wall clock, milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The open connections, so that they can be closed.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Mutex<HashMap<u64, TcpStream>>,
    /// Notified when a connection ends.
    ended: Condvar,
}

impl Connections {
    /// Notes an open connection; false when there are `limit` already.
    pub(crate) fn add(&self, id: u64, stream: &TcpStream, limit: usize) -> io::Result<bool> {
        let mut open = self.open.lock();
        if open.len() >= limit {
            return Ok(false);
        }
        open.insert(id, stream.try_clone()?);
        Ok(true)
    }

    pub(crate) fn remove(&self, id: u64) {
        self.open.lock().remove(&id);
        self.ended.notify_all();
    }

    /// Closes all sockets, and waits until `deadline` for their threads to end.
    pub(crate) fn close_all(&self, deadline: Instant) {
        let mut open = self.open.lock();
        for stream in open.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        while !open.is_empty() && !self.ended.wait_until(&mut open, deadline).timed_out() {}
    }
}
