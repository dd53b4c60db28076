//! Claims about the warehouse, over a lake that a real ledger writes.

mod compacted;
mod deliveries;
mod loading;
mod models;
mod one_position;
mod queries;
mod random;
mod refreshing;
mod story;
