//! The embedded log: a broker for one machine that speaks a subset of the Kafka protocol.
//!
//! In: Kafka clients' requests on a TCP port. Out: the responses; record batches are stored and returned as
//! they came, and opened only to find an offset by time.
//! Refuses to know of other brokers, transactions, passwords and permissions, and what messages mean.
//! `docs/broker.md` lists what it offers and what it does not.
//!
//! Start at [`Broker::start`]; then follow a request: `connection` (frames), `api` (one file for each
//! family of requests), `topics` and `partition`, `log` (batches on disk); `group` for consumer groups.
//!
//! ```
//! use turnstile_broker::{Broker, BrokerSettings};
//!
//! let broker = Broker::start(BrokerSettings { auto_create_topics: true, ..BrokerSettings::default() })?;
//! println!("bootstrap.servers={}", broker.address());
//! broker.stop();
//! # Ok::<(), turnstile_broker::BrokerError>(())
//! ```

mod api;
mod broker;
mod connection;
mod fetch_sessions;
mod group;
mod identity;
mod log;
mod partition;
mod request_error;
mod settings;
mod shutdown;
mod state;
mod state_file;
mod topic_config;
mod topics;

pub use broker::Broker;
pub use log::CorruptLog;
pub use settings::{BrokerError, BrokerSettings, Fsync};
