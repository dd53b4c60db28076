//! Checks of a model's rows: queries that count the rows that violate them.

use serde::Serialize;

/// What must hold of a model's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// No two rows have the same values in these columns.
    Unique(Vec<String>),
    /// The column has a value in every row.
    NotNull(String),
    /// Every value of the column is one of another table's column.
    Relationship {
        /// This table's column.
        column: String,
        /// The other table.
        table: String,
        /// Its column.
        other: String,
    },
    /// Every value of the column is one of these.
    Accepted {
        /// The column.
        column: String,
        /// The values, as text.
        values: Vec<String>,
    },
    /// The columns' sums are those of the same columns of the external table: nothing was lost on the way.
    Conservation(Vec<String>),
}

/// How one check came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestResult {
    /// The model.
    pub model: String,
    /// The check, as the header says it.
    pub check: String,
    /// Rows for which it does not hold.
    pub failures: u64,
    /// One of them, where there is one to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
}

impl TestResult {
    /// Whether it held.
    pub fn passed(&self) -> bool {
        self.failures == 0
    }
}

const WORDS: &str = "known: unique, not_null, relationship(table.column), accepted(a, b, …), conservation(column, …)";

/// Reads `unique, not_null, accepted(a, b)`; within a column's line, `column` is whose they are.
pub(super) fn parse_checks(text: &str, column: Option<&str>) -> Result<Vec<Check>, (String, String)> {
    split_outside_brackets(text).into_iter().filter(|part| !part.is_empty()).map(|part| parse(part, column)).collect()
}

fn parse(text: &str, column: Option<&str>) -> Result<Check, (String, String)> {
    let (word, inner) = match text.split_once('(') {
        Some((word, rest)) => match rest.strip_suffix(')') {
            Some(inner) => (word.trim(), inner),
            None => return Err((format!("{text:?} has no closing bracket"), WORDS.to_owned())),
        },
        None => (text, ""),
    };
    let arguments: Vec<String> = split_outside_brackets(inner)
        .into_iter()
        .filter(|argument| !argument.is_empty())
        .map(|argument| argument.trim_matches('\'').to_owned())
        .collect();
    let lower = || arguments.iter().map(|argument| argument.to_lowercase()).collect::<Vec<_>>();
    let refuse = |reason: &str| Err((format!("{text:?} {reason}"), WORDS.to_owned()));
    match (word, column) {
        ("unique", Some(column)) if arguments.is_empty() => Ok(Check::Unique(vec![column.to_owned()])),
        ("unique", None) if !arguments.is_empty() => Ok(Check::Unique(lower())),
        ("not_null", Some(column)) if arguments.is_empty() => Ok(Check::NotNull(column.to_owned())),
        ("relationship", Some(column)) => match arguments.as_slice() {
            [to] => match to.to_lowercase().split_once('.') {
                Some((table, other)) => Ok(Check::Relationship {
                    column: column.to_owned(),
                    table: table.to_owned(),
                    other: other.to_owned(),
                }),
                None => refuse("does not name table.column"),
            },
            _ => refuse("takes one table.column"),
        },
        ("accepted", Some(column)) if !arguments.is_empty() => {
            Ok(Check::Accepted { column: column.to_owned(), values: arguments })
        }
        ("conservation", None) if !arguments.is_empty() => Ok(Check::Conservation(lower())),
        ("unique" | "conservation" | "accepted", _) => refuse("lacks or has too many arguments here"),
        ("not_null" | "relationship", _) => refuse("belongs to a column's line"),
        _ => refuse("is not a check"),
    }
}

/// Splits at commas that stand in no brackets.
fn split_outside_brackets(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

impl Check {
    /// The other table that it compares with.
    pub(crate) fn refers_to(&self) -> Option<&String> {
        match self {
            Self::Relationship { table, .. } => Some(table),
            _ => None,
        }
    }

    /// The check as the header says it.
    pub fn text(&self) -> String {
        match self {
            Self::Unique(columns) => format!("unique({})", columns.join(", ")),
            Self::NotNull(column) => format!("not_null({column})"),
            Self::Relationship { column, table, other } => format!("relationship({column} -> {table}.{other})"),
            Self::Accepted { column, values } => format!("accepted({column}: {})", values.join(", ")),
            Self::Conservation(columns) => format!("conservation({})", columns.join(", ")),
        }
    }
}
