//! `turnstile sql`: one query on the warehouse, or a shell.

mod result;
mod shell;

use std::io::IsTerminal;
use std::time::Instant;

use turnstile_warehouse::QueryResultFormat;

use self::result::{failure, summary, write_result};
use super::pipeline_args::PipelineFlags;
use crate::exit::Exit;
use crate::flow::LakeAccess;
use crate::process::Process;
use crate::report::Failure;

/// Query the warehouse: the lake's files, the models' tables, the open windows, the ledger
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  turnstile sql \"SELECT STATION, ENTRIES, EXITS FROM ext_turnstile WHERE STATION LIKE 'Test%'\"
  turnstile sql --pipeline pipelines/mta-turnstile.toml --format csv \"SELECT * FROM fact_turnstile\" > facts.csv
  turnstile sql \"SELECT * FROM live_turnstile\"      windows that are still open
  turnstile sql '\\d'                                list the tables; '\\d NAME' a table's columns
  turnstile sql                                     a shell; \\q ends it

The SQL is DataFusion's, close to PostgreSQL's; names are case-insensitive. A query sees one position of the ledger,
whatever is published in the meantime. It is read-only. Tables: docs/warehouse.md; models: docs/models.md.")]
pub(crate) struct SqlArgs {
    /// A SELECT statement, or @FILE with one; without it a shell starts
    #[arg(value_name = "QUERY")]
    query: Option<String>,
    #[command(flatten)]
    pipeline: PipelineFlags,
    /// Format of the result
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: FormatArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FormatArg {
    Table,
    Csv,
    Json,
    Parquet,
}

impl From<FormatArg> for QueryResultFormat {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Table => Self::Table,
            FormatArg::Csv => Self::Csv,
            FormatArg::Json => Self::Json,
            FormatArg::Parquet => Self::Parquet,
        }
    }
}

pub(crate) fn run(args: SqlArgs, process: &Process) -> anyhow::Result<Exit> {
    let context = args.pipeline.open(process, LakeAccess::Read)?;
    let warehouse = context.block_on(context.warehouse())?;
    let query = match args.query {
        Some(query) => query,
        None if std::io::stdin().is_terminal() => return shell::run(&context, warehouse, args.format.into()),
        None => std::io::read_to_string(std::io::stdin())?,
    };
    let query = match query.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|e| Failure::new(Exit::Usage, format!("{file} cannot be read")).cause(e))?,
        None => query,
    };
    // The shell's commands work here too.
    let query = if query.starts_with('\\') { shell::expand_command(&query) } else { query };
    let format: QueryResultFormat = args.format.into();
    if format == QueryResultFormat::Parquet && std::io::stdout().is_terminal() {
        return Err(Failure::new(Exit::Usage, "a Parquet file cannot be shown on a terminal")
            .hint("redirect it to a file: … --format parquet \"SELECT …\" > answer.parquet")
            .into());
    }
    let began = Instant::now();
    let rows = context.block_on(write_result(warehouse, &query, format)).map_err(|error| failure(&query, error))?;
    if std::io::stderr().is_terminal() {
        eprintln!("{}", summary(rows, began));
    }
    Ok(Exit::Done)
}
