//! Why a console does not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use turnstile_values::BoxError;

/// Why a console does not start.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleStartError {
    /// It would show the pipeline to a network. Correct the settings.
    #[error(
        "the console does not listen on {address} without {missing}: others on the network could read and act; \
         set token and tls (or behind_proxy = true), or listen on 127.0.0.1"
    )]
    Exposed {
        /// The address.
        address: SocketAddr,
        /// What it lacks: `a token`, `TLS`, `a token and TLS`.
        missing: &'static str,
    },
    /// A setting cannot be meant. Correct it.
    #[error("[console] {key} {fact}")]
    Setting {
        /// The key of the pipeline file.
        key: &'static str,
        /// What is wrong with it.
        fact: String,
    },
    /// The address is taken, or not one of this host's.
    #[error("the console cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A certificate or key cannot be used. Correct the file.
    #[error("the file {} is no certificate or key for the console", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes for the console's keys")]
    Random,
}
