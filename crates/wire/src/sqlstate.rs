//! What went wrong, as PostgreSQL's clients expect it: a code, one line, perhaps a hint and a place.
//!
//! In: errors of the engine and the causes that this crate knows itself. Out: [`Complaint`]s.
//! Refuses to show how the engine calls things inside. Start at [`of_engine`].
//!
//! Source of the codes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>

use std::time::Duration;

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};

use crate::meant::meant;
use crate::place;

/// What a client is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    severity: &'static str,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) position: Option<usize>,
}

impl Complaint {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: "ERROR", code, message: message.into(), hint: None, position: None }
    }

    /// One after which the connection is closed.
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
        let mut info = ErrorInfo::new(self.severity.into(), self.code.into(), one_line(&self.message));
        info.severity_nonlocalized = Some(self.severity.into());
        info.hint = self.hint;
        info.position = self.position.map(|place| place.to_string());
        PgWireError::UserError(Box::new(info))
    }
}

pub(crate) fn timed_out(limit: Duration) -> Complaint {
    Complaint::new("57014", format!("canceling statement due to statement timeout ({} ms)", limit.as_millis()))
        .hint("ask for less, or SET statement_timeout to more, up to the server's own limit")
}

pub(crate) fn stopping() -> Complaint {
    Complaint::fatal("57P01", "terminating connection: the server is being stopped")
}

pub(crate) fn panicked() -> Complaint {
    Complaint::new("XX000", "the statement failed by a fault in the engine; the server goes on")
        .hint("the server's log has the fault; please report it with the statement")
}

pub(crate) fn too_many_connections(limit: usize) -> Complaint {
    Complaint::fatal("53300", format!("sorry, {limit} clients are connected already, the limit of this server"))
        .hint("close one, or raise max_connections where the server is started")
}

pub(crate) fn wrong_password(user: &str) -> Complaint {
    Complaint::fatal("28P01", format!("password authentication failed for user \"{user}\""))
}

pub(crate) fn tls_needed() -> Complaint {
    Complaint::fatal("28000", "connections from other machines must be encrypted").hint("connect with sslmode=require")
}

pub(crate) fn too_many_rows(limit: u64) -> Complaint {
    Complaint::new("54000", format!("the answer has more than {limit} rows, the limit of this server"))
        .hint("add a LIMIT or aggregate, or raise max_rows where the server is started")
}

/// What a parser did not understand.
pub(crate) fn of_syntax(sql: &str, error: &ParserError) -> Complaint {
    let (ParserError::TokenizerError(text) | ParserError::ParserError(text)) = error else {
        return Complaint::new("54001", "the statement is nested too deeply");
    };
    let (fact, position) = place::of_message(sql, text);
    Complaint::new("42601", format!("syntax error: {fact}")).at(position)
}

/// What the engine says of a statement, with the names of `session` at hand when it was planned there.
pub(crate) fn of_engine(error: &DataFusionError, asked: Option<(&str, &SessionContext)>) -> Complaint {
    let sql = asked.map_or("", |(sql, _)| sql);
    match error.find_root() {
        DataFusionError::SQL(parser, _) => of_syntax(sql, parser),
        DataFusionError::SchemaError(schema, _) => of_names(schema, sql),
        DataFusionError::Plan(text) => of_plan(text, asked),
        DataFusionError::NotImplemented(text) => Complaint::new("0A000", format!("not supported: {text}")),
        DataFusionError::ResourcesExhausted(text) => Complaint::new("53200", format!("out of memory: {text}"))
            .hint("ask for less at once (a filter on time, fewer groups), or raise the memory limit of the server"),
        DataFusionError::ArrowError(arrow, _) => of_arrow(arrow),
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) | DataFusionError::ParquetError(_) => {
            Complaint::new("58030", format!("a file could not be read: {}", error.find_root().strip_backtrace()))
        }
        DataFusionError::Execution(text) => Complaint::new("22000", text.clone()),
        DataFusionError::External(cause) => Complaint::new("58000", cause.to_string()),
        other => Complaint::new("XX000", other.strip_backtrace()),
    }
}

