//! The warehouse's records: one entry a load, and checkpoints that sum them up.
//!
//! Source: docs/warehouse.md, "The record".

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use turnstile_delivery::TableKind;
use turnstile_lake::Hash;

use super::window_set::WindowSet;
use crate::WarehouseError;

/// Format version that this program writes, and the only one so far.
pub(crate) const FORMAT: u32 = 1;

/// How a load or a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// The tables hold it.
    Succeeded,
    /// Nothing was changed; `error` says why.
    Failed,
}

/// One load of the embedded warehouse, or one delivery to another database: a row of `load_runs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Number of the warehouse's entry that records it.
    pub load: u64,
    /// `embedded`, `postgres`, `bigquery`.
    pub target: String,
    /// How it ended.
    pub state: RunState,
    /// When it began, microseconds since the epoch, UTC.
    pub started_at_us: i64,
    /// When it ended.
    pub ended_at_us: i64,
    /// The ledger's commit that was loaded before.
    pub from_seq: u64,
    /// The ledger's commit that it went up to.
    pub to_seq: u64,
    /// Windows that were new or corrected.
    pub windows: u64,
    /// Rows of the lake that were read.
    pub rows_in: u64,
    /// Rows that tables received.
    pub rows_out: u64,
    /// Tests that passed.
    pub tests_passed: u64,
    /// Tests that did not: the load changed nothing, unless they only warn.
    pub tests_failed: u64,
    /// What went wrong, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What one load changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) format: u32,
    /// Whose entry it is: made up when the warehouse was.
    pub(crate) warehouse: String,
    pub(crate) load: u64,
    /// SHA-256 of the entry before.
    pub(crate) previous: Option<Hash>,
    /// The ledger's commit up to which the tables hold everything.
    pub(crate) ledger_seq: u64,
    /// Windows of the lake that were new or corrected.
    #[serde(default, skip_serializing_if = "WindowSet::is_empty")]
    pub(crate) windows: WindowSet,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tables: BTreeMap<String, TableDelta>,
    /// None where files were only merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<Run>,
}

/// What changed in one table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TableDelta {
    /// What the table is, when that changed: all its rows are new then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) made: Option<TableHead>,
    /// The rows are as they were; only their files are others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) same_rows: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) add: Vec<DataFile>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) remove: Vec<String>,
}

/// What a table is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TableHead {
    pub(crate) kind: TableKind,
    pub(crate) key: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    pub(crate) columns: Vec<Column>,
    /// SHA-256 of what the model says, to notice that it changed.
    pub(crate) model: Hash,
}

/// A column's name and type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

/// A file of one table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DataFile {
    /// Below the lake's root.
    pub(crate) name: String,
    pub(crate) sha256: Hash,
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
    /// The windows that its rows belong to; empty for tables that have none.
    #[serde(default, skip_serializing_if = "WindowSet::is_empty")]
    pub(crate) windows: WindowSet,
}

impl TableHead {
    pub(crate) fn schema(&self) -> Result<SchemaRef, WarehouseError> {
        let fields: Option<Vec<Field>> = self
            .columns
            .iter()
            .map(|column| Some(Field::new(&column.name, type_of(&column.kind)?, !self.key.contains(&column.name))))
            .collect();
        fields.map(|fields| Arc::new(Schema::new(fields)) as SchemaRef).ok_or_else(|| WarehouseError::Damaged {
            object: "a table's head".to_owned(),
            reason: "it has a type that this program does not know; a newer one wrote it".to_owned(),
        })
    }
}

/// The types that tables of models have, with their names in the record.
const TYPES: [(&str, DataType); 7] = [
    ("text", DataType::Utf8View),
    ("int8", DataType::Int64),
    ("int4", DataType::Int32),
    ("float8", DataType::Float64),
    ("bool", DataType::Boolean),
    ("date", DataType::Date32),
    ("timestamp", DataType::Timestamp(TimeUnit::Microsecond, None)),
];

/// The name of a table's type; `None` for one that tables do not have.
pub(crate) fn name_of(kind: &DataType) -> Option<String> {
    if *kind == crate::source::instant() {
        return Some("timestamptz".to_owned());
    }
    if let DataType::Decimal128(precision, scale) = kind {
        return Some(format!("decimal({precision},{scale})"));
    }
    TYPES.iter().find(|(_, known)| known == kind).map(|(name, _)| (*name).to_owned())
}

fn type_of(name: &str) -> Option<DataType> {
    if name == "timestamptz" {
        return Some(crate::source::instant());
    }
    if let Some(inner) = name.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')')) {
        let (precision, scale) = inner.split_once(',')?;
        return Some(DataType::Decimal128(precision.parse().ok()?, scale.parse().ok()?));
    }
    TYPES.iter().find(|(known, _)| *known == name).map(|(_, kind)| kind.clone())
}

/// The type that a table stores for a column that a query computes as `kind`; `None` when it has none.
pub(crate) fn stored(kind: &DataType) -> Option<DataType> {
    use DataType::*;
    Some(match kind {
        Utf8 | LargeUtf8 | Utf8View => Utf8View,
        Dictionary(_, value) => stored(value)?,
        Int8 | Int16 | UInt8 | UInt16 | Int32 => Int32,
        // Counts and sums of unsigned numbers come as these; they do not leave 63 bits.
        UInt32 | UInt64 | Int64 => Int64,
        Float16 | Float32 | Float64 => Float64,
        Boolean | Date32 | Decimal128(_, _) => kind.clone(),
        Date64 => Date32,
        Timestamp(_, Some(_)) => crate::source::instant(),
        Timestamp(_, None) => Timestamp(TimeUnit::Microsecond, None),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_is_stored_has_a_name_that_leads_back() {
        for kind in [
            DataType::Utf8,
            DataType::UInt64,
            DataType::Int8,
            DataType::Float32,
            DataType::Boolean,
            DataType::Date64,
            DataType::Decimal128(12, 2),
            DataType::Timestamp(TimeUnit::Nanosecond, None),
            DataType::Timestamp(TimeUnit::Second, Some("America/New_York".into())),
        ] {
            let kept = stored(&kind).unwrap();
            assert_eq!(type_of(&name_of(&kept).unwrap()), Some(kept), "{kind}");
        }
        assert_eq!(stored(&DataType::Binary), None);
    }
}
