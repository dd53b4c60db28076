//! Reports runs to a Prefect server, takes requests to cancel from it, reads its blocks, and works for its schedules.
//!
//! In: changes of runs. Out: flow runs over REST, task runs as events, logs, artifacts; nothing of it slows the flow, and
//! what cannot be delivered waits on disk. Knows neither Kafka nor the lake. Start at [`PrefectReporter::attach`]; blocks
//! are read by [`read_block`], and schedules served by [`PrefectWorker`].

mod batch;
mod blocks;
mod budget;
mod client;
mod deliver;
mod error;
mod outage;
mod payload;
mod reporter;
mod reporter_state;
mod send;
mod server_runs;
mod settings;
mod spool;
mod worker;

pub use blocks::{BlockCredentials, BlockRef, BlockValues, read_block};
pub use client::PrefectClient;
pub use error::PrefectError;
pub use reporter::PrefectReporter;
pub use reporter_state::ReporterStats;
pub use settings::PrefectSettings;
pub use worker::{DeploymentSchedule, PrefectWorker, ScheduledWork, WorkerSettings};
