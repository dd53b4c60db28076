//! The tables that queries read: over the lake's files, over the models' files, over the ledger.
//!
//! In: a catalog and a state of one snapshot. Out: table providers that read only what these name.
//! Refuses to know how the snapshot was found. Start at [`LakeTable`].

mod as_of;
mod computed;
mod empty;
mod history;
mod lake_table;
mod ledger;
mod ledger_columns;
mod live;
mod model;
mod one_position;
mod record_column;
mod runs;

pub(crate) use as_of::{as_of, deleted_windows};
pub(crate) use empty::register_empty_tables;
pub(crate) use history::{HistoryTable, history_of};
pub(crate) use lake_table::LakeTable;
pub(crate) use ledger::{LedgerTable, WINDOWS_VIEW};
pub(crate) use live::live;
pub(crate) use model::ModelTable;
pub(crate) use one_position::OnePosition;
pub(crate) use runs::runs;
