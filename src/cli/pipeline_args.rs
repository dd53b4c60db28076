//! Which pipeline a verb works on.

use std::path::PathBuf;

use super::last_run::context_or_last;
use crate::flow::{Context, LakeAccess};
use crate::process::Process;

/// The pipeline of the warehouse.
#[derive(Debug, clap::Args)]
pub(super) struct PipelineArgs {
    /// The pipeline file [default: the pipeline that `turnstile up` or `stream` ran last in
    /// ./turnstile-data]
    #[arg(value_name = "PIPELINE.toml")]
    pub(super) file: Option<PathBuf>,
    /// Set a key of the pipeline file; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

impl PipelineArgs {
    /// The pipeline's context, which opens the lake by `access`.
    pub(super) fn open(&self, process: &Process, access: LakeAccess) -> anyhow::Result<Context> {
        context_or_last(process, self.file.as_ref(), &self.set, access)
    }
}
