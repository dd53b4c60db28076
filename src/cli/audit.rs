//! `turnstile audit`: verifies the ledger, and the lake's files against it.

use super::json::record_as_json;
use super::pipeline_args::PipelineArgs;
use crate::exit::Exit;
use crate::flow;
use crate::process::Process;

/// Verify every published file and every commit; the last line says whether all is well
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile audit pipelines/mta-turnstile.toml
  turnstile audit --lake s3://lake/turnstile --pipeline mta-turnstile --json

Verifies the ledger's chain of hashes, recomputes conservation at every commit, reads every file and
compares its hash and rows, and lists files in the data folders that are in no ledger. Changes nothing.
Exit code 0: all is well; 9: differences were found, one line each.")]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: AuditArgs, process: &Process) -> anyhow::Result<Exit> {
    let at = args.pipeline.ledger(process)?;
    let audit = process.runtime.block_on(async {
        let lake = at.open().await?;
        turnstile_lake::audit(&lake, &at.pipeline).await.map_err(flow::ledger_failed)
    })?;
    if audit.seq == 0 && audit.is_well() {
        return Err(at.no_ledger());
    }
    if args.json {
        outln!("{}", record_as_json(&audit)?);
    } else {
        outln!("{audit}");
        if !audit.leftovers.is_empty() {
            outln!("`turnstile lake gc` removes leftovers");
        }
    }
    Ok(if audit.is_well() { Exit::Done } else { Exit::Difference })
}
