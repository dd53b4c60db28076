//! Brings what a load changed to another database.
//!
//! In: a [`Delivery`]: the tables that changed since the target's own position, and their rows. Out: the same rows in
//! the target, with the new position, in one transaction.
//! Refuses to know how the rows came about: models, lake files, ledgers. Start at [`Target`].

#[cfg(feature = "bigquery")]
pub mod bigquery;
mod change;
mod error;
#[cfg(feature = "postgres")]
pub mod postgres;
mod target;

pub use change::{Delivery, Kind, Position, RowStream, Rows, Scope, Table, TableChange};
pub use error::TargetError;
pub use target::{Delivered, Target};
