//! What a target is told: tables, and what changed in them.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

/// How a table changes from load to load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Each row belongs to one window, and the rows of a window are replaced together.
    Incremental {
        /// The column that holds the window's first instant (timestamp, microseconds, UTC).
        window: String,
    },
    /// Rows are added or replaced by key and never removed.
    Dimension,
    /// The whole table is replaced.
    Table,
}

/// A table of the warehouse, as a target should have it.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its name, lower case, letters, digits and underscores.
    pub name: String,
    /// What it is for, for the target's own comment. May be empty.
    pub description: String,
    /// Columns in order, names in lower case. Text, 64- and 32-bit integers, floats, decimals, booleans, dates,
    /// timestamps in microseconds (a zone means an instant, none a local time).
    pub schema: SchemaRef,
    /// The columns that tell its rows apart; never empty, never null. Not needed for [`Kind::Table`].
    pub key: Vec<String>,
    /// How it changes.
    pub kind: Kind,
}

/// How far a target is: a number that only grows, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The warehouse that the number belongs to. Another one's rows are not to be mixed with these.
    pub warehouse: String,
    /// The warehouse's load that the target holds.
    pub load: u64,
    /// The ledger's commit that the load went up to: for people and for `load_runs`.
    pub ledger_seq: u64,
}

/// What brings a target from one position to the next.
#[derive(Clone)]
pub struct Delivery {
    /// The position that the target must be at; `None`: it has none yet.
    pub from: Option<Position>,
    /// The position that it will be at.
    pub to: Position,
    /// All tables that the target should have, in an order in which each comes after those that it refers to.
    pub tables: Vec<Arc<Table>>,
    /// Those of them that changed.
    pub changes: Vec<TableChange>,
}

impl Delivery {
    /// Whose rows are at `at`, when these are another warehouse's and nobody said that they may be replaced: `adopt` is
    /// the warehouse that a person named.
    pub(crate) fn foreign<'a>(&self, at: Option<&'a Position>, adopt: Option<&str>) -> Option<&'a Position> {
        at.filter(|at| at.warehouse != self.to.warehouse && adopt != Some(at.warehouse.as_str()))
    }

    /// What is wrong with a delivery that replaces another warehouse's rows: one that leaves some of them.
    pub(crate) fn leaves_foreign_rows(&self) -> Option<&str> {
        let foreign = self.from.as_ref().is_some_and(|from| from.warehouse != self.to.warehouse);
        let part = self.changes.iter().find(|change| change.scope != Scope::Everything);
        part.filter(|_| foreign).map(|change| change.table.name.as_str())
    }
}

/// What a person reads who would replace another warehouse's rows.
pub(crate) fn foreign_rows(at: &Position, to: &Position, elsewhere: &str) -> (String, String) {
    let reason = format!("it holds the rows of warehouse {}, not of {}", at.warehouse, to.warehouse);
    let adopt = format!("set `adopt = \"{}\"`", at.warehouse);
    (reason, format!("{elsewhere}, or, if all of those rows may be replaced by these, {adopt}"))
}

/// What changed in one table.
#[derive(Clone)]
pub struct TableChange {
    /// The table.
    pub table: Arc<Table>,
    /// What the rows stand for.
    pub scope: Scope,
    /// The rows, as they are now.
    pub rows: Arc<dyn Rows>,
}

/// What a change replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All rows: whatever else is in the table goes.
    Everything,
    /// The rows of these windows: first instants, microseconds since the epoch, UTC, sorted. A window without rows
    /// among the change's is emptied. Only for [`Kind::Incremental`].
    Windows(Vec<i64>),
    /// The rows with the keys that occur; others stay.
    Keys,
}

/// Rows that can be read more than once, so that a delivery can be tried again.
pub trait Rows: Send + Sync {
    /// Reads from the beginning. Batches have the table's schema and are of bounded size.
    fn read(&self) -> RowStream;

    /// How many rows there are, when that is known without reading.
    fn count(&self) -> Option<u64>;
}

/// Batches of rows, one after the other. An error names the file that could not be read.
pub type RowStream = BoxStream<'static, Result<RecordBatch, Box<dyn std::error::Error + Send + Sync>>>;

impl Rows for Vec<RecordBatch> {
    fn read(&self) -> RowStream {
        Box::pin(futures::stream::iter(self.clone().into_iter().map(Ok)))
    }

    fn count(&self) -> Option<u64> {
        Some(self.iter().map(|batch| batch.num_rows() as u64).sum())
    }
}

impl fmt::Debug for TableChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableChange")
            .field("table", &self.table.name)
            .field("scope", &self.scope)
            .field("rows", &self.rows.count())
            .finish()
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("from", &self.from)
            .field("to", &self.to)
            .field("changes", &self.changes)
            .finish_non_exhaustive()
    }
}
