//! Reading the ledger: what was published, from which messages, and whether it is all still so.
//!
//! In: a lake and a pipeline's name. Out: commits in order, files with their provenance, findings.
//! Writes nothing, and can run beside a living writer. Start at [`for_each_commit`].

mod audit;
mod chain;
mod provenance;
mod recent;

pub use audit::{Audit, Finding, audit};
pub use chain::for_each_commit;
pub use provenance::{Explained, Published, entries, explain};
pub use recent::recent_commits;

pub use crate::ledger::history::Line as CommitRecord;
