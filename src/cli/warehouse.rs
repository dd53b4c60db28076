//! `turnstile warehouse`: loads the tables, once or on a schedule; shows the loads; serves PostgreSQL clients.

use turnstile_lake::Ledger;
use turnstile_values::human;
use turnstile_warehouse::LoadOptions;

use super::json::record_as_json;
use super::pipeline_args::PipelineArgs;
use super::text_table::TextTable;
use crate::exit::Exit;
use crate::flow::{self, Context, Event, LakeAccess, Loaded};
use crate::process::Process;
use crate::report::{self, Failure};

/// Load the warehouse, show its state, serve it, deploy it to another database
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, subcommand_required = true)]
#[command(after_help = "\
Examples:
  turnstile warehouse status
  turnstile warehouse run --once pipelines/mta-turnstile.toml
  turnstile warehouse serve pipelines/mta-turnstile.toml")]
pub(crate) struct WarehouseArgs {
    #[command(subcommand)]
    command: WarehouseCommand,
}

#[derive(Debug, clap::Subcommand)]
enum WarehouseCommand {
    Run(WarehouseRunArgs),
    Status(WarehouseStatusArgs),
    Serve(super::serve::ServeArgs),
    Deploy(WarehouseDeployArgs),
}

/// Load what was published since the last load, and deliver it to other databases
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile warehouse run --once pipelines/mta-turnstile.toml
  turnstile warehouse run --watch pipelines/mta-turnstile.toml     on the pipeline's schedule, until Ctrl-C

`turnstile run` and `turnstile up` load automatically: this is for loading on another machine. Several may run at once.
The table load_runs records every load, failed ones included.")]
struct WarehouseRunArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Load once and exit
    #[arg(long, conflicts_with = "watch", required_unless_present = "watch")]
    once: bool,
    /// Load on the schedule, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Print one line of JSON per load
    #[arg(long)]
    json: bool,
}

/// Show how far each database has been loaded, and the latest loads and deliveries
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile warehouse status
  turnstile warehouse status pipelines/mta-turnstile.toml --json")]
struct WarehouseStatusArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// How many loads and deliveries
    #[arg(long, default_value_t = 10)]
    last: usize,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Create the tables in another database before the first load: BigQuery's dataset, external table, facts, dimensions
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile warehouse deploy --target bigquery pipelines/mta-turnstile.toml
  turnstile warehouse deploy --target bigquery --dry-run pipelines/mta-turnstile.toml     only prints the requests

