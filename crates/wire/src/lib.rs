//! The PostgreSQL wire protocol in front of the warehouse's SQL.
//!
//! In: connections of psql, drivers and BI tools. Out: rows, errors with SQLSTATE and position.
//! Refuses to know where tables come from: a [`Database`] gives a session for each statement. Changes nothing.
//! Start at [`WireServer::start`], then `connection` for one client's messages and `handler` for its queries.

mod connection;
mod cursors;
mod database;
mod error;
mod extended;
mod handler;
mod interrupt;
mod kept_names;
mod login;
mod pg_catalog;
mod planner;
mod position;
mod read_only;
mod rows;
mod server;
mod session_statements;
mod set_statement;
mod settings;
mod sqlstate;
mod suggest;
mod tls;
mod variables;

pub use datafusion::error::DataFusionError;
pub use datafusion::prelude::SessionContext;

pub use database::{DATABASE, Database};
pub use error::WireError;
pub use server::WireServer;
pub use settings::{ServeSettings, TlsFiles, WireCredentials, WirePassword};
