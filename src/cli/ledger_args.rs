//! Which ledger a verb reads.

use std::path::{Path, PathBuf};

use turnstile_lake::{Lake, StoreOptions};

use super::last_run::DATA;
use super::pipeline_file::{load_pipeline, store_set};
use crate::exit::Exit;
use crate::flow;
use crate::report::Failure;

/// Which ledger: that of a pipeline file, or one named by lake and pipeline.
#[derive(Debug, clap::Args)]
pub(crate) struct LedgerArgs {
    /// The pipeline file [default: the pipeline that `turnstile up` or `stream` ran last in
    /// ./turnstile-data]
    #[arg(value_name = "PIPELINE.toml", conflicts_with = "lake")]
    file: Option<PathBuf>,
    /// The lake's URL, instead of a pipeline file
    #[arg(long, value_name = "URL", requires = "pipeline")]
    lake: Option<String>,
    /// The pipeline's name in that lake
    #[arg(long, value_name = "NAME", requires = "lake")]
    pipeline: Option<String>,
    /// Set a key of the pipeline file, or with --lake an option of its store; may be given several times.
    /// Pass credentials in the environment
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// A ledger to read, resolved.
#[derive(Debug)]
pub(crate) struct LedgerAt {
    pub(crate) url: String,
    pub(crate) pipeline: String,
    pub(crate) options: StoreOptions,
}

impl LedgerArgs {
    /// Takes lake and name from the pipeline file or the flags.
    pub(crate) fn resolve(self) -> anyhow::Result<LedgerAt> {
        if let (Some(url), Some(pipeline)) = (self.lake, self.pipeline) {
            return Ok(LedgerAt { url, pipeline, options: store_set(&self.set)? });
        }
        let Some(file) = self.file else { return demo() };
        let pipeline = load_pipeline(&file, &self.set)?;
        let options = flow::store_options(&pipeline);
        Ok(LedgerAt { url: pipeline.lake.url, pipeline: pipeline.name, options })
    }
}

/// The ledger in ./turnstile-data; of several, the one that was written to last.
fn demo() -> anyhow::Result<LedgerAt> {
    let lake = Path::new(DATA).join("lake");
    let written = |entry: std::fs::DirEntry| {
        let log = entry.path().join("log").metadata().ok()?;
        Some((log.modified().ok()?, entry.file_name().into_string().ok()?))
    };
    let pipelines = std::fs::read_dir(lake.join("_turnstile")).into_iter().flatten();
    let Some((_, pipeline)) = pipelines.filter_map(|entry| written(entry.ok()?)).max() else {
        let fact = format!("no pipeline file was named, and there is no lake in ./{}", lake.display());
        return Err(Failure::new(Exit::Usage, fact).hint("name a pipeline file, or --lake and --pipeline").into());
    };
    Ok(LedgerAt { url: format!("file:{}", lake.display()), pipeline, options: StoreOptions::default() })
}

impl LedgerAt {
    /// Opens the lake for reading.
    pub(crate) async fn open(&self) -> anyhow::Result<Lake> {
        Lake::open_for_reading(&self.url, &self.options).await.map_err(flow::lake_failed)
    }

    /// The error of a pipeline without a ledger there.
    pub(crate) fn no_ledger(&self) -> anyhow::Error {
        flow::no_ledger(&self.url, &self.pipeline)
    }
}
