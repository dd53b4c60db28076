//! `turnstile lake`: the lake's files, compaction of past days, and garbage collection.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use turnstile_lake::maintenance::{
    Applied, Compact, MaintenancePlan, MaintenancePolicy, MaintenanceStep, maintain, plan,
};
use turnstile_lake::{Catalog, Extent};
use turnstile_pipeline::Pipeline;
use turnstile_values::human;

use super::last_run::context_or_last;
use super::ledger_args::LedgerArgs;
use crate::exit::Exit;
use crate::flow::{self, Context, LakeAccess};
use crate::process::Process;

/// List the lake's files, compact those of past days, delete those no longer needed
#[derive(Debug, clap::Args)]
pub(crate) struct LakeArgs {
    #[command(subcommand)]
    command: LakeCommand,
}

#[derive(Debug, Subcommand)]
enum LakeCommand {
    Files(LakeFilesArgs),
    Compact(LakeMaintenanceArgs),
    Gc(LakeMaintenanceArgs),
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
    ledger: LedgerArgs,
    /// All versions of all windows, superseded and retired ones too
    #[arg(long)]
    all: bool,
    /// Print as JSON, one window per line
    #[arg(long)]
    json: bool,
}

/// `compact`: merge the small files of each past day into one. `gc`: retire and delete files no longer needed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile lake compact pipelines/mta-turnstile.toml
  turnstile lake gc --dry-run pipelines/mta-turnstile.toml
  turnstile lake gc --json

compact merges the small files of each past UTC day into one; rows, order and provenance are kept.
gc retires windows and dead letters that are older than `[lake] retain` and loaded by every warehouse, and
deletes what was retired longer than `[lake] grace` ago. Both may run at the same time as the pipeline, which does
the same every `[lake] maintain`; after a crash run either again.")]
struct LakeMaintenanceArgs {
    /// The pipeline file [default: the pipeline that `turnstile up` or `stream` ran last in
    /// ./turnstile-data]
    #[arg(value_name = "PIPELINE.toml")]
    file: Option<PathBuf>,
    /// Set a key of the pipeline file; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
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
            act(args, process, |_| policy)
        }
        LakeCommand::Gc(args) => act(args, process, |pipeline| MaintenancePolicy {
            compact: Compact::Off,
            letters: Compact::Off,
            sweep_all: true,
            ..flow::maintenance_policy(pipeline)
        }),
    }
}

fn files(args: LakeFilesArgs, process: &Process) -> anyhow::Result<Exit> {
    let at = args.ledger.resolve()?;
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
        "{} windows of {:?} at commit {}, maintenance {}",
        human::count(extents.len() as u64),
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
        let several = if *windows == 1 { "window" } else { "windows" };
        let (rows, bytes) = (human::count(*rows), human::count(extent.object.bytes));
        format!("{}  {windows} {several}, {rows} rows, {bytes} bytes{state}\n", extent.object.name)
    };
    objects.iter().map(line).collect()
}

fn as_json(extent: &Extent) -> serde_json::Value {
    json!({
        "start": human::short_instant(extent.start_us), "end": human::short_instant(extent.end_us),
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
    let context = context_or_last(process, args.file.as_ref(), &args.set, access)?;
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
        outln!("{}", &serde_json::to_string(&plan)?);
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
        let why = format!("{} windows, {} rows", batch.parts.len(), human::count(batch.rows()));
        line("compact", &format!("{}={}", batch.key, batch.date), &why);
        batch.replaces.iter().for_each(|object| line("retire", &object.name, &object.reason));
    }
    plan.retire.iter().for_each(|object| line("retire", &object.name, &object.reason));
    plan.delete.iter().for_each(|object| line("delete", &object.name, &object.reason));
    plan.keep.iter().for_each(|object| line("keep", &object.name, &object.reason));
    out
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
            eprintln!("compacting {}: {} windows, {} rows ({at} of {of})", batch.date, batch.parts.len(), batch.rows());
        }
        MaintenanceStep::Compacting(..) => {}
        MaintenanceStep::Compacted(object) if json => {
            outln!("{}", &json!({ "compacted": object.name, "rows": object.rows }).to_string())
        }
        MaintenanceStep::Compacted(object) => {
            outln!("compacted {}  {} windows, {} rows", &object.name, object.parts.len(), human::count(object.rows));
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
    failed.for_each(|error| eprintln!("error: {}", human::error(error.as_ref())));
    Err(first)
}
