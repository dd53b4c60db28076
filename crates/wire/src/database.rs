//! What is served: the interface between the port and the provider of tables.

use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use futures::future::BoxFuture;

/// The name of the one database that clients see: the default catalog of every session should have it.
pub const DATABASE: &str = "turnstile";

/// Gives the sessions that statements run in.
pub trait Database: Send + Sync + 'static {
    /// A session over one snapshot of the tables as they are now: one statement is planned and run in it.
    ///
    /// Its default catalog should be called [`DATABASE`] and its default schema `public`; the catalog must accept
    /// another schema (`register_schema`), as the server adds `pg_catalog`. The session's memory pool bounds a
    /// statement.
    ///
    /// # Errors
    /// When the tables cannot be read.
    fn session(&self) -> BoxFuture<'_, Result<SessionContext, DataFusionError>>;

    /// Whether a statement failed, before it returned a row, because what its session's tables name was replaced. It is
    /// run again in a newer session, a few times.
    fn is_replaced(&self, _error: &DataFusionError) -> bool {
        false
    }
}
