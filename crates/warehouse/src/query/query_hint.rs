//! Describes a failed query to its user: the fact, its position, and which name was probably meant.

use std::error::Error;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use turnstile_values::{human, nearest};

use crate::replaced::is_replaced;
use crate::sql_error::{locate, root_error};

/// What is wrong with a query, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryHint {
    /// What is wrong, in one line.
    pub fact: String,
    /// Line and column in the query, both from 1.
    pub position: Option<(usize, usize)>,
    /// What to do.
    pub hint: Option<String>,
}

/// Explains why a query failed; `tables` are the names that could have been meant.
pub(crate) fn explain_error(error: &DataFusionError, tables: &[String]) -> QueryHint {
    let no_place = |fact: String, hint: Option<String>| QueryHint { fact, position: None, hint };
    let root = root_error(error);
    if let DataFusionError::External(inner) = root {
        let inner: &(dyn Error + 'static) = inner.as_ref();
        let hint = is_replaced(inner).then(|| "run the query again".to_owned());
        return no_place(human::error(inner), hint);
    }
    if let DataFusionError::ResourcesExhausted(what) = root {
        let hint = "query less data, or raise `[warehouse] memory`".to_owned();
        return no_place(format!("the query needs more memory than allowed: {}", human::one_line(what)), Some(hint));
    }
    if let DataFusionError::SchemaError(schema, _) = root
        && let SchemaError::FieldNotFound { field, valid_fields } = schema.as_ref()
    {
        let names: Vec<&str> = valid_fields.iter().map(|column| column.name.as_str()).collect();
        return no_place(format!("column {} does not exist", field.name), Some(suggest_name(&field.name, &names)));
    }
    let (position, fact) = locate(root);
    if let Some(kind) = changes(&fact) {
        let hint = "tables change through loads; a new table is a model: docs/models.md".to_owned();
        return no_place(format!("this session is read-only: {kind} is refused"), Some(hint));
    }
    let Some(table) = unknown_table(&fact) else { return QueryHint { fact, position, hint: None } };
    let names: Vec<&str> = tables.iter().map(String::as_str).collect();
    QueryHint { fact: format!("table {table} does not exist"), position, hint: Some(suggest_name(&table, &names)) }
}

/// `DDL not supported: DropTable`: what a statement that is no query would have done.
fn changes(fact: &str) -> Option<&str> {
    let kinds = ["DDL not supported: ", "DML not supported: ", "Statement not supported: "];
    kinds.iter().find_map(|kind| fact.split_once(kind)).map(|(_, what)| what.trim())
}

/// The nearest of the known names, or all of them.
fn suggest_name(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("known: {}", known.join(", ")),
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

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn explain(sql: &str) -> QueryHint {
        let session = SessionContext::new();
        session.sql("CREATE TABLE ext_turnstile AS SELECT 1 AS station, 2 AS entries").await.unwrap();
        let error = session.sql(sql).await.unwrap_err();
        explain_error(&error, &["ext_turnstile".to_owned(), "load_runs".to_owned()])
    }

    #[tokio::test]
    async fn a_syntax_error_has_its_position() {
        let hint = explain("SELECT station\nFROM ext_turnstile ORDER station").await;
        assert_eq!(hint.position.map(|(line, _)| line), Some(2), "{hint:?}");
        assert!(!hint.fact.contains("Line:"), "{hint:?}");
    }

    #[tokio::test]
    async fn a_statement_that_changes_something_is_refused_with_the_way_to_do_it() {
        let session = SessionContext::new();
        let read_only = datafusion::execution::context::SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        for sql in ["CREATE TABLE t (a INT)", "SET x = 1"] {
            let error = session.sql_with_options(sql, read_only).await.unwrap_err();
            let hint = explain_error(&error, &[]);
            assert!(hint.fact.starts_with("this session is read-only: "), "{hint:?}");
            assert!(hint.hint.is_some_and(|hint| hint.contains("docs/models.md")));
        }
    }

    #[tokio::test]
    async fn an_unknown_name_is_answered_with_the_nearest_known_one() {
        let table = explain("SELECT 1 FROM ext_turnstil").await;
        assert_eq!(table.hint.as_deref(), Some("did you mean ext_turnstile?"), "{table:?}");
        let column = explain("SELECT entires FROM ext_turnstile").await;
        assert_eq!(column.fact, "column entires does not exist");
        assert_eq!(column.hint.as_deref(), Some("did you mean entries?"));
        let strange = explain("SELECT 1 FROM something_else").await;
        assert_eq!(strange.hint.as_deref(), Some("known: ext_turnstile, load_runs"));
    }
}
