//! Delivers the changes of a load to another database.
//!
//! In: a [`Delivery`]: the tables that changed since the target's own position, and their rows. Out: the same rows in
//! the target, with the new position, in one transaction.
//! Knows nothing of models, lake files or ledgers. Start at [`Target`].

#[cfg(feature = "bigquery")]
pub mod bigquery;
mod change;
mod error;
#[cfg(feature = "postgres")]
pub mod postgres;
mod target;

pub use change::{Delivery, LoadPosition, RowSource, RowStream, Scope, TableChange, TableKind, TargetTable};
pub use error::{TargetError, TargetSettingsError};
pub use target::{Delivered, Target};
