//! Why a server did not start. The errors that clients get are in `sqlstate`.

use std::net::SocketAddr;
use std::path::PathBuf;

use datafusion::error::DataFusionError;

/// Why a server did not start; nothing is listening then.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The settings contradict each other: change the one named.
    #[error("the Postgres port was not opened: {reason}")]
    Settings {
        /// The key at fault, as in [`crate::ServeSettings`].
        key: &'static str,
        /// What would happen.
        reason: String,
    },
    /// The address is in use or not this machine's: choose another.
    #[error("the Postgres port was not opened on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// Certificate or key cannot be used: fix the file.
    #[error("the Postgres port was not opened: {} cannot be used for TLS", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The tables of `pg_catalog` could not be created: a fault of this build.
    #[error("the Postgres port was not opened")]
    Catalog(#[source] DataFusionError),
}
