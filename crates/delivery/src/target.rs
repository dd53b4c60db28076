//! The interface that every target implements.

use futures::future::BoxFuture;
use serde::Serialize;

use crate::change::{Delivery, LoadPosition};
use crate::error::TargetError;

/// A database that receives a warehouse's tables.
pub trait Target: Send {
    /// Its name in messages and in `load_runs`: `postgres`, `bigquery`.
    fn name(&self) -> &str;

    /// Its position; `None` before the first delivery. Creates nothing.
    ///
    /// # Errors
    /// `Unreachable`: wait and retry. `Refused`: credentials, permissions, settings.
    fn position(&mut self) -> BoxFuture<'_, Result<Option<LoadPosition>, TargetError>>;

    /// Creates what is missing (schema, tables, the position's table), checks what exists, applies all changes and sets
    /// the position, in one transaction: after a crash at any moment the target has all of it or nothing.
    ///
    /// Safe to repeat: if the target is already at `delivery.to`, it returns [`Delivered::already`] and changes nothing.
    ///
    /// # Errors
    /// `Moved`: the target is not at `delivery.from`; read its position and make another delivery.
    /// `Unreachable`: it is unknown whether the delivery was applied; the same delivery can be sent again.
    /// `Refused`: a table does not match, a permission is missing; nothing was changed.
    /// `Rows`: the rows could not be read; nothing was changed.
    fn apply<'a>(&'a mut self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Delivered, TargetError>>;
}

/// What a delivery did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// It had already been applied; nothing was done.
    pub already: bool,
    /// Rows sent.
    pub rows: u64,
    /// Rows that were removed or overwritten, as far as the target reports it.
    pub replaced: u64,
}
