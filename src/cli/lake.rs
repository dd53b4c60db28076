//! `turnstile lake`: the lake's files, compaction of past days, and garbage collection.

use std::io::IsTerminal;

use clap::Subcommand;
use serde_json::json;
use turnstile_lake::maintenance::{
    Applied, Compact, MaintenancePlan, MaintenancePolicy, MaintenanceStep, maintain, plan,
};
use turnstile_lake::{Catalog, Extent};
use turnstile_pipeline::Pipeline;
use turnstile_values::human;

use super::json::record_as_json;
use super::pipeline_args::PipelineArgs;
use crate::exit::Exit;
use crate::flow::{self, Context, LakeAccess};
use crate::process::Process;
use crate::report;

/// List the lake's files, compact those of past days, delete those no longer needed
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, subcommand_required = true)]
#[command(after_help = "\
Examples:
  turnstile lake files
  turnstile lake compact pipelines/mta-turnstile.toml
  turnstile lake gc --dry-run")]
pub(crate) struct LakeArgs {
    #[command(subcommand)]
    command: LakeCommand,
}

#[derive(Debug, Subcommand)]
enum LakeCommand {
    Files(LakeFilesArgs),
    Compact(LakeCompactArgs),
    Gc(LakeGcArgs),
}

/// List the files that readers read, as the ledger has them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile lake files pipelines/mta-turnstile.toml
  turnstile lake files --all --json pipelines/mta-turnstile.toml

One line per file, with its current windows. The ledger is read, the store is not listed.")]
struct LakeFilesArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// All versions of all windows, superseded and retired ones too
    #[arg(long)]
    all: bool,
    /// Print as JSON, one window per line
    #[arg(long)]
    json: bool,
}

/// Merge the small files of each past day into one
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile lake compact pipelines/mta-turnstile.toml
  turnstile lake compact --dry-run --dir /data/turnstile

One file for each past UTC day, and one of its dead letters; rows, order and provenance are kept. It may run at the same
time as the pipeline, which does the same every `[lake] maintain`; after a crash run it again.")]
struct LakeCompactArgs {
    #[command(flatten)]
    maintenance: LakeMaintenanceArgs,
}

/// Retire and delete files that are no longer needed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile lake gc --dry-run pipelines/mta-turnstile.toml
  turnstile lake gc --json

It retires windows and dead letters that are older than `[lake] retain` and loaded by every warehouse, and deletes what
was retired longer than `[lake] grace` ago. It may run at the same time as the pipeline, which does the same every
`[lake] maintain`; after a crash run it again.")]
struct LakeGcArgs {
    #[command(flatten)]
    maintenance: LakeMaintenanceArgs,
}

#[derive(Debug, clap::Args)]
struct LakeMaintenanceArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Show what would be done and why, one line per file, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: LakeArgs, process: &Process) -> anyhow::Result<Exit> {
    match args.command {
        LakeCommand::Files(args) => files(args, process),
        LakeCommand::Compact(args) => {
            let policy = MaintenancePolicy {
                compact: Compact::All,
                letters: Compact::All,
                sweep_all: true,
                ..MaintenancePolicy::default()
            };
            act(args.maintenance, process, |_| policy)
        }
        LakeCommand::Gc(args) => act(args.maintenance, process, |pipeline| MaintenancePolicy {
            compact: Compact::Off,
            letters: Compact::Off,
            sweep_all: true,
            ..flow::maintenance_policy(pipeline)
        }),
    }
}

fn files(args: LakeFilesArgs, process: &Process) -> anyhow::Result<Exit> {
    let at = args.pipeline.ledger(process)?;
    let catalog = process.runtime.block_on(async {
        let lake = at.open().await?;
        Catalog::read(&lake, &at.pipeline).await.map_err(flow::ledger_failed)
    })?;
    let Some(catalog) = catalog else { return Err(at.no_ledger()) };
    let extents = if args.all { catalog.history() } else { catalog.current(..) };
    if args.json {
        extents.iter().for_each(|extent| outln!("{}", &as_json(extent).to_string()));
        return Ok(Exit::Done);
    }
    out!("{}", &list(&extents));
    let position = catalog.position();
    eprintln!(
        "{} of {:?} at commit {}, maintenance {}",
        human::plural(extents.len() as u64, "window"),
        at.pipeline,
        position.seq,
        position.maintenance
    );
    Ok(Exit::Done)
}

