//! SQL over the lake: the external table, the models' tables, incremental loads.
//!
//! In: a lake with its ledger, and models. Out: sessions to query ([`Warehouse::session`]), loads with their record
//! ([`Warehouse::load`]), and what a load changed, for other databases ([`Warehouse::delivery`]).
//! Refuses to know Kafka, and writes none of the lake's data files: its own files are under `_warehouse/`.
//! Start at [`Warehouse`]; docs/warehouse.md has the tables, the models and the format.

mod error;
mod functions;
mod limits;
mod load;
mod model;
mod query;
mod replaced;
mod scan;
mod session;
mod source;
mod sql_error;
mod store;
mod tables;
mod warehouse;

pub use error::WarehouseError;
pub use limits::WarehouseLimits;
pub use load::{DropTable, Load, LoadOptions};
pub use model::{BUILT_IN, Check, ColumnDoc, Model, ModelError, ModelKind, Models, TestResult};
pub use query::{QueryError, QueryHint, QueryResult, QueryResultFormat, TextColumn, TextRows};
pub use replaced::is_replaced;
pub use source::{LiveRows, LiveRowsError, LiveWindow, SourceError, WarehouseSource};
pub use store::{EMBEDDED, LoadRun, LoadRunState};
pub use warehouse::{Warehouse, loaded_until};
