//! The PostgreSQL wire protocol in front of the warehouse's SQL.
//!
//! In: connections of psql, drivers and BI tools. Out: rows, errors with SQLSTATE and place.
//! Refuses to know where tables come from: a [`Database`] gives a session for each statement. Changes nothing.
//! Start at [`Server::start`], then `connection` for one client's messages and `statements` for what they ask.

mod catalog;
mod connection;
mod cursors;
mod error;
mod interrupt;
mod login;
mod meant;
mod place;
mod prepared;
mod refusal;
mod rows;
mod server;
mod settings;
mod sqlstate;
mod statements;
mod tls;
mod variables;

pub use datafusion::error::DataFusionError;
pub use datafusion::prelude::SessionContext;
use futures::future::BoxFuture;

pub use error::WireError;
pub use server::Server;
pub use settings::{Credentials, Password, ServeSettings, TlsFiles};

/// The name of the one database, as clients see it: the default catalog of every session should be called so.
pub const DATABASE: &str = "turnstile";

/// What is served.
pub trait Database: Send + Sync + 'static {
    /// A session whose tables are as they are now, all of one moment: one statement is planned and run in it.
    ///
    /// Its default catalog should be called [`DATABASE`] and its default schema `public`; the catalog must take a
    /// further schema (`register_schema`), as the server adds `pg_catalog`. The memory pool that bounds a statement
    /// is the session's.
    ///
    /// # Errors
    /// When the tables cannot be read.
    fn session(&self) -> BoxFuture<'_, Result<SessionContext, DataFusionError>>;
}
