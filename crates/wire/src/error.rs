//! Why a server did not start. What clients are told is in `sqlstate`.

use std::net::SocketAddr;
use std::path::PathBuf;

use datafusion::error::DataFusionError;

/// Why a server did not start; nothing is listening then.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The settings contradict each other: change the one named.
    #[error("the Postgres port was not opened: {key} is refused\ncause: {cause}\nhint:  {hint}")]
    Settings {
        /// The key at fault, as in [`crate::ServeSettings`].
        key: &'static str,
        /// What would happen.
        cause: String,
        /// What to do.
        hint: &'static str,
    },
    /// The address is taken or not this machine's: choose another.
    #[error(
        "the Postgres port was not opened on {address}\ncause: {source}\nhint:  choose another address or port, or stop who listens there"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Certificate or key cannot be used: mend the file.
    #[error("the Postgres port was not opened: {} is no use for TLS\ncause: {cause}\nhint:  give a certificate and its private key as PEM files", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The tables of `pg_catalog` could not be made: a fault of this build.
    #[error("the Postgres port was not opened\ncause: {0}\nhint:  this is a fault of turnstile; please report it")]
    Catalog(DataFusionError),
}