fn of_names(error: &SchemaError, sql: &str) -> Complaint {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let known = valid_fields.iter().map(|field| field.name.as_str());
            let complaint = Complaint::new("42703", format!("column \"{}\" does not exist", field.flat_name()));
            offer(complaint, &meant(&field.name, known), "no column is called like it; \\d TABLE lists them")
                .at(place::of_name(sql, &field.name))
        }
        SchemaError::AmbiguousReference { field } => {
            Complaint::new("42702", format!("column reference \"{}\" is ambiguous", field.name))
                .hint("say of which table: table.column")
                .at(place::of_name(sql, &field.name))
        }
        other => Complaint::new("42701", other.to_string()).hint("give each column a name of its own: ... AS name"),
    }
}

fn of_plan(text: &str, asked: Option<(&str, &SessionContext)>) -> Complaint {
    let sql = asked.map_or("", |(sql, _)| sql);
    if let Some(full) = text.strip_prefix("table '").and_then(|rest| rest.strip_suffix("' not found")) {
        let name = full.rsplit('.').next().unwrap_or(full);
        let tables = asked.map(|(_, session)| tables(session)).unwrap_or_default();
        let shown = full.split_once('.').map_or(full, |(_, within)| within.trim_start_matches("public."));
        let complaint = Complaint::new("42P01", format!("relation \"{shown}\" does not exist"));
        return offer(complaint, &meant(name, tables.iter().map(String::as_str)), "\\dt *.* lists the tables")
            .at(place::of_name(sql, name));
    }
    if let Some(rest) = text.strip_prefix("Invalid function '") {
        let name = rest.split('\'').next().unwrap_or(rest);
        let meant = rest.split_once("Did you mean '").and_then(|(_, meant)| meant.split('\'').next());
        let complaint = Complaint::new("42883", format!("function {name} does not exist"));
        let offered: Vec<&str> = meant.into_iter().collect();
        return offer(complaint, &offered, "the functions are those of Apache DataFusion")
            .at(place::of_name(sql, name));
    }
    let code = if text.contains("type") || text.contains("coerce") { "42804" } else { "42000" };
    Complaint::new(code, text)
}

fn of_arrow(error: &ArrowError) -> Complaint {
    match error {
        ArrowError::DivideByZero => Complaint::new("22012", "division by zero"),
        ArrowError::ArithmeticOverflow(text) => Complaint::new("22003", format!("value out of range: {text}")),
        ArrowError::CastError(text) | ArrowError::ParseError(text) => Complaint::new("22P02", text.clone()),
        ArrowError::MemoryError(text) => Complaint::new("53200", format!("out of memory: {text}")),
        ArrowError::ExternalError(cause) => match cause.downcast_ref::<DataFusionError>() {
            Some(engine) => of_engine(engine, None),
            None => Complaint::new("58000", cause.to_string()),
        },
        other => Complaint::new("22000", other.to_string()),
    }
}

fn offer(complaint: Complaint, names: &[&str], otherwise: &str) -> Complaint {
    match names {
        [] => complaint.hint(otherwise),
        [one] => complaint.hint(format!("perhaps you meant {one}")),
        many => complaint.hint(format!("perhaps you meant one of {}", many.join(", "))),
    }
}

/// Every table that a person might ask for, with its schema unless it is the default one.
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

/// psql and log readers take a message for one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_plan_text(text: &str) -> Complaint {
        of_engine(&DataFusionError::Plan(text.into()), None)
    }

    #[test]
    fn memory_that_is_used_up_is_53200() {
        let error = DataFusionError::ResourcesExhausted("pool of 1 MB".into()).context("while sorting");
        assert_eq!(of_engine(&error, None).code, "53200");
    }

    #[test]
    fn a_missing_table_loses_the_engine_s_prefix() {
        let complaint = of_plan_text("table 'turnstile.public.nowhere' not found");
        assert_eq!((complaint.code, complaint.message.as_str()), ("42P01", "relation \"nowhere\" does not exist"));
    }

    #[test]
    fn a_missing_function_offers_the_meant() {
        let complaint = of_plan_text("Invalid function 'summ'.\nDid you mean 'sum'?");
        assert_eq!((complaint.code, complaint.hint.as_deref()), ("42883", Some("perhaps you meant sum")));
    }

    #[test]
    fn a_syntax_error_has_its_place() {
        let error = ParserError::ParserError("Expected: an expression, found: FROM at Line: 1, Column: 8".into());
        let complaint = of_syntax("SELECT FROM t", &error);
        assert_eq!((complaint.code, complaint.position), ("42601", Some(8)));
    }

    #[test]
    fn a_message_is_one_line() {
        let PgWireError::UserError(info) = Complaint::new("22000", "two\n  lines").into_error() else { panic!() };
        assert_eq!(info.message, "two lines");
    }
}
