//! What the broker remembers of itself: its cluster's id, and which producer ids it gave out.

use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use uuid::Uuid;

use crate::settings::BrokerError;
use crate::state_file;

/// Producer ids reserved with one write; after a crash the rest of a block is never given out.
const BLOCK: i64 = 1000;

#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) cluster_id: String,
    path: Option<PathBuf>,
    producer_ids: Mutex<Ids>,
}

#[derive(Debug)]
struct Ids {
    next: i64,
    reserved_until: i64,
}

impl Identity {
    /// Reads the file at `path`, or makes a new identity when there is none.
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
            producer_ids: Mutex::new(Ids { next, reserved_until: next }),
        };
        if let Some(path) = path {
            identity.save(next).map_err(BrokerError::storage(path))?;
        }
        Ok(identity)
    }

    /// A producer id that was never given out before.
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
    fn a_cluster_keeps_its_id_and_never_gives_out_a_producer_id_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broker");
        let first = Identity::open(Some(&path)).unwrap();
        let given: Vec<_> = (0..BLOCK + 1).map(|_| first.next_producer_id().unwrap()).collect();
        let second = Identity::open(Some(&path)).unwrap();
        assert_eq!(first.cluster_id, second.cluster_id);
        assert!(second.next_producer_id().unwrap() > *given.iter().max().unwrap());
    }
}
