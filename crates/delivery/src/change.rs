//! What a target receives: tables, and what changed in them.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

/// How a table changes from load to load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableKind {
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

/// A table of the warehouse, as it should be in a target.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetTable {
    /// Its name, lower case, letters, digits and underscores.
    pub name: String,
    /// What it is for, for the target's own comment. May be empty.
    pub description: String,
    /// Columns in order, names in lower case. Text, 64- and 32-bit integers, floats, decimals, booleans, dates,
    /// timestamps in microseconds (with a zone: an instant; without: a local time).
    pub schema: SchemaRef,
    /// The columns that identify a row; not empty, never null. Optional for [`TableKind::Table`].
    pub key: Vec<String>,
    /// How it changes.
    pub kind: TableKind,
}

/// How far a target has come: the load that it holds, and of which warehouse. The number only grows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadPosition {
    /// The warehouse that the load belongs to. Rows of two warehouses are never mixed.
    pub warehouse: String,
    /// The warehouse's load that the target holds.
    pub load: u64,
    /// The ledger's commit that the load covers, for people and for `load_runs`.
    pub ledger_seq: u64,
}

/// Everything that takes a target from one position to the next.
#[derive(Clone)]
pub struct Delivery {
    /// The position that the target must have; `None` before the first delivery.
    pub from: Option<LoadPosition>,
    /// The position that it will have afterwards.
    pub to: LoadPosition,
    /// All tables that the target should have, each after the tables that it refers to.
    pub tables: Vec<Arc<TargetTable>>,
    /// Those of them that changed.
    pub changes: Vec<TableChange>,
}

impl Delivery {
    /// The target's position, if it belongs to another warehouse than this delivery and the setting `adopt` does not
    /// allow replacing that warehouse's rows.
    pub(crate) fn foreign_position<'a>(
        &self,
        at: Option<&'a LoadPosition>,
        adopt: Option<&str>,
    ) -> Option<&'a LoadPosition> {
        at.filter(|at| at.warehouse != self.to.warehouse && adopt != Some(at.warehouse.as_str()))
    }

    /// The table that would keep another warehouse's rows, if a delivery replaces that warehouse only in part.
    pub(crate) fn partially_replaced_table(&self) -> Option<&str> {
        let foreign = self.from.as_ref().is_some_and(|from| from.warehouse != self.to.warehouse);
        let part = self.changes.iter().find(|change| change.scope != Scope::Everything);
        part.filter(|_| foreign).map(|change| change.table.name.as_str())
    }
}

/// Reason and hint of the refusal to replace another warehouse's rows. `alternative`: how to leave them alone.
pub(crate) fn foreign_warehouse(at: &LoadPosition, to: &LoadPosition, alternative: &str) -> (String, String) {
    let reason = format!("it holds the rows of warehouse {}, not of {}", at.warehouse, to.warehouse);
    let adopt = format!("set `adopt = \"{}\"`", at.warehouse);
    (reason, format!("{alternative}, or {adopt} if all of those rows may be replaced by these"))
}

/// What changed in one table.
#[derive(Clone)]
pub struct TableChange {
    /// The table.
    pub table: Arc<TargetTable>,
    /// What the rows replace.
    pub scope: Scope,
    /// The rows, as they are now.
    pub rows: Arc<dyn RowSource>,
}

/// What a change replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All rows: everything else in the table is removed.
    Everything,
    /// The rows of these windows: first instants, microseconds since the epoch, UTC, sorted. A window for
    /// which the change has no rows is emptied. Only for [`TableKind::Incremental`].
    Windows(Vec<i64>),
    /// The rows whose keys occur in the change; others stay.
    Keys,
}

/// Rows that can be read more than once, so that a delivery can be retried.
pub trait RowSource: Send + Sync {
    /// Reads from the beginning. Batches have the table's schema and are of bounded size.
    fn read(&self) -> RowStream;

    /// How many rows there are, when that is known without reading.
    fn count(&self) -> Option<u64>;
}

/// Batches of rows, one after the other. An error names the file that could not be read.
pub type RowStream = BoxStream<'static, Result<RecordBatch, Box<dyn std::error::Error + Send + Sync>>>;

impl RowSource for Vec<RecordBatch> {
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
