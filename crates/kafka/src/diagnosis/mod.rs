//! Each step of connecting to a topic separately, so that an error names the step that failed.
//!
//! In: client settings, topics, a group. Out: a typed result of each step, or a [`DiagnosisError`] with its cause. It
//! writes nothing to the cluster and knows nothing of how results are shown. The order of the steps is that of the
//! functions: [`resolve_brokers`], [`connect_brokers`], [`authenticate`], [`partition_ranges`], [`fetch_each_topic`],
//! [`check_group`], [`check_write`].

mod cluster;
mod network;

use std::fmt;
use std::io;

use crate::error::ClientError;

pub use cluster::{
    AuthenticatedClient, FetchProbe, PartitionRange, Permission, authenticate, check_group, check_write,
    fetch_each_topic, partition_ranges,
};
pub use network::{ConnectedBrokers, ResolvedBrokers, connect_brokers, resolve_brokers};

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum DiagnosisError {
    /// The name service knows none of the hosts.
    #[error("no host of {servers} can be resolved")]
    Unresolved {
        /// The brokers named in the settings.
        servers: String,
        /// Why, host by host.
        #[source]
        hosts: EndpointErrors,
    },
    /// No address accepts a connection.
    #[error("cannot connect to any broker")]
    Unconnected {
        /// Why, address by address.
        #[source]
        addresses: EndpointErrors,
    },
    /// The cluster's access rules refuse the commit of the group's offsets.
    #[error("not permitted to commit offsets of the consumer group \"{group}\"")]
    GroupDenied {
        /// The group.
        group: String,
        /// The permission that is missing.
        #[source]
        missing: MissingPermission,
    },
    /// The cluster's access rules refuse writing to the topic.
    #[error("not permitted to write to topic \"{topic}\"")]
    WriteDenied {
        /// The topic.
        topic: String,
        /// The permission that is missing.
        #[source]
        missing: MissingPermission,
    },
    /// The client or the topic.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// A permission that the cluster's access rules do not give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cluster's ACLs do not grant this user {0}")]
pub struct MissingPermission(pub &'static str);

/// Errors of several endpoints (hosts or addresses), each with its name.
#[derive(Debug, Default)]
pub struct EndpointErrors(pub Vec<(String, io::Error)>);

impl fmt::Display for EndpointErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (endpoint, error)) in self.0.iter().enumerate() {
            write!(f, "{}{endpoint}: {error}", if nth == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for EndpointErrors {}
