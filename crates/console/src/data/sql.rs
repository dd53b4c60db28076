//! Queries and their results.

use std::time::Duration;

/// A query and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlRequest {
    /// The text, as it was typed.
    pub text: String,
    /// At most this many rows are returned; more make the result `truncated`.
    pub max_rows: usize,
    /// At most this many bytes of text are returned; more make the result `truncated`.
    pub max_bytes: usize,
    /// The query is ended after this long.
    pub timeout: Duration,
}

/// The result of a query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SqlTable {
    /// In order.
    pub columns: Vec<SqlColumn>,
    /// A cell per column; `None` is null. Instants are text such as `2026-08-01T08:00:00Z` or `2026-08-01 08:00:00` (UTC).
    pub rows: Vec<Vec<Option<String>>>,
    /// There were more rows than the limits allow.
    pub truncated: bool,
    /// From the request to the last row.
    pub elapsed: Duration,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlColumn {
    /// Its name.
    pub name: String,
    /// Its type, as SQL names it.
    pub type_name: String,
    /// How its cells are shown and drawn.
    pub kind: CellKind,
}

/// How cells are shown and drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CellKind {
    /// Left, as it is.
    #[default]
    Text,
    /// Right; can be drawn.
    Number,
    /// Can be an axis.
    Instant,
    /// true or false.
    Boolean,
}

/// A table that SQL may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableListing {
    /// As SQL writes it: `dim_station`.
    pub name: String,
    /// What it is: `external`, `fact`, `dimension`, `table`, `view`.
    pub kind: String,
    /// Its columns: name and type.
    pub columns: Vec<(String, String)>,
}