/// One line per object, in the order of their first windows.
fn list(extents: &[Extent]) -> String {
    let mut objects: Vec<(&Extent, usize, u64)> = Vec::new();
    let mut at = std::collections::HashMap::new();
    for extent in extents {
        let at = *at.entry(&extent.object.name).or_insert_with(|| {
            objects.push((extent, 0, 0));
            objects.len() - 1
        });
        objects[at].1 += 1;
        objects[at].2 += extent.rows;
    }
    let line = |(extent, windows, rows): &(&Extent, usize, u64)| {
        let state = match (extent.gone, extent.object.windows) {
            (true, _) => "  retired",
            (false, 0) => "  superseded",
            _ => "",
        };
        let (windows, rows) = (human::plural(*windows as u64, "window"), human::plural(*rows, "row"));
        let bytes = human::plural(extent.object.bytes, "byte");
        format!("{}  {windows}, {rows}, {bytes}{state}\n", extent.object.name)
    };
    objects.iter().map(line).collect()
}

fn as_json(extent: &Extent) -> serde_json::Value {
    json!({
        "start": human::instant(extent.start_us), "end": human::instant(extent.end_us),
        "version": extent.version, "seq": extent.seq, "rows": extent.rows, "sha256": extent.sha256,
        "object": &*extent.object.name, "object_sha256": extent.object.sha256, "object_bytes": extent.object.bytes,
        "first_row": extent.first_row, "compacted": extent.object.compacted, "current": extent.current,
        "gone": extent.gone,
    })
}

fn act(
    args: LakeMaintenanceArgs,
    process: &Process,
    policy: impl Fn(&Pipeline) -> MaintenancePolicy,
) -> anyhow::Result<Exit> {
    // Maintenance does not create a lake that does not exist.
    let access = if args.dry_run { LakeAccess::Read } else { LakeAccess::WriteExisting };
    let context = args.pipeline.open(process, access)?;
    let pipeline = context.pipeline();
    let policy = policy(pipeline);
    context.block_on(async {
        let lake = context.lake().await?;
        if args.dry_run {
            return show_plan(&context, &policy, args.json).await;
        }
        let loaded = flow::loaded_bounds(&context).await?;
        let show = |step: MaintenanceStep<'_>| show_step(step, args.json);
        let applied = maintain(lake, &pipeline.name, &policy, &loaded, &flow::this_process(), show).await;
        let applied = applied
            .map_err(flow::maintenance_failed)?
            .ok_or_else(|| flow::no_ledger(&pipeline.lake.url, &pipeline.name))?;
        finish(applied, args.json)
    })
}

async fn show_plan(context: &Context, policy: &MaintenancePolicy, json: bool) -> anyhow::Result<Exit> {
    let pipeline = context.pipeline();
    let catalog = Catalog::read(context.lake().await?, &pipeline.name).await.map_err(flow::ledger_failed)?;
    let catalog = catalog.ok_or_else(|| flow::no_ledger(&pipeline.lake.url, &pipeline.name))?;
    let loaded = flow::loaded_bounds(context).await?;
    let plan = plan(&catalog, policy, &loaded, flow::now_us());
    if json {
        outln!("{}", record_as_json(&plan)?);
    } else {
        out!("{}", &describe(&plan));
        eprintln!("nothing was changed: {}", closing(&plan));
    }
    Ok(Exit::Done)
}

