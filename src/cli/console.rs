//! `turnstile console`: the web console of pipelines that run elsewhere, or not at all.

use std::collections::BTreeSet;
use std::path::PathBuf;

use turnstile_console::ConsoleProbes;
use turnstile_lake::Lake;
use turnstile_pipeline::ConsoleSection;
use turnstile_values::human;

use super::pipeline_args::{FoundPipeline, PipelineFlags, ledgers};
use crate::console::{
    FOLLOW_EVERY, LISTEN, PipelineConsole, PipelineFileText, PipelineSource, SeveralPipelines, serve,
};
use crate::exit::Exit;
use crate::flow::{Context, LakeAccess, PortChoice};
use crate::process::Process;
use crate::report::{Failure, warn};

/// Show pipelines' windows, partitions, runs and tables in a browser; nothing is changed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile console
  turnstile console pipelines/mta-turnstile.toml pipelines/mta-registers.toml --listen 127.0.0.1:9000
  turnstile console --lake s3://bucket/turnstile

It shows the pipelines that are named and every other one that has a ledger in their lakes, whether they run or not. Of a
pipeline whose file is not named it shows what the ledger knows: windows, partitions, dead letters. `turnstile up` serves the
console beside the pipeline, and `turnstile run` where `[console] listen` says. Pages and security: docs/console.md.")]
pub(crate) struct ConsoleArgs {
    /// Pipeline files; the first says how the console is served
    /// [default: the pipeline that `turnstile up` or `stream` ran last in --dir]
    #[arg(value_name = "PIPELINE.toml", conflicts_with = "pipeline")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    flags: PipelineFlags,
    /// Where to listen [default: `[console] listen`, or 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
}

pub(crate) fn run(args: ConsoleArgs, process: &Process) -> anyhow::Result<Exit> {
    let shown = args.find(process)?;
    let first = shown.iter().find_map(|(source, _)| match source {
        PipelineSource::Whole(context) => Some(context.pipeline().console.clone()),
        PipelineSource::Ledger { .. } => None,
    });
    let mut given: ConsoleSection = first.unwrap_or_default();
    given.listen = args.listen.or(given.listen).or_else(|| Some(LISTEN.to_owned()));
    process.shutdown_on_signals()?;
    let consoles = shown.into_iter().map(|(source, file)| PipelineConsole::new(source, None, file)).collect();
    let data = SeveralPipelines::new(consoles);
    process.runtime.block_on(async {
        let serving = serve(&given, data.clone(), ConsoleProbes::default(), PortChoice::AsConfigured).await?;
        let Some(server) = serving else { return Ok(Exit::Done) };
        eprintln!("console   {}", server.url());
        data.follow_ledgers(FOLLOW_EVERY).await;
        server.stop().await;
        Ok(Exit::Done)
    })
}

/// A pipeline to be shown, and the file that it was read from.
type ShownPipeline = (PipelineSource, Option<PipelineFileText>);

impl ConsoleArgs {
    /// The pipelines that are named, and then those that have a ledger in the same lakes.
    fn find(&self, process: &Process) -> anyhow::Result<Vec<ShownPipeline>> {
        let mut shown: Vec<ShownPipeline> = Vec::new();
        match (self.flags.lake_alone(), self.files.as_slice()) {
            (Some(at), []) => {
                let lake = process.runtime.block_on(at?.open())?;
                let names = process.runtime.block_on(ledgers(&lake))?;
                if names.is_empty() {
                    return Err(Failure::new(Exit::Failed, format!("the lake {} has no ledger", lake.url()))
                        .hint("check that a pipeline has run, and that this is the URL of its lake")
                        .into());
                }
                for name in names {
                    shown.push(source(self.flags.named(&name).find(None, process)?, process)?);
                }
            }
            (_, []) => shown.push(source(self.flags.find(None, process)?, process)?),
            (_, files) => {
                for file in files {
                    shown.push(source(self.flags.find(Some(file), process)?, process)?);
                }
            }
        }
        let mut names = BTreeSet::new();
        if let Some((twice, _)) = shown.iter().find(|(source, _)| !names.insert(source.name().to_owned())) {
            return Err(Failure::new(Exit::Usage, format!("two of the pipelines are named {:?}", twice.name())).into());
        }
        for (lake, whose) in lakes(&shown, process) {
            let found = process.runtime.block_on(ledgers(&lake));
            let found =
                found.inspect_err(|error| warn(&format!("of {whose}'s lake: {}", human::error(error.as_ref()))));
            for pipeline in found.unwrap_or_default() {
                if names.insert(pipeline.clone()) {
                    let shutdown = process.shutdown.clone();
                    shown.push((PipelineSource::Ledger { lake: lake.clone(), pipeline, shutdown }, None));
                }
            }
        }
        Ok(shown)
    }
}

fn source(found: FoundPipeline, process: &Process) -> anyhow::Result<ShownPipeline> {
    match found {
        FoundPipeline::Whole(pipeline, folder, file) => {
            Ok((PipelineSource::Whole(Context::new(process, *pipeline, &folder, LakeAccess::Read)), file))
        }
        FoundPipeline::Ledger(at) => {
            let lake = process.runtime.block_on(at.open())?;
            let shutdown = process.shutdown.clone();
            Ok((PipelineSource::Ledger { lake, pipeline: at.pipeline, shutdown }, None))
        }
    }
}

/// The lakes of the pipelines, each once, with the name of the first pipeline there. One that does not answer is left out: the
/// pages of its pipelines say so.
fn lakes(shown: &[ShownPipeline], process: &Process) -> Vec<(Lake, String)> {
    let (mut lakes, mut urls) = (Vec::new(), BTreeSet::new());
    for (source, _) in shown {
        let lake = match source {
            PipelineSource::Whole(context) => process.runtime.block_on(context.lake()).ok().cloned(),
            PipelineSource::Ledger { lake, .. } => Some(lake.clone()),
        };
        lakes.extend(
            lake.filter(|lake| urls.insert(lake.url().to_owned())).map(|lake| (lake, source.name().to_owned())),
        );
    }
    lakes
}
