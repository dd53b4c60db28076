//! `turnstile models`: checks, runs, tests and describes the SQL files that define tables.

use serde_json::json;
use turnstile_values::human;
use turnstile_warehouse::{DropTable, LoadOptions, Models};

use super::pipeline_args::PipelineArgs;
use super::text_table::TextTable;
use super::warehouse::load_once;
use crate::exit::Exit;
use crate::flow::{self, Context, LakeAccess};
use crate::process::Process;
use crate::report::Failure;

/// Check, run, test, describe and drop the models: SQL files that define tables
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, subcommand_required = true)]
#[command(after_help = "\
Examples:
  turnstile models check pipelines/mta-turnstile.toml
  turnstile models run --full-refresh fact_turnstile
  turnstile models test

What a model is: docs/models.md.")]
pub(crate) struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ModelsCommand {
    Check(ModelsCheckArgs),
    Run(ModelsRunArgs),
    Test(ModelsTestArgs),
    Docs(ModelsDocsArgs),
    Drop(ModelsDropArgs),
}

/// Check the models against the tables that they read, and list them in the order in which they run
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile models check pipelines/mta-turnstile.toml
  turnstile models check --json")]
struct ModelsCheckArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Print as JSON, one model per line
    #[arg(long)]
    json: bool,
}

/// Load like `warehouse run --once`, optionally rebuilding tables
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile models run pipelines/mta-turnstile.toml
  turnstile models run --full-refresh fact_turnstile pipelines/mta-turnstile.toml")]
struct ModelsRunArgs {
    /// Rebuild this model's table from all data in the lake; may be given several times
    #[arg(long, value_name = "MODEL")]
    full_refresh: Vec<String>,
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Print one line of JSON per load
    #[arg(long)]
    json: bool,
}

/// Run the models' tests on their whole tables
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile models test pipelines/mta-turnstile.toml

A load tests only the rows that it writes; this tests all of them. The exit code is 9 if a test fails.")]
struct ModelsTestArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Print a page of Markdown about the models
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile models docs pipelines/mta-turnstile.toml > models.md")]
struct ModelsDocsArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
}

/// Drop the table of a model that was deleted
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile models drop fact_by_hour pipelines/mta-turnstile.toml

Delete the model's file first: a load builds the table of every model. Copies in PostgreSQL or BigQuery stay; drop them
there.")]
struct ModelsDropArgs {
    /// The table
    #[arg(value_name = "TABLE")]
    table: String,
    #[command(flatten)]
    pipeline: PipelineArgs,
}

pub(crate) fn run(args: ModelsArgs, process: &Process) -> anyhow::Result<Exit> {
    match args.command {
        ModelsCommand::Check(args) => check(&args, process),
        ModelsCommand::Run(args) => load(&args, process),
        ModelsCommand::Test(args) => test(&args, process),
        ModelsCommand::Docs(args) => {
            out!("{}", models(&args.pipeline.open(process, LakeAccess::Read)?)?.describe());
            Ok(Exit::Done)
        }
        ModelsCommand::Drop(args) => drop_table(&args, process),
    }
}

fn models(context: &Context) -> anyhow::Result<Models> {
    let pipeline = context.pipeline();
    let models = flow::models(context)?;
    if models.is_empty() {
        return Err(Failure::new(Exit::Config, format!("pipeline {:?} has no models", pipeline.name))
            .hint("name their folder in [warehouse] models: docs/models.md")
            .into());
    }
    Ok(models)
}

fn check(args: &ModelsCheckArgs, process: &Process) -> anyhow::Result<Exit> {
    let context = args.pipeline.open(process, LakeAccess::Read)?;
    let models = models(&context)?;
    context.block_on(flow::plan_models(&context, &models))?;
    if args.json {
        for model in models.iter() {
            let (kind, tests) = (model.kind.word(), model.checks.len());
            let (key, reads) = (&model.key, &model.reads);
            outln!("{}", json!({ "model": model.name, "kind": kind, "key": key, "reads": reads, "tests": tests }));
        }
        return Ok(Exit::Done);
    }
    let mut table = TextTable::headless(0..0);
    for model in models.iter() {
        let key = if model.key.is_empty() { String::new() } else { format!(", key {}", model.key.join(", ")) };
        let kind = model.kind.word();
        let (reads, tests) = (model.reads.join(", "), human::plural(model.checks.len() as u64, "test"));
        table.row([model.name.clone(), format!("{kind}{key}; reads {reads}; {tests}")]);
    }
    out!("{table}");
    Ok(Exit::Done)
}

fn load(args: &ModelsRunArgs, process: &Process) -> anyhow::Result<Exit> {
    let context = args.pipeline.open(process, LakeAccess::Write)?;
    let models = models(&context)?;
    if let Some(unknown) = args.full_refresh.iter().find(|name| models.get(name).is_none()) {
        let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
        return Err(Failure::new(Exit::Usage, format!("there is no model {unknown:?}"))
            .hint(turnstile_values::suggest(unknown, names))
            .into());
    }
    load_once(&context, &LoadOptions { full_refresh: args.full_refresh.clone() }, args.json)
}

fn drop_table(args: &ModelsDropArgs, process: &Process) -> anyhow::Result<Exit> {
    let context = args.pipeline.open(process, LakeAccess::Write)?;
    let dropped = context.block_on(async {
        let warehouse = context.warehouse().await?;
        warehouse.drop_table(&args.table).await.map_err(flow::warehouse_failed)
    })?;
    let failure = |fact: String, hint: String| Err(Failure::new(Exit::Usage, fact).hint(hint).into());
    match dropped {
        DropTable::Dropped { rows } => {
            outln!("{} dropped, with {}", args.table, human::plural(rows, "row"));
            Ok(Exit::Done)
        }
        DropTable::HasModel => {
            let hint = "delete the model's file first: the next load would build the table again".to_owned();
            failure(format!("the table {} has a model", args.table), hint)
        }
        DropTable::Unknown { without_model } => {
            let hint = match without_model.as_slice() {
                [] => "every table has a model".to_owned(),
                names => format!("tables without a model: {}", names.join(", ")),
            };
            failure(format!("there is no table {}", args.table), hint)
        }
    }
}

fn test(args: &ModelsTestArgs, process: &Process) -> anyhow::Result<Exit> {
    let context = args.pipeline.open(process, LakeAccess::Read)?;
    let results = context.block_on(async {
        let warehouse = context.warehouse().await?;
        warehouse.test().await.map_err(flow::warehouse_failed)
    })?;
    let failed = results.iter().filter(|result| !result.passed()).count();
    if args.json {
        outln!("{}", serde_json::to_string(&results)?);
    } else {
        let mut table = TextTable::headless(0..0);
        for result in &results {
            let example = result.example.as_ref().map(|text| format!(", such as {text}")).unwrap_or_default();
            let outcome = match result.passed() {
                true => "ok".to_owned(),
                false => format!("{}{example}", human::plural(result.failures, "row")),
            };
            table.row([result.model.clone(), format!("{}: {outcome}", result.check)]);
        }
        out!("{table}");
        outln!("{}, {failed} failed", human::plural(results.len() as u64, "test"));
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::Difference })
}
