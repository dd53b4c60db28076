//! The embedded log: a broker for one machine that speaks a subset of the Kafka protocol.
//!
//! In: Kafka clients' requests on a TCP port. Out: their answers; record batches are stored and given back
//! as they came; opened only to find an offset by time.
//! Refuses to know of other brokers, transactions, passwords and permissions, and what messages mean.
//! What it offers and what it does not is told in `docs/broker.md`.
//!
//! Start at [`Broker::start`]; then, a request's way: `connection` (frames), `api` (one file for each
//! family of requests), `topics` and `partition`, `log` (batches on disk); `group` for consumer groups.
//!
//! ```
//! use turnstile_broker::{Broker, Settings};
//!
//! let broker = Broker::start(Settings { auto_create_topics: true, ..Settings::default() })?;
//! println!("bootstrap.servers={}", broker.address());
//! broker.stop();
//! # Ok::<(), turnstile_broker::BrokerError>(())
//! ```

mod api;
mod broker;
mod connection;
mod group;
mod identity;
mod log;
mod partition;
mod settings;
mod state_file;
mod topic_config;
mod topics;

pub use broker::Broker;
pub use log::Corrupt;
pub use settings::{BrokerError, Fsync, Settings};
