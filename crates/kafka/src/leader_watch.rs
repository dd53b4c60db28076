//! What readers report about the leaders of their partitions.

use std::sync::Arc;

use crate::leaders::LeaderChange;
use crate::link::BrokerLink;

/// Reports leader changes among the partitions of a [`crate::PartitionReader`].
#[derive(Clone)]
pub struct LeaderWatch(pub(crate) Arc<BrokerLink>);

impl LeaderWatch {
    /// What changed since the last call, the oldest first.
    pub fn take(&self) -> Vec<LeaderChange> {
        self.0.leaders().take()
    }
}
