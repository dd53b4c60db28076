//! Runs a pipeline: the only place where Kafka meets the lake.
//!
//! In: a checked pipeline. Out: published files, and [`Event`]s that say how it goes.
//! Holds no arithmetic: the engine aggregates, the ledger commits; here threads, clocks and retries live.
//! Start at [`run`].

mod bigquery_tables;
mod cadence;
mod commit;
mod committer;
mod context;
mod cut;
mod dead_letter_topic;
mod dead_letters;
mod event;
mod event_sink;
mod fault;
mod idleness;
mod lag;
mod lake_credentials;
mod live;
mod loaded;
mod loader;
mod losses;
mod maintenance;
mod models;
mod observer;
mod owner;
mod partition_key;
mod produce;
mod rejections;
mod replay;
mod requeue;
mod restore;
mod retention;
mod run;
mod run_options;
mod run_status;
mod schemas;
mod secret;
mod serve;
mod services;
mod settings;
mod spark;
mod spill_folder;
mod start;
mod state_merge;
mod stop_condition;
mod targets;
mod up;
mod warehouse;
mod worker;
mod worker_shared;
mod worker_task;
mod zone_question;

pub(crate) use bigquery_tables::deploy_bigquery;
pub(crate) use commit::{encode, encode_as_before};
pub(crate) use context::{Context, LakeAccess};
pub(crate) use dead_letters::{DeadLetterFiles, dead_letter_files, dead_letters, object_of, reason_of};
pub(crate) use event::{CommitEvent, Event, PartitionProgress, RunCounts, Status};
pub(crate) use event_sink::{EventSink, EventStream};
pub(crate) use fault::{
    client, diagnosis_failed, lake_failed, lake_file_hint, ledger_failed, maintenance_failed, no_ledger, read_failed,
    refused_by_plan, registry_failed, spark_failed, warehouse_failed,
};
#[cfg(test)]
pub(crate) use lag::tests::{committed as committed_example, report as lag_example};
pub(crate) use lag::{CatchUp, CommittedPositions, LagMonitor, LagReader, LagReport, PartitionLag, RecentCommits};
pub(crate) use lake_credentials::lake_options;
pub(crate) use loaded::{Loaded, not_loaded_text};
pub(crate) use loader::{load_on_schedule, load_once};
pub(crate) use maintenance::{loaded_bounds, maintenance_policy, summary};
pub(crate) use models::{models, plan_models};
pub(crate) use owner::{now_us, process_is_alive, seems_running, this_process};
pub(crate) use partition_key::partition_key;
pub(crate) use produce::{
    ProduceEvent, ProduceJob, ProduceRate, ProduceSource, ProduceTimes, Produced, ReplayState, produce, provider_failed,
};
pub(crate) use rejections::RejectedShare;
pub(crate) use replay::replay;
pub(crate) use requeue::{ByReason, RequeueOutcome, Requeued, rejected_again, requeue, requeue_outcome};
pub(crate) use run::run;
pub(crate) use run_options::{EngineChoice, OnStop, RunOptions, SparkRun};
pub(crate) use schemas::open_registry;
pub(crate) use secret::{prefect_key, read_secret};
pub(crate) use serve::{LISTEN, USER, address, serve};
pub(crate) use services::{PortChoice, Services};
pub(crate) use settings::{GROUP_BY_NAME, client_settings, file_format};
pub(crate) use spark::{Migration, migrate, subscription};
pub(crate) use start::partitions;
pub(crate) use stop_condition::StopCondition;
pub(crate) use up::{City, LocalTopic, start_broker};
pub(crate) use warehouse::folder_of;
pub(crate) use zone_question::zone_question;
