//! A model's file: comments that say what the table is, then one SELECT.
//!
//! ```text
//! -- kind: incremental
//! -- key: log_id
//! -- window: window_start
//! -- description: Entries and exits of each turnstile in each window.
//! -- column log_id: Identifies a row. [unique, not_null]
//! -- column station_id: The station. [relationship(dim_station.station_id)]
//! -- check: conservation(entries, exits)
//! SELECT …
//! ```

use std::path::Path;

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use turnstile_values::{nearest, suggest};

use super::check::{Check, parse_checks};
use super::definition::{ColumnDoc, KINDS, Model, ModelKind};
use super::model_error::ModelError;
use crate::sql_error::locate;

/// The words that a header line can begin with.
const WORDS: [&str; 7] = ["name", "kind", "key", "window", "description", "column", "check"];

/// The line that an error is about.
struct HeaderLine<'a> {
    path: &'a str,
    line: usize,
}

impl HeaderLine<'_> {
    fn fault(&self, reason: impl Into<String>, hint: impl Into<String>) -> ModelError {
        ModelError::new(self.path, self.line, reason, hint)
    }
}

/// Reads a model's file.
pub(super) fn parse(path: &str, text: &str) -> Result<Model, ModelError> {
    let stem = Path::new(path).file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let mut model = Model {
        name: stem,
        path: path.to_owned(),
        kind: ModelKind::View,
        key: Vec::new(),
        window: None,
        description: String::new(),
        columns: Vec::new(),
        checks: Vec::new(),
        sql: String::new(),
        sql_line: 1,
        reads: Vec::new(),
    };
    let mut kind = None;
    for (at, line) in text.lines().enumerate() {
        let position = HeaderLine { path, line: at + 1 };
        let Some(comment) = line.trim().strip_prefix("--") else {
            if line.trim().is_empty() {
                continue;
            }
            model.sql_line = at + 1;
            break;
        };
        let Some((words, value)) = comment.split_once(':') else { continue };
        let words: Vec<&str> = words.split_whitespace().collect();
        // A comment may well have a colon; a header line begins with one word, or `column` and a name.
        let (Some(word), true) = (words.first(), words.len() <= 2) else { continue };
        let value = value.trim();
        match (*word, words.get(1)) {
            ("name", None) => model.name = name(&position, value)?,
            ("kind", None) => kind = Some(kind_of(&position, value)?),
            ("key", None) => model.key = value.split(',').map(|key| name(&position, key)).collect::<Result<_, _>>()?,
            ("window", None) => model.window = Some(name(&position, value)?),
            ("description", None) => model.description = value.to_owned(),
            ("check", None) => model.checks.extend(parse_checks(value, None).map_err(|(r, h)| position.fault(r, h))?),
            ("column", Some(column)) => {
                let column = name(&position, column)?;
                let (text, checks) = split_checks(value);
                model.checks.extend(parse_checks(checks, Some(&column)).map_err(|(r, h)| position.fault(r, h))?);
                model.columns.push(ColumnDoc { name: column, text: text.to_owned() });
            }
            ("column", None) => return Err(position.fault("column is without a name", "write -- column station: …")),
            // A typing error must not pass for a comment; any other word with a colon is one.
            (other, None) if nearest(other, WORDS).is_some() => {
                return Err(position.fault(format!("{other:?} is not a header keyword"), suggest(other, WORDS)));
            }
            _ => {}
        }
    }
    let position = HeaderLine { path, line: 1 };
    let kinds = "write -- kind: incremental, dimension, table or view";
    model.kind = kind.ok_or_else(|| position.fault("the header has no kind", kinds))?;
    complete(&model, &position)?;
    let key = Check::Unique(model.key.clone());
    if keyed(&model) && !model.checks.contains(&key) {
        // Rows are replaced by key there and in other databases: two with one key would be one of them, by chance.
        model.checks.insert(0, key);
    }
    model.sql = text.lines().skip(model.sql_line - 1).collect::<Vec<_>>().join("\n").trim().to_owned();
    model.reads = reads(&model)?;
    Ok(model)
}

