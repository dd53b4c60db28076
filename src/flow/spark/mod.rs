//! Runs a pipeline on a Spark cluster, and publishes what the cluster computes.
//!
//! In: a pipeline and the address of a Spark Connect server. Out: what a run of the embedded engine gives: commits in the
//! ledger, files in the lake, events. The cluster reads Kafka and writes rows into a folder of the lake; each of its batches
//! becomes one commit. Start at [`run`]; docs/spark.md describes it.

mod batches;
mod binding;
mod cluster;
mod counts;
mod migrate;
mod publisher;
mod range_account;
mod run;
mod schemas;
mod source;

pub(crate) use binding::is_of_spark;
pub(crate) use migrate::{Migration, migrate};
pub(crate) use run::run;
pub(crate) use source::subscription;
