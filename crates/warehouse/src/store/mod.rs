//! The warehouse's record of loads: what its tables consist of, load by load.
//!
//! In: entries of one chain ([`turnstile_lake::chain`]), each with the files that a load wrote. Out: the state as of the
//! newest one. Of two processes that load at once, one learns that the other was first.
//! Refuses to know models and queries. Start at [`LoadRecord::commit`]; docs/warehouse.md has the format.

mod column_type;
mod data;
mod load_record;
mod load_run;
mod record;
mod state;
mod window_set;

pub(crate) use column_type::{storage_type, type_name};
pub(crate) use data::{encode, is_named_as_data, new_name};
pub(crate) use load_record::LoadRecord;
pub use load_run::{EMBEDDED, LoadRun, LoadRunState};
pub(crate) use record::{DataFile, LoadEntry, TableColumn, TableDelta, TableHead};
pub(crate) use state::{TableState, WarehouseState};
pub(crate) use window_set::WindowSet;
