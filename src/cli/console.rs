//! `turnstile console`: the web console of a pipeline that runs elsewhere, or not at all.

use std::sync::Arc;

use turnstile_console::ConsoleProbes;

use super::pipeline_args::PipelineArgs;
use crate::console::{FOLLOW_EVERY, LISTEN, PipelineConsole, serve};
use crate::exit::Exit;
use crate::flow::{LakeAccess, PortChoice};
use crate::process::Process;

/// Show a pipeline's windows, partitions, runs and tables in a browser; nothing is changed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile console
  turnstile console pipelines/mta-turnstile.toml --listen 127.0.0.1:9000

`turnstile up` serves the console beside the pipeline, and `turnstile run` where `[console] listen` says; this verb reads
the lake alone, whether the pipeline runs or not. Pages and security: docs/console.md.")]
pub(crate) struct ConsoleArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Where to listen [default: `[console] listen`, or 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
}

pub(crate) fn run(args: ConsoleArgs, process: &Process) -> anyhow::Result<Exit> {
    let (mut pipeline, folder, file) = args.pipeline.find(process)?.whole_with_file()?;
    let listen = args.listen.or_else(|| pipeline.console.listen.clone()).unwrap_or_else(|| LISTEN.to_owned());
    pipeline.console.listen = Some(listen);
    let context = crate::flow::Context::new(process, pipeline, &folder, LakeAccess::Read);
    process.shutdown_on_signals()?;
    let data = PipelineConsole::new(&context, None, file);
    context.block_on(async {
        let serving = serve(&context, Arc::clone(&data), ConsoleProbes::default(), PortChoice::AsConfigured).await?;
        let Some(server) = serving else { return Ok(Exit::Done) };
        eprintln!("console   {}", server.url());
        data.follow_ledger(FOLLOW_EVERY).await;
        server.stop().await;
        Ok(Exit::Done)
    })
}