/// One line per object: what would be done with it, and why.
fn describe(plan: &MaintenancePlan) -> String {
    let mut out = String::new();
    let mut line = |what: &str, name: &str, why: &str| out.push_str(&format!("{what:<8} {name}  {why}\n"));
    for batch in &plan.letters {
        let why = format!("{} files of dead letters, {} messages", batch.parts.len(), human::count(batch.rows()));
        line("compact", &batch.date, &why);
        batch.replaces.iter().for_each(|object| line("retire", &object.name, &object.reason));
    }
    for batch in &plan.compact {
        let why = sizes(batch.parts.len(), batch.rows());
        line("compact", &format!("{}={}", batch.key, batch.date), &why);
        batch.replaces.iter().for_each(|object| line("retire", &object.name, &object.reason));
    }
    plan.retire.iter().for_each(|object| line("retire", &object.name, &object.reason));
    plan.delete.iter().for_each(|object| line("delete", &object.name, &object.reason));
    plan.keep.iter().for_each(|object| line("keep", &object.name, &object.reason));
    out
}

fn sizes(windows: usize, rows: u64) -> String {
    format!("{}, {}", human::plural(windows as u64, "window"), human::plural(rows, "row"))
}

fn closing(plan: &MaintenancePlan) -> String {
    let replaced: usize = plan.compact.iter().map(|batch| batch.replaces.len()).sum();
    let replaced = replaced + plan.letters.iter().map(|batch| batch.replaces.len()).sum::<usize>();
    format!(
        "{} to compact, {} to retire, {} to delete ({} bytes), {} kept (files)",
        plan.compact.len() + plan.letters.len(),
        plan.retire.len() + replaced,
        plan.delete.len(),
        human::count(plan.delete.iter().map(|object| object.bytes).sum()),
        plan.keep.len()
    )
}

/// What was done goes to stdout, one line per file; progress goes to a terminal.
fn show_step(step: MaintenanceStep<'_>, json: bool) {
    match step {
        MaintenanceStep::Compacting(batch, at, of) if !json && std::io::stderr().is_terminal() => {
            eprintln!("compacting {}: {} ({at} of {of})", batch.date, sizes(batch.parts.len(), batch.rows()));
        }
        MaintenanceStep::Compacting(..) => {}
        MaintenanceStep::Compacted(object) if json => {
            outln!("{}", &json!({ "compacted": object.name, "rows": object.rows }).to_string())
        }
        MaintenanceStep::Compacted(object) => {
            outln!("compacted {}  {}", &object.name, sizes(object.parts.len(), object.rows));
        }
        MaintenanceStep::CompactedLetters(object) if json => {
            outln!("{}", &json!({ "compacted": object.name, "messages": object.rows }).to_string())
        }
        MaintenanceStep::CompactedLetters(object) => {
            let (files, messages) = (object.parts.len(), human::count(object.rows));
            outln!("compacted {}  {files} files of dead letters, {messages} messages", &object.name);
        }
        MaintenanceStep::Retired(object) if json => {
            outln!("{}", &json!({ "retired": object.name, "reason": object.reason }).to_string())
        }
        MaintenanceStep::Retired(object) => outln!("retired   {}  {}", &object.name, &object.reason),
        MaintenanceStep::Deleted(object) if json => {
            outln!("{}", &json!({ "deleted": object.name, "bytes": object.bytes }).to_string())
        }
        MaintenanceStep::Deleted(object) => outln!("deleted   {}  {}", &object.name, &object.reason),
    }
}

fn finish(applied: Applied, json: bool) -> anyhow::Result<Exit> {
    if !json {
        eprintln!("{}", flow::summary(&applied).unwrap_or_else(|| "lake: there was nothing to do".to_owned()));
    }
    if applied.raced {
        eprintln!("another process is maintaining this lake; the rest is left to it");
    }
    let mut failed = applied.failed.into_iter().map(flow::maintenance_failed);
    let Some(first) = failed.next() else { return Ok(Exit::Done) };
    failed.for_each(|error| report::print_error(&human::error(error.as_ref())));
    Err(first)
}
