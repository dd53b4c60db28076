//! A query's result on stdout, and how a failed query is shown.

use std::io::Write as _;
use std::time::Instant;

use turnstile_values::human;
use turnstile_warehouse::{QueryError, QueryResultFormat, Warehouse};

use crate::exit::Exit;
use crate::flow;
use crate::report::Failure;

/// Writes the result to stdout. A closed pipe is no error.
pub(super) async fn write_result(
    warehouse: &Warehouse,
    query: &str,
    format: QueryResultFormat,
) -> Result<u64, QueryError> {
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

/// `(3 rows, 12 ms)`.
pub(super) fn summary(rows: u64, began: Instant) -> String {
    let took = began.elapsed();
    format!("({}, {} ms)", human::plural(rows, "row"), took.as_millis())
}

/// A failed query as fact, position and hint.
pub(super) fn failure(query: &str, error: QueryError) -> anyhow::Error {
    match error {
        QueryError::Query { hint: explained, source } => {
            let fact = match explained.position {
                Some(position) => format!("{}\n{}", explained.fact, caret(query, position)),
                None => explained.fact,
            };
            let lake = flow::lake_file_hint(&*source).map(str::to_owned);
            Failure::new(Exit::Failed, fact).maybe_hint(explained.hint.or(lake)).into()
        }
        QueryError::Timeout(_) => {
            Failure::of(Exit::Failed, error).hint("query less data, or raise `[warehouse] statement_timeout`").into()
        }
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
