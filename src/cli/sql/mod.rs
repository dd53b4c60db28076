//! `turnstile sql`: one query on the warehouse, or a shell.

mod shell;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Instant;

use turnstile_warehouse::{QueryError, QueryResultFormat, Warehouse};

use super::last_run::context_or_last;
use crate::exit::Exit;
use crate::flow::{self, LakeAccess};
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
    /// The pipeline file [default: the pipeline that `turnstile up` runs under ./turnstile-data]
    #[arg(long, value_name = "PIPELINE.toml")]
    pipeline: Option<PathBuf>,
    /// Format of the result
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: FormatArg,
    /// Set a key of the pipeline file; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
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
    let context = context_or_last(process, args.pipeline.as_ref(), &args.set, LakeAccess::Read)?;
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

/// Writes the result to stdout. A closed pipe is no error.
async fn write_result(warehouse: &Warehouse, query: &str, format: QueryResultFormat) -> Result<u64, QueryError> {
    let mut out = std::io::BufWriter::new(std::io::stdout());
    let rows = match warehouse.query(query).await?.write(format, &mut out).await {
        Err(QueryError::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
        other => other?,
    };
    match out.flush() {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(rows),
    }
}

fn summary(rows: u64, began: Instant) -> String {
    let took = began.elapsed();
    format!("({rows} {}, {} ms)", if rows == 1 { "row" } else { "rows" }, took.as_millis())
}

/// A failed query as fact, position and hint.
fn failure(query: &str, error: QueryError) -> anyhow::Error {
    match error {
        QueryError::Query { hint: explained, .. } => {
            let fact = match explained.position {
                Some(position) => format!("{}\n{}", explained.fact, caret(query, position)),
                None => explained.fact,
            };
            let failure = Failure::new(Exit::Failed, fact);
            match explained.hint {
                Some(hint) => failure.hint(hint).into(),
                None => failure.into(),
            }
        }
        QueryError::Timeout(_) => Failure::new(Exit::Failed, error.to_string())
            .hint("query less data, or raise `[warehouse] statement_timeout`")
            .into(),
        QueryError::Warehouse(error) => flow::warehouse_failed(error),
        QueryError::Write(error) => Failure::new(Exit::Failed, "the result cannot be written").cause(error).into(),
    }
}

/// The line of the query with a caret under the error.
fn caret(query: &str, (line, column): (usize, usize)) -> String {
    let text = query.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    format!("  {text}\n  {}^", " ".repeat(column.saturating_sub(1).min(text.chars().count())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_is_under_the_error() {
        assert_eq!(caret("SELECT a\nFRM b", (2, 5)), "  FRM b\n      ^");
    }
}
