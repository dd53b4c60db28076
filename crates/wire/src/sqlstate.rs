//! Errors as PostgreSQL's clients expect them: a code, one line, perhaps a hint and a position.
//!
//! In: errors of the engine and those of this crate. Out: [`SqlError`]s.
//! Refuses to show the engine's internal names. Start at [`from_engine`].
//!
//! Source of the codes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>

use std::time::Duration;

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};
use turnstile_values::human;

use crate::position;
use crate::suggest::suggestions;

/// An error for a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SqlError {
    severity: &'static str,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) position: Option<usize>,
}

impl SqlError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: "ERROR", code, message: message.into(), hint: None, position: None }
    }

    /// An error after which the connection is closed.
    fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: "FATAL", ..Self::new(code, message) }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(crate) fn at(self, position: Option<usize>) -> Self {
        Self { position, ..self }
    }

    pub(crate) fn into_error(self) -> PgWireError {
        // psql and log readers expect a message of one line.
        let mut info = ErrorInfo::new(self.severity.into(), self.code.into(), human::one_line(&self.message));
        info.severity_nonlocalized = Some(self.severity.into());
        info.hint = self.hint;
        info.position = self.position.map(|position| position.to_string());
        PgWireError::UserError(Box::new(info))
    }
}

pub(crate) fn timed_out(limit: Duration) -> SqlError {
    SqlError::new("57014", format!("canceling statement due to statement timeout ({} ms)", limit.as_millis()))
        .hint("read less, or SET statement_timeout to more, up to the server's limit")
}

pub(crate) fn stopping() -> SqlError {
    SqlError::fatal("57P01", "terminating connection: the server is shutting down")
}

pub(crate) fn panicked() -> SqlError {
    SqlError::new("XX000", "the statement failed because of an internal error of the engine; the server continues")
        .hint("the error is in the server's log; please report it with the statement")
}

pub(crate) fn too_many_connections(limit: usize) -> SqlError {
    SqlError::fatal("53300", format!("sorry, {limit} clients are already connected, the limit of this server"))
        .hint("close one, or raise max_connections where the server is started")
}

pub(crate) fn wrong_password(user: &str) -> SqlError {
    SqlError::fatal("28P01", format!("password authentication failed for user \"{user}\""))
}

pub(crate) fn tls_needed() -> SqlError {
    SqlError::fatal("28000", "connections from other machines must be encrypted").hint("connect with sslmode=require")
}

pub(crate) fn too_many_rows(limit: u64) -> SqlError {
    SqlError::new("54000", format!("the result has more than {limit} rows, the limit of this server"))
        .hint("add a LIMIT or aggregate, or raise max_rows where the server is started")
}

/// A syntax error.
pub(crate) fn from_syntax(sql: &str, error: &ParserError) -> SqlError {
    let (ParserError::TokenizerError(text) | ParserError::ParserError(text)) = error else {
        return SqlError::new("54001", "the statement is nested too deeply");
    };
    let (fact, position) = position::from_message(sql, text);
    SqlError::new("42601", format!("syntax error: {fact}")).at(position)
}

/// An error of the engine; `asked` is the statement and the session with the names that it may use.
pub(crate) fn from_engine(error: &DataFusionError, asked: Option<(&str, &SessionContext)>) -> SqlError {
    let sql = asked.map_or("", |(sql, _)| sql);
    match error.find_root() {
        DataFusionError::SQL(parser, _) => from_syntax(sql, parser),
        DataFusionError::SchemaError(schema, _) => from_schema(schema, sql),
        DataFusionError::Plan(text) => from_plan(text, asked),
        DataFusionError::NotImplemented(text) => SqlError::new("0A000", format!("not supported: {text}")),
        DataFusionError::ResourcesExhausted(text) => SqlError::new("53200", format!("out of memory: {text}"))
            .hint("read less at once (a filter on time, fewer groups), or raise the memory limit of the server"),
        DataFusionError::ArrowError(arrow, _) => from_arrow(arrow),
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) | DataFusionError::ParquetError(_) => {
            SqlError::new("58030", format!("a file could not be read: {}", error.find_root().strip_backtrace()))
        }
        DataFusionError::Execution(text) => SqlError::new("22000", text.clone()),
        DataFusionError::External(cause) => SqlError::new("58000", human::error(&**cause)),
        other => SqlError::new("XX000", other.strip_backtrace()),
    }
}

fn from_schema(error: &SchemaError, sql: &str) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let known = valid_fields.iter().map(|field| field.name.as_str());
            let error = SqlError::new("42703", format!("column \"{}\" does not exist", field.flat_name()));
            suggest(error, &suggestions(&field.name, known), "no column has a similar name; \\d TABLE lists them")
                .at(position::find_name(sql, &field.name))
        }
        SchemaError::AmbiguousReference { field } => {
            SqlError::new("42702", format!("column reference \"{}\" is ambiguous", field.name))
                .hint("name the table too: table.column")
                .at(position::find_name(sql, &field.name))
        }
        other => SqlError::new("42701", other.to_string()).hint("give each column a different name: ... AS name"),
    }
}

