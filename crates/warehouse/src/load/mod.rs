//! Loads: what the ledger published since the last one becomes rows of the models' tables.
//!
//! In: the record's newest state, the ledger after it. Out: files and one entry, or an error and nothing.
//! Tests of the models run before the entry is written, so rows that fail them are never visible.
//! Refuses to know when it runs. Start at [`Warehouse::load`](crate::Warehouse::load).

mod changed_windows;
mod check;
mod commit;
mod compute;
mod deliver;
mod drop_table;
mod merge;
mod model_tables;
mod outcome;
mod plan;
mod refresh;
mod rename;
mod same_rows;
mod staged_tables;
mod step;
mod table_files;
mod table_head;

pub use drop_table::DropTable;
pub use outcome::{Load, LoadOptions};
