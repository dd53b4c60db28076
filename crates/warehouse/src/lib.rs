//! SQL over the lake: the external table, the models' tables, incremental loads.
//!
//! In: a lake with its ledger, and models. Out: sessions to ask ([`Warehouse::session`]), loads with their record
//! ([`Warehouse::load`]), and what a load changed, for other databases ([`Warehouse::delivery`]).
//! Refuses to know Kafka, and writes none of the lake's data files: what it makes lies under `_warehouse/`.
//! Start at [`Warehouse`]; docs/warehouse.md has the tables, the models and the format.

mod answer;
mod error;
mod functions;
mod limits;
mod load;
mod model;
mod question;
mod scan;
mod session;
mod source;
mod store;
mod tables;
mod warehouse;

pub use answer::{Answer, AnswerError, AnswerFormat};
pub use error::WarehouseError;
pub use limits::Limits;
pub use load::{Load, LoadOptions};
pub use model::{
    BUILT_IN, Check, ColumnDoc, Model, ModelError, ModelKind, Models, TestResult, describe as describe_models,
};
pub use question::{Advice, advise};
pub use source::{Live, LiveRows, Source, SourceError};
pub use store::{Run, RunState};
pub use warehouse::{Warehouse, loaded_until};
