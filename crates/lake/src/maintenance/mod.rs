//! Maintenance: small files into daily ones, and files that nobody needs any more out of the lake.
//!
//! In: a catalog of the lake's files. Out: slots in a chain of their own, which any process may write beside a running
//! writer; larger files, and fewer of them.
//! Refuses to know Kafka, state and warehouses beyond the commit up to which each has loaded.
//! Start at [`MaintenanceSlot`]; docs/ledger.md, "Maintenance", has the rules.

pub(crate) mod chain;
mod slot;

pub use slot::{Compacted, MaintenanceSlot, Part, Retired};
