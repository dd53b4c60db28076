//! The warehouse's records: one entry a load, and checkpoints that sum them up.
//!
//! Source: docs/warehouse.md, "The record".

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use turnstile_delivery::TableKind;
use turnstile_lake::Hash;
use turnstile_lake::chain::{ChainRecord, Ownership, Unreadable, decode_framed};
use turnstile_values::caused;

use super::column_type::parse_type;
use super::load_run::LoadRun;
use super::window_set::WindowSet;
use crate::error::WarehouseError;

/// Format version that this program writes. Records of format 1 were their JSON alone: no header line, no checksum.
pub(super) const RECORD_FORMAT: u32 = 2;

/// What one load changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoadEntry {
    /// The warehouse's UUID, drawn when it was created.
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
    /// Tables that are no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) dropped: Vec<String>,
    /// None where files were only merged, or tables dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<LoadRun>,
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
    pub(crate) columns: Vec<TableColumn>,
    /// SHA-256 of what the model says, to notice that it changed.
    pub(crate) model: Hash,
}

/// A column's name and type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableColumn {
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

impl ChainRecord for LoadEntry {
    const MAGIC: &'static str = "turnstile-warehouse";
    const FORMAT: u32 = RECORD_FORMAT;
    const OWNERSHIP: Ownership = Ownership::Shared;

    fn seq(&self) -> u64 {
        self.load
    }

    fn previous(&self) -> Option<Hash> {
        self.previous
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        decode(Self::MAGIC, bytes)
    }
}

/// Reads a record of this format, or of format 1, in which JSON was the whole of it.
pub(super) fn decode<T: DeserializeOwned>(magic: &str, bytes: &[u8]) -> Result<T, Unreadable> {
    if bytes.starts_with(b"{") {
        return serde_json::from_slice(bytes)
            .map_err(|error| Unreadable::Damaged(caused("it is not valid JSON of its kind", error)));
    }
    decode_framed(magic, RECORD_FORMAT, bytes)
}

impl TableHead {
    pub(crate) fn schema(&self) -> Result<SchemaRef, WarehouseError> {
        let fields: Option<Vec<Field>> = self
            .columns
            .iter()
            .map(|column| Some(Field::new(&column.name, parse_type(&column.kind)?, !self.key.contains(&column.name))))
            .collect();
        let newer = "it has a column type that this program does not know; a newer one wrote it";
        let fields = fields.ok_or_else(|| WarehouseError::damaged("the head of a table", newer))?;
        Ok(Arc::new(Schema::new(fields)))
    }
}
