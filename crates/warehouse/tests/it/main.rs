//! Claims about the warehouse, over a lake that a real ledger writes.

mod asking;
mod compacted;
mod deliveries;
mod loading;
mod models;
mod random;
mod refreshing;
mod story;
