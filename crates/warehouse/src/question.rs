//! What to say of a question that cannot be answered: where the fault is, and which name was meant.

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use turnstile_values::nearest;

use crate::WarehouseError;

/// What is wrong with a question, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What is wrong, in one line.
    pub fact: String,
    /// Line and column in the question, both from 1.
    pub place: Option<(usize, usize)>,
    /// What to do.
    pub hint: Option<String>,
}

/// Says what is wrong with a question; `tables` are the names that could have been meant.
pub fn advise(error: &DataFusionError, tables: &[String]) -> Advice {
    let root = root(error);
    if let DataFusionError::External(inner) = root
        && let Some(inner) = inner.downcast_ref::<WarehouseError>()
    {
        return Advice { fact: inner.to_string(), place: None, hint: None };
    }
    if let DataFusionError::ResourcesExhausted(what) = root {
        let hint = "ask for less, or raise `[warehouse] memory`".to_owned();
        let fact = format!("the question needs more memory than it may use: {}", one_line(what));
        return Advice { fact, place: None, hint: Some(hint) };
    }
    if let DataFusionError::SchemaError(schema, _) = root
        && let SchemaError::FieldNotFound { field, valid_fields } = schema.as_ref()
    {
        let names: Vec<&str> = valid_fields.iter().map(|column| column.name.as_str()).collect();
        let fact = format!("there is no column {}", field.name);
        return Advice { fact, place: None, hint: Some(meant(&field.name, &names)) };
    }
    let (place, fact) = place_of(root);
    if let Some(table) = unknown_table(&fact) {
        let names: Vec<&str> = tables.iter().map(String::as_str).collect();
        return Advice { fact: format!("there is no table {table}"), place, hint: Some(meant(&table, &names)) };
    }
    Advice { fact, place, hint: None }
}

/// Names of that sort, the nearest first.
fn meant(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are: {}", known.join(", ")),
    }
}

fn root(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => root(inner),
        DataFusionError::Shared(inner) => root(inner),
        DataFusionError::Collection(all) => all.first().map_or(error, root),
        DataFusionError::External(inner) => inner.downcast_ref::<DataFusionError>().map_or(error, root),
        other => other,
    }
}

/// `table 'turnstile.public.x' not found`: as a person would write it.
fn unknown_table(fact: &str) -> Option<String> {
    let name = fact.strip_prefix("table '")?.split_once("' not found")?.0;
    match name.split('.').collect::<Vec<_>>().as_slice() {
        [.., "public", table] => Some((*table).to_owned()),
        [_, schema, table] => Some(format!("{schema}.{table}")),
        _ => Some(name.to_owned()),
    }
}

/// Where a fault lies, if it says so, and what it is in one line.
pub(crate) fn place_of(error: &DataFusionError) -> (Option<(usize, usize)>, String) {
    let text = match root(error) {
        DataFusionError::SQL(parser, _) => parser.to_string(),
        DataFusionError::Plan(text)
        | DataFusionError::Execution(text)
        | DataFusionError::NotImplemented(text)
        | DataFusionError::Configuration(text) => text.clone(),
        other => other.strip_backtrace(),
    };
    let text = one_line(text.strip_prefix("sql parser error: ").unwrap_or(&text));
    let Some((before, at)) = text.rsplit_once(" at Line: ") else { return (None, text) };
    let Some((line, column)) = at.split_once(", Column: ") else { return (None, text) };
    match (line.parse(), column.trim().parse()) {
        (Ok(line), Ok(column)) => (Some((line, column)), before.to_owned()),
        _ => (None, text),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn advice(sql: &str) -> Advice {
        let session = SessionContext::new();
        session.sql("CREATE TABLE ext_turnstile AS SELECT 1 AS station, 2 AS entries").await.unwrap();
        let error = session.sql(sql).await.unwrap_err();
        advise(&error, &["ext_turnstile".to_owned(), "load_runs".to_owned()])
    }

    #[tokio::test]
    async fn a_fault_of_syntax_has_its_place() {
        let advice = advice("SELECT station\nFROM ext_turnstile ORDER station").await;
        assert_eq!(advice.place.map(|(line, _)| line), Some(2), "{advice:?}");
        assert!(!advice.fact.contains("Line:"), "{advice:?}");
    }

    #[tokio::test]
    async fn a_name_that_is_not_known_is_answered_with_the_nearest() {
        let table = advice("SELECT 1 FROM ext_turnstil").await;
        assert_eq!(table.hint.as_deref(), Some("did you mean ext_turnstile?"), "{table:?}");
        let column = advice("SELECT entires FROM ext_turnstile").await;
        assert_eq!(column.fact, "there is no column entires");
        assert_eq!(column.hint.as_deref(), Some("did you mean entries?"));
        let strange = advice("SELECT 1 FROM something_else").await;
        assert_eq!(strange.hint.as_deref(), Some("there are: ext_turnstile, load_runs"));
    }
}
