//! `turnstile run`: runs a pipeline against Kafka.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as ClapArgs;
use turnstile_pipeline::Pipeline;

use super::beside::{Beside, Port};
use super::{load_pipeline_for_cluster, stop_flag};
use crate::exit::Exit;
use crate::flow::{self, Options, Until};
use crate::progress::Progress;

/// Read a topic, aggregate it in event-time windows, publish every closed window exactly once.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  turnstile run pipelines/mta-turnstile.toml
  turnstile run pipelines/mta-turnstile.toml --set 'source.kafka={\"bootstrap.servers\"=\"broker:9092\"}'
  turnstile run pipelines/mta-registers.toml --drain        # read to the end, publish all windows, exit

A run resumes where the last one stopped. Ctrl-C commits what was read and leaves windows open.")]
pub(crate) struct Args {
    /// The pipeline file.
    pipeline: PathBuf,
    /// Set a key of the pipeline file, such as `stream.commit="100 ms"`; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    how: HowArgs,
    /// Fail when no broker has answered for this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = turnstile_kafka::DEFAULT_CONNECT_TIMEOUT.as_secs())]
    connect_timeout: u64,
}

/// How a pipeline runs, and when it ends.
#[derive(Debug, ClapArgs)]
pub(super) struct HowArgs {
    /// Stop once what the topic contains now is read and committed; windows stay open.
    #[arg(long, conflicts_with = "drain")]
    until_end: bool,
    /// Like --until-end, and then close and publish the open windows.
    #[arg(long)]
    drain: bool,
    /// Take over the pipeline from a process that seems to be alive; that process stops at its next commit.
    #[arg(long)]
    takeover: bool,
    /// Continue if records were lost before they were read.
    #[arg(long)]
    accept_loss: bool,
    /// Print events as JSON lines.
    #[arg(long)]
    json: bool,
}

impl HowArgs {
    /// Runs `pipeline` so, until it ends or is told to.
    pub(super) fn run(&self, pipeline: &Pipeline, folder: &Path, connect_timeout: Duration) -> anyhow::Result<Exit> {
        let until = match (self.until_end, self.drain) {
            (true, _) => Until::End,
            (_, true) => Until::Drained,
            _ => Until::Stopped,
        };
        let (takeover, accept_loss, stop) = (self.takeover, self.accept_loss, stop_flag()?);
        // A run that ends by itself is one step of somebody's script; `warehouse run --once` is the next.
        let beside = match until {
            Until::Stopped => Beside::start(pipeline, folder, Port::AsConfigured)?,
            Until::End | Until::Drained => Beside::default(),
        };
        let options = Options { until, takeover, accept_loss, connect_timeout, stop };
        run_pipeline(pipeline, &options, self.json, beside)
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let pipeline = load_pipeline_for_cluster(&args.pipeline, &args.set)?;
    args.how.run(&pipeline, &flow::folder_of(&args.pipeline), Duration::from_secs(args.connect_timeout))
}

/// Runs with progress shown; the last line says where everything stands.
pub(super) fn run_pipeline(pipeline: &Pipeline, options: &Options, json: bool, beside: Beside) -> anyhow::Result<Exit> {
    let mut progress = Progress::new(json);
    let result = flow::run(pipeline, options, &mut |event| {
        beside.notes().into_iter().for_each(|note| progress.show(&flow::Event::Note(note)));
        progress.show(&event);
    });
    beside.stop();
    progress.end();
    let status = result?;
    progress.closing(&pipeline.name, &pipeline.lake.url, &status);
    Ok(Exit::Done)
}
