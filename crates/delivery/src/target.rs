//! The door that every target stands behind.

use futures::future::BoxFuture;
use serde::Serialize;

use crate::{Delivery, Position, TargetError};

/// A database that receives a warehouse's tables.
pub trait Target: Send {
    /// What it is called in messages and in `load_runs`: `postgres`, `bigquery`.
    fn name(&self) -> &str;

    /// Where it stands; `None` before the first delivery. Creates nothing.
    ///
    /// # Errors
    /// `Unreachable`: wait and ask again. `Refused`: credentials, permissions, settings.
    fn position(&mut self) -> BoxFuture<'_, Result<Option<Position>, TargetError>>;

    /// Creates what is missing (schema, tables, the position's own table), checks what is there, applies all changes
    /// and sets the position, in one transaction: after a crash at any moment it has all of it or nothing.
    ///
    /// Safe to repeat: a target that is at `delivery.to` already answers [`Delivered::already`] and changes nothing.
    ///
    /// # Errors
    /// `Moved`: the target is not at `delivery.from`; ask for its position and make another delivery.
    /// `Unreachable`: unknown whether it was applied; the same delivery can be sent again.
    /// `Refused`: a table is not as it should be, a permission is missing; nothing was changed.
    /// `Rows`: the rows could not be read; nothing was changed.
    fn apply<'a>(&'a mut self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Delivered, TargetError>>;
}

/// What a delivery did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// It had been applied before; nothing was done.
    pub already: bool,
    /// Rows sent.
    pub rows: u64,
    /// Rows that left the table or were overwritten, where the target tells.
    pub replaced: u64,
}