fn from_plan(text: &str, asked: Option<(&str, &SessionContext)>) -> SqlError {
    let sql = asked.map_or("", |(sql, _)| sql);
    if let Some(full) = text.strip_prefix("table '").and_then(|rest| rest.strip_suffix("' not found")) {
        let name = full.rsplit('.').next().unwrap_or(full);
        let tables = asked.map(|(_, session)| tables(session)).unwrap_or_default();
        let shown = full.split_once('.').map_or(full, |(_, within)| within.trim_start_matches("public."));
        let error = SqlError::new("42P01", format!("relation \"{shown}\" does not exist"));
        return suggest(error, &suggestions(name, tables.iter().map(String::as_str)), "\\dt *.* lists the tables")
            .at(position::find_name(sql, name));
    }
    if let Some(rest) = text.strip_prefix("Invalid function '") {
        let name = rest.split('\'').next().unwrap_or(rest);
        let suggested = rest.split_once("Did you mean '").and_then(|(_, name)| name.split('\'').next());
        let error = SqlError::new("42883", format!("function {name} does not exist"));
        let suggested: Vec<&str> = suggested.into_iter().collect();
        return suggest(error, &suggested, "the functions are those of Apache DataFusion")
            .at(position::find_name(sql, name));
    }
    let code = if text.contains("type") || text.contains("coerce") { "42804" } else { "42000" };
    SqlError::new(code, text)
}

fn from_arrow(error: &ArrowError) -> SqlError {
    match error {
        ArrowError::DivideByZero => SqlError::new("22012", "division by zero"),
        ArrowError::ArithmeticOverflow(text) => SqlError::new("22003", format!("value out of range: {text}")),
        ArrowError::CastError(text) | ArrowError::ParseError(text) => SqlError::new("22P02", text.clone()),
        ArrowError::MemoryError(text) => SqlError::new("53200", format!("out of memory: {text}")),
        ArrowError::ExternalError(cause) => match cause.downcast_ref::<DataFusionError>() {
            Some(engine) => from_engine(engine, None),
            None => SqlError::new("58000", human::error(&**cause)),
        },
        other => SqlError::new("22000", other.to_string()),
    }
}

fn suggest(error: SqlError, names: &[&str], otherwise: &str) -> SqlError {
    match names {
        [] => error.hint(otherwise),
        [one] => error.hint(format!("perhaps you meant {one}")),
        many => error.hint(format!("perhaps you meant one of {}", many.join(", "))),
    }
}

/// Every table of the session, with its schema unless it is the default one.
fn tables(session: &SessionContext) -> Vec<String> {
    let state = session.state();
    let options = &state.config_options().catalog;
    let Some(catalog) = session.catalog(&options.default_catalog) else { return Vec::new() };
    let of_schema = |name: &String| {
        let tables = catalog.schema(name).map(|schema| schema.table_names()).unwrap_or_default();
        let prefix = if *name == options.default_schema { String::new() } else { format!("{name}.") };
        tables.into_iter().map(move |table| format!("{prefix}{table}")).collect::<Vec<_>>()
    };
    catalog.schema_names().iter().filter(|name| *name != "pg_catalog").flat_map(of_schema).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_plan_text(text: &str) -> SqlError {
        from_engine(&DataFusionError::Plan(text.into()), None)
    }

    #[test]
    fn exhausted_memory_is_53200() {
        let error = DataFusionError::ResourcesExhausted("pool of 1 MB".into()).context("while sorting");
        assert_eq!(from_engine(&error, None).code, "53200");
    }

    #[test]
    fn a_missing_table_loses_the_engine_s_prefix() {
        let error = from_plan_text("table 'turnstile.public.nowhere' not found");
        assert_eq!((error.code, error.message.as_str()), ("42P01", "relation \"nowhere\" does not exist"));
    }

    #[test]
    fn a_missing_function_gets_a_suggestion() {
        let error = from_plan_text("Invalid function 'summ'.\nDid you mean 'sum'?");
        assert_eq!((error.code, error.hint.as_deref()), ("42883", Some("perhaps you meant sum")));
    }

    #[test]
    fn a_syntax_error_has_its_position() {
        let error = ParserError::ParserError("Expected: an expression, found: FROM at Line: 1, Column: 8".into());
        let error = from_syntax("SELECT FROM t", &error);
        assert_eq!((error.code, error.position), ("42601", Some(8)));
    }

    #[test]
    fn a_message_is_one_line() {
        let PgWireError::UserError(info) = SqlError::new("22000", "two\n  lines").into_error() else { panic!() };
        assert_eq!(info.message, "two lines");
    }
}
