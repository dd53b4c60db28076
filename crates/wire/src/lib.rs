//! The PostgreSQL wire protocol in front of the warehouse's SQL.
//!
//! In: connections of psql, drivers and BI tools. Out: rows, errors with SQLSTATE and place.
//! Refuses to know where tables come from: a [`Database`] gives a session for each statement.
//! Start at [`Database`].

use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use futures::future::BoxFuture;

/// What is served.
pub trait Database: Send + Sync + 'static {
    /// A session whose tables are as they are now, all of one moment: one statement is planned and run in it.
    ///
    /// # Errors
    /// When the tables cannot be read.
    fn session(&self) -> BoxFuture<'_, Result<SessionContext, DataFusionError>>;
}
