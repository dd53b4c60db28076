//! The web console: pages over ledger, warehouse and runs, live by server-sent events.
//!
//! In: what a [`ConsoleData`](data::ConsoleData) gives. Out: pages, and two named actions; nothing else is written.
//! Knows neither Kafka nor the lake. Start at [`ConsoleServer::start`]; docs/console.md has settings and security.

mod address;
mod assets;
mod connection;
pub mod data;
mod fragment;
mod guard;
mod live;
mod outcomes;
mod render;
mod routes;
mod server;
mod settings;
mod site;
mod stall_guard;
mod start_error;
mod tls;
mod view;

pub use server::ConsoleServer;
pub use settings::{ConsoleLimits, ConsoleProbes, ConsoleSettings, MIN_TOKEN_BYTES};
pub use start_error::ConsoleStartError;
pub use tls::server_tls;
