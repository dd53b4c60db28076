//! What a person chooses for one run.

use std::time::Duration;

use turnstile_spark::SparkAddress;

use super::stop_condition::StopCondition;

/// Choices of one run.
#[derive(Debug, Clone)]
pub(crate) struct RunOptions {
    pub(crate) until: StopCondition,
    /// Take the pipeline from a process that seems alive.
    pub(crate) takeover: bool,
    /// Go on with what is there when records were lost.
    pub(crate) accept_loss: bool,
    /// How long to look for a broker before giving up.
    pub(crate) connect_timeout: Duration,
    /// Where it runs, if not in this process.
    pub(crate) spark: Option<SparkRun>,
}

/// What computes a pipeline's windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum EngineChoice {
    /// This program.
    #[default]
    Embedded,
    /// An Apache Spark cluster, through its Connect server.
    Spark,
}

/// A run on a cluster.
#[derive(Debug, Clone)]
pub(crate) struct SparkRun {
    /// The Connect server.
    pub(crate) address: SparkAddress,
    /// What becomes of the query when the run is ended.
    pub(crate) on_stop: OnStop,
}

/// What becomes of the query when the run is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnStop {
    /// It stops too; the next run starts it from its checkpoint.
    Stop,
    /// It goes on; the next run publishes what it finished meanwhile.
    Leave,
}
