//! `turnstile warehouse`: loads the tables, once or on a schedule; shows the loads; serves PostgreSQL clients.

use std::path::PathBuf;

use turnstile_lake::{Lake, Ledger, readable_instant};
use turnstile_warehouse::LoadOptions;

use super::remembered::{folder_or_last, pipeline_or_last};
use super::{runtime, stop_flag};
use crate::exit::Exit;
use crate::flow::{self, Loaded};
use crate::report::Failure;

/// Load the warehouse, show its state, serve it
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Run(RunArgs),
    Status(StatusArgs),
    Serve(super::serve::Args),
    Deploy(DeployArgs),
}

/// Load what was published since the last load, and deliver it to other databases
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile warehouse run --once pipelines/mta-turnstile.toml
  turnstile warehouse run --watch pipelines/mta-turnstile.toml     on the pipeline's schedule, until Ctrl-C

`turnstile run` and `turnstile up` load automatically: this is for loading on another machine. Several may run at once.
The table load_runs records every load, failed ones included.")]
struct RunArgs {
    #[command(flatten)]
    which: Which,
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
struct StatusArgs {
    #[command(flatten)]
    which: Which,
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
struct DeployArgs {
    /// Which database
    #[arg(long, value_name = "TARGET")]
    target: DeployTarget,
    /// Print the requests instead of sending them
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum DeployTarget {
    Bigquery,
}

/// Which pipeline's warehouse.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The pipeline file [default: the pipeline that `turnstile up` runs under ./turnstile-data]
    #[arg(value_name = "PIPELINE.toml")]
    pub(super) file: Option<PathBuf>,
    /// Set a key of the pipeline file; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

impl Which {
    /// The pipeline and its file's folder.
    pub(super) fn open(&self) -> anyhow::Result<(turnstile_pipeline::Pipeline, PathBuf)> {
        Ok((pipeline_or_last(self.file.as_ref(), &self.set)?, folder_or_last(self.file.as_deref())?))
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    match args.verb {
        Verb::Run(args) => load(&args),
        Verb::Status(args) => status(&args),
        Verb::Serve(args) => super::serve::run(args),
        Verb::Deploy(args) => deploy(&args),
    }
}

fn load(args: &RunArgs) -> anyhow::Result<Exit> {
    let (pipeline, folder) = args.which.open()?;
    let json = args.json;
    if args.once {
        return load_once(&pipeline, &folder, &LoadOptions::default(), json);
    }
    let Some(settings) = &pipeline.warehouse else {
        return Err(Failure::new(Exit::Config, format!("pipeline {:?} has no [warehouse]", pipeline.name))
            .hint("add the section with table and schedule: docs/pipeline-file.md")
            .into());
    };
    let stop = stop_flag()?;
    let mut show = |loaded: Result<Loaded, String>| match loaded {
        Ok(loaded) => show(&loaded, json),
        Err(error) => eprintln!("warning: {error}"),
    };
    flow::watch(&pipeline, &folder, &settings.schedule, &stop, &mut show)?;
    Ok(Exit::Done)
}

/// Loads what is new, and prints it.
pub(super) fn load_once(
    pipeline: &turnstile_pipeline::Pipeline,
    folder: &std::path::Path,
    options: &LoadOptions,
    json: bool,
) -> anyhow::Result<Exit> {
    let mut any = false;
    flow::load_once(pipeline, folder, options, &mut |loaded| {
        any = true;
        show(&loaded, json);
    })?;
    if !any && !json {
        outln!("nothing new");
    }
    Ok(Exit::Done)
}

fn show(loaded: &Loaded, json: bool) {
    match loaded {
        Loaded::Load(load) if json => outln!("{}", serde_json::to_string(load).unwrap_or_default()),
        Loaded::Delivery(run) if json => outln!("{}", serde_json::to_string(run).unwrap_or_default()),
        Loaded::Load(load) => outln!(
            "load {}: commits {}..{}, {} windows, {} rows in, {} rows out, {} tests passed, {} ms",
            load.run.load,
            load.run.from_seq,
            load.run.to_seq,
            load.run.windows,
            load.run.rows_in,
            load.run.rows_out,
            load.run.tests_passed,
            (load.run.ended_at_us - load.run.started_at_us) / 1000
        ),
        Loaded::Delivery(run) => outln!(
            "{}: commits {}..{}, {} rows, {} ms",
            run.target,
            run.from_seq,
            run.to_seq,
            run.rows_out,
            (run.ended_at_us - run.started_at_us) / 1000
        ),
    }
}

fn status(args: &StatusArgs) -> anyhow::Result<Exit> {
    let (pipeline, folder) = args.which.open()?;
    let (newest, standing, runs) = runtime()?.block_on(async {
        let options = flow::store_options(&pipeline);
        let lake = Lake::open_for_reading(&pipeline.lake.url, &options).await.map_err(flow::lake_failed)?;
        let newest = Ledger::peek(&lake, &pipeline.name).await.map_err(flow::ledger_failed)?;
        let standing = flow::loaded_bounds(&pipeline, &lake).await;
        let warehouse = flow::open_to_ask(&pipeline, &folder).await?;
        let runs = warehouse.runs().await.map_err(flow::warehouse_failed)?;
        anyhow::Ok((newest.map_or(0, |slot| slot.seq), standing, runs))
    })?;
    let runs = &runs[runs.len().saturating_sub(args.last)..];
    if args.json {
        let standing: Vec<_> =
            standing.iter().map(|at| serde_json::json!({"target": at.target, "ledger_seq": at.seq})).collect();
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
    for run in runs {
        let state = match &run.error {
            Some(error) => format!("failed: {error}"),
            None => format!("commits {}..{}, {} rows", run.from_seq, run.to_seq, run.rows_out),
        };
        outln!("{} {:>6} {:<9} {state}", readable_instant(run.started_at_us), run.load, run.target);
    }
    Ok(Exit::Done)
}

/// How far a warehouse has been loaded, compared with the ledger's newest commit.
fn behind(seq: Option<u64>, newest: u64) -> String {
    match seq {
        None => "cannot be reached: the loads below may say why".to_owned(),
        Some(seq) if seq >= newest => "is up to date".to_owned(),
        Some(0) => "has loaded nothing yet".to_owned(),
        Some(seq) => format!("is at commit {seq}, {} behind", newest - seq),
    }
}

fn deploy(args: &DeployArgs) -> anyhow::Result<Exit> {
    let DeployTarget::Bigquery = args.target;
    let (pipeline, folder) = args.which.open()?;
    let lines = runtime()?.block_on(async {
        let warehouse = flow::open_to_ask(&pipeline, &folder).await?;
        let tables = warehouse.tables().await.map_err(flow::warehouse_failed)?;
        let files = warehouse.current_files().await.map_err(flow::warehouse_failed)?;
        let columns = std::sync::Arc::clone(&warehouse.source().files);
        flow::deploy_bigquery(&pipeline, &tables, columns, files, args.dry_run).await
    })?;
    if args.dry_run {
        lines.iter().for_each(|line| out!("{line}"));
        return Ok(Exit::Done);
    }
    lines.iter().for_each(|line| outln!("created {line}"));
    if lines.is_empty() {
        outln!("everything exists already");
    }
    Ok(Exit::Done)
}
