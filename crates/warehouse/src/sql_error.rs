//! DataFusion's error for a failed query: the innermost error, its position and its text.

use datafusion::error::DataFusionError;
use turnstile_values::human;

/// The error below all wrappers.
pub(crate) fn root_error(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => root_error(inner),
        DataFusionError::Shared(inner) => root_error(inner),
        DataFusionError::Collection(all) => all.first().map_or(error, root_error),
        DataFusionError::External(inner) => inner.downcast_ref::<DataFusionError>().map_or(error, root_error),
        other => other,
    }
}

/// Line and column of an error, both from 1, if it names them, and its text in one line.
pub(crate) fn locate(error: &DataFusionError) -> (Option<(usize, usize)>, String) {
    let text = match root_error(error) {
        DataFusionError::SQL(parser, _) => parser.to_string(),
        DataFusionError::Plan(text)
        | DataFusionError::Execution(text)
        | DataFusionError::NotImplemented(text)
        | DataFusionError::Configuration(text) => text.clone(),
        other => other.strip_backtrace(),
    };
    let text = human::one_line(text.strip_prefix("sql parser error: ").unwrap_or(&text));
    let Some((before, at)) = text.rsplit_once(" at Line: ") else { return (None, text) };
    let Some((line, column)) = at.split_once(", Column: ") else { return (None, text) };
    match (line.parse(), column.trim().parse()) {
        (Ok(line), Ok(column)) => (Some((line, column)), before.to_owned()),
        _ => (None, text),
    }
}