Safe to repeat, before or after the first load.
PostgreSQL needs no deploy: the first delivery creates its schema and tables.")]
struct WarehouseDeployArgs {
    /// The database
    #[arg(long, value_name = "TARGET")]
    target: DeployTarget,
    /// Print the requests instead of sending them
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pipeline: PipelineArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum DeployTarget {
    Bigquery,
}

/// Loads that may wait to be printed.
const LOADS: usize = 1024;

pub(crate) fn run(args: WarehouseArgs, process: &Process) -> anyhow::Result<Exit> {
    match args.command {
        WarehouseCommand::Run(args) => load(&args, process),
        WarehouseCommand::Status(args) => status(&args, process),
        WarehouseCommand::Serve(args) => super::serve::run(args, process),
        WarehouseCommand::Deploy(args) => deploy(&args, process),
    }
}

fn load(args: &WarehouseRunArgs, process: &Process) -> anyhow::Result<Exit> {
    let context = args.pipeline.open(process, LakeAccess::Write)?;
    if args.once {
        return load_once(&context, &LoadOptions::default(), args.json);
    }
    let Some(settings) = &context.pipeline().warehouse else {
        return Err(Failure::new(Exit::Config, format!("pipeline {:?} has no [warehouse]", context.pipeline().name))
            .hint("add the section with table and schedule: docs/pipeline-file.md")
            .into());
    };
    process.shutdown_on_signals()?;
    print_loads(&context, args.json, async {
        flow::load_on_schedule(&context, &settings.schedule).await;
        Ok(())
    })?;
    Ok(Exit::Done)
}

/// Loads what is new, and prints it.
pub(super) fn load_once(context: &Context, options: &LoadOptions, json: bool) -> anyhow::Result<Exit> {
    let loads = print_loads(context, json, flow::load_once(context, options))?;
    if loads == 0 && !json {
        outln!("nothing new");
    }
    Ok(Exit::Done)
}

/// Does `work` and prints the loads that happen meanwhile; how many there were.
fn print_loads(context: &Context, json: bool, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<usize> {
    let mut events = context.events().subscribe(LOADS);
    let printing = std::thread::spawn(move || {
        let mut loads = 0;
        while let Some(event) = events.blocking_next() {
            match event {
                Event::Loaded(loaded) => {
                    loads += 1;
                    show(&loaded, json);
                }
                Event::NotLoaded { error, .. } => report::warn(&flow::not_loaded_text(&error)),
                _ => {}
            }
        }
        loads
    });
    let done = context.block_on(work);
    context.events().close();
    let loads = printing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    done.map(|()| loads)
}

fn show(loaded: &Loaded, json: bool) {
    match loaded {
        Loaded::Load(load) if json => outln!("{}", record_as_json(load).unwrap_or_default()),
        Loaded::Delivery(run) if json => outln!("{}", record_as_json(run).unwrap_or_default()),
        Loaded::Load(load) => outln!(
            "load {}: commits {}..{}, {}, {} in, {} out, {} passed, {} ms",
            load.run.load,
            load.run.from_seq,
            load.run.to_seq,
            human::plural(load.run.windows, "window"),
            human::plural(load.run.rows_in, "row"),
            human::plural(load.run.rows_out, "row"),
            human::plural(load.run.tests_passed, "test"),
            (load.run.ended_at_us - load.run.started_at_us) / 1000
        ),
        Loaded::Delivery(run) => outln!(
            "{}: commits {}..{}, {}, {} ms",
            run.target,
            run.from_seq,
            run.to_seq,
            human::plural(run.rows_out, "row"),
            (run.ended_at_us - run.started_at_us) / 1000
        ),
    }
}

fn status(args: &WarehouseStatusArgs, process: &Process) -> anyhow::Result<Exit> {
    let context = args.pipeline.open(process, LakeAccess::Read)?;
    let (newest, standing, runs) = context.block_on(async {
        let newest =
            Ledger::peek(context.lake().await?, &context.pipeline().name).await.map_err(flow::ledger_failed)?;
        let standing = flow::loaded_bounds(&context).await?;
        let runs = context.warehouse().await?.runs().await.map_err(flow::warehouse_failed)?;
        anyhow::Ok((newest.map_or(0, |slot| slot.seq), standing, runs))
    })?;
    let runs = &runs[runs.len().saturating_sub(args.last)..];
    if args.json {
        let standing: Vec<_> =
            standing.iter().map(|at| serde_json::json!({"target": at.target, "ledger_seq": at.seq})).collect();
        let runs = record_as_json(&runs)?;
        outln!("{}", serde_json::json!({"ledger_seq": newest, "targets": standing, "runs": runs}));
        return Ok(Exit::Done);
    }
    outln!("the ledger is at commit {newest}");
    for at in &standing {
        outln!("{} {}", at.target, behind(at.seq, newest));
    }
    if runs.is_empty() {
        outln!("nothing has been loaded yet");
    }
    let mut table = TextTable::headless(1..2);
    // The newest first: it says whether all is well.
    for run in runs.iter().rev() {
        let state = match &run.error {
            Some(error) => format!("failed: {error}"),
            None => format!("commits {}..{}, {}", run.from_seq, run.to_seq, human::plural(run.rows_out, "row")),
        };
        let started = human::instant(run.started_at_us);
        table.row([started, run.load.to_string(), run.target.clone(), state]);
    }
    out!("{table}");
    Ok(Exit::Done)
}

/// How far a warehouse has been loaded, compared with the ledger's newest commit.
fn behind(seq: Option<u64>, newest: u64) -> String {
    match seq {
        None => "cannot be reached: the loads below may say why".to_owned(),
        Some(seq) if seq >= newest => "is up to date".to_owned(),
        Some(0) => "has loaded nothing yet".to_owned(),
        Some(seq) => {
            format!("is at commit {seq}, {} behind; each load takes all of them", human::plural(newest - seq, "commit"))
        }
    }
}

fn deploy(args: &WarehouseDeployArgs, process: &Process) -> anyhow::Result<Exit> {
    let DeployTarget::Bigquery = args.target;
    let context = args.pipeline.open(process, LakeAccess::Read)?;
    let lines = context.block_on(flow::deploy_bigquery(&context, args.dry_run))?;
    if args.dry_run {
        lines.iter().for_each(|line| out!("{line}"));
        return Ok(Exit::Done);
    }
    lines.iter().for_each(|line| outln!("created {line}"));
    if lines.is_empty() {
        outln!("everything already exists");
    }
    Ok(Exit::Done)
}