fn kind_of(position: &HeaderLine<'_>, word: &str) -> Result<ModelKind, ModelError> {
    let known = KINDS.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind);
    let words = KINDS.iter().map(|(word, _)| *word);
    known.ok_or_else(|| position.fault(format!("kind cannot be {word:?}"), suggest(word, words)))
}

/// A name as SQL folds it: lower case, letters, digits, underscores.
fn name(position: &HeaderLine<'_>, text: &str) -> Result<String, ModelError> {
    let name = text.trim().to_lowercase();
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !first || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') || name.len() > 63 {
        let hint = "letters, digits and underscores, at most 63, not starting with a digit";
        return Err(position.fault(format!("{:?} is not a valid name", text.trim()), hint));
    }
    Ok(name)
}

/// `text [checks]`
fn split_checks(value: &str) -> (&str, &str) {
    match value.strip_suffix(']').and_then(|value| value.rsplit_once('[')) {
        Some((text, checks)) => (text.trim(), checks),
        None => (value, ""),
    }
}

/// Whether a key identifies its rows.
fn keyed(model: &Model) -> bool {
    matches!(model.kind, ModelKind::Incremental | ModelKind::Dimension)
}

/// Whether the header has what its kind needs.
fn complete(model: &Model, position: &HeaderLine<'_>) -> Result<(), ModelError> {
    if keyed(model) && model.key.is_empty() {
        let reason = format!("the {} model {} has no key", model.kind.word(), model.name);
        return Err(position.fault(reason, "write -- key: with the columns that identify its rows"));
    }
    if model.kind == ModelKind::Dimension && model.checks.iter().any(|check| matches!(check, Check::Conservation(_))) {
        let reason = format!("the dimension {} cannot have a conservation check", model.name);
        let hint = "it keeps the rows of all loads, and a load has those of its windows: check the facts' sums";
        return Err(position.fault(reason, hint));
    }
    match (model.kind, &model.window) {
        (ModelKind::Incremental, None) => Err(position.fault(
            format!("the incremental model {} has no window", model.name),
            "write -- window: with the column that holds window.start, so that a corrected window replaces its rows",
        )),
        (ModelKind::Incremental, _) | (_, None) => Ok(()),
        (kind, Some(_)) => Err(position.fault(
            format!("a model of kind {} has no window", kind.word()),
            "leave the line out, or make the model incremental",
        )),
    }
}

/// The tables that the SELECT reads.
fn reads(model: &Model) -> Result<Vec<String>, ModelError> {
    let at = |line: usize| model.sql_line + line.max(1) - 1;
    if model.sql.is_empty() {
        return Err(model.fault(model.sql_line, "there is no SELECT", "write one after the header"));
    }
    let parsed = DFParserBuilder::new(model.sql.as_str())
        .with_dialect(&PostgreSqlDialect {})
        .build()
        .and_then(|mut parser| parser.parse_statements());
    let statements = parsed.map_err(|error| {
        let (line, reason) = locate(&error);
        model.fault(
            at(line.map_or(1, |(line, _)| line)),
            reason,
            "the SQL dialect is DataFusion's, which is close to PostgreSQL's",
        )
    })?;
    let only_one = || model.fault(model.sql_line, "it is not one SELECT", "one file defines one table");
    let statement = match statements.into_iter().collect::<Vec<_>>().as_slice() {
        [statement @ Statement::Statement(inner)] if matches!(**inner, ast::Statement::Query(_)) => statement.clone(),
        _ => return Err(only_one()),
    };
    let (tables, _) = resolve_table_references(&statement, true).map_err(|_| only_one())?;
    let mut tables: Vec<String> = tables
        .into_iter()
        .map(|table| match table.schema() {
            Some(schema) if schema != "public" => format!("{schema}.{}", table.table()),
            _ => table.table().to_owned(),
        })
        .collect();
    tables.sort();
    tables.dedup();
    Ok(tables)
}
