//! Runs a pipeline: the only place where Kafka meets the lake.
//!
//! In: a checked pipeline. Out: published files, and [`Event`]s that say how it goes.
//! Holds no arithmetic: the engine aggregates, the ledger commits; here threads, clocks and retries live.
//! Start at [`run`].

mod commit;
mod event;
mod fault;
mod live;
mod loader;
mod maintenance;
mod observer;
mod owner;
mod replay;
mod retention;
mod run;
mod schemas;
mod serve;
mod start;
mod targets;
mod warehouse;
mod worker;

pub(crate) use commit::encode;
pub(crate) use event::{Event, Status};
pub(crate) use fault::{client, lake_failed, ledger_failed, read_failed, registry_failed};
pub(crate) use loader::{Background, Loaded, load_once, watch};
pub(crate) use maintenance::{loaded_bounds, maintenance_failed, summary, wishes};
pub(crate) use owner::{now_us, this_process};
pub(crate) use replay::{left_out, replay};
pub(crate) use run::{Options, Until, run};
pub(crate) use schemas::open_registry;
pub(crate) use serve::{USER, address, serve};
pub(crate) use start::{GROUP_BY_NAME, client_settings, file_format, partitions, store_options, topic_names};
pub(crate) use targets::deploy_bigquery;
pub(crate) use warehouse::{folder_of, models, open_to_ask, open_to_load, plan_models, warehouse_failed};
