//! The broker's lasting identity: its cluster's id, and which producer ids it assigned.

use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use uuid::Uuid;

use crate::settings::BrokerError;
use crate::state_file;

/// Producer ids reserved with one write; after a crash the rest of a block is never assigned.
const BLOCK: i64 = 1000;

#[derive(Debug)]
pub(crate) struct BrokerIdentity {
    pub(crate) cluster_id: String,
    path: Option<PathBuf>,
    producer_ids: Mutex<ProducerIdBlock>,
}

#[derive(Debug)]
struct ProducerIdBlock {
    next: i64,
    reserved_until: i64,
}

impl BrokerIdentity {
    /// Reads the file at `path`, or creates a new identity if it does not exist.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, BrokerError> {
        let mut cluster_id = Uuid::new_v4().simple().to_string();
        let mut next = 0;
        if let Some(path) = path {
            for line in state_file::read(path).map_err(BrokerError::storage(path))?.unwrap_or_default() {
                let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("cannot read {line:?}"));
                match line.split_once('\t') {
                    Some(("cluster", id)) => cluster_id = id.to_owned(),
                    Some(("producer", id)) => {
                        next = id.parse().map_err(|_| damaged()).map_err(BrokerError::storage(path))?;
                    }
                    _ => return Err(BrokerError::storage(path)(damaged())),
                }
            }
        }
        let identity = Self {
            cluster_id,
            path: path.map(Path::to_owned),
            producer_ids: Mutex::new(ProducerIdBlock { next, reserved_until: next }),
        };
        if let Some(path) = path {
            identity.save(next).map_err(BrokerError::storage(path))?;
        }
        Ok(identity)
    }

    /// A producer id that was never assigned before.
    pub(crate) fn next_producer_id(&self) -> io::Result<i64> {
        let mut ids = self.producer_ids.lock();
        if ids.next == ids.reserved_until {
            self.save(ids.next + BLOCK)?;
            ids.reserved_until = ids.next + BLOCK;
        }
        ids.next += 1;
        Ok(ids.next - 1)
    }

    fn save(&self, producer_id: i64) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        state_file::write(path, [format!("cluster\t{}", self.cluster_id), format!("producer\t{producer_id}")], true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_keeps_its_id_and_never_assigns_a_producer_id_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broker");
        let first = BrokerIdentity::open(Some(&path)).unwrap();
        let assigned: Vec<_> = (0..BLOCK + 1).map(|_| first.next_producer_id().unwrap()).collect();
        let second = BrokerIdentity::open(Some(&path)).unwrap();
        assert_eq!(first.cluster_id, second.cluster_id);
        assert!(second.next_producer_id().unwrap() > *assigned.iter().max().unwrap());
    }
}
