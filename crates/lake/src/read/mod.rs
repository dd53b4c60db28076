//! Reading the ledger: what was published, from which messages, and whether it is still intact.
//!
//! In: a lake and a pipeline's name. Out: commits in order, files with their provenance, findings.
//! Writes nothing, and can run beside a running writer. Start at [`Catalog::read`] for what readers see, at
//! [`for_each_commit`] for the whole history.

mod account;
mod audit;
pub(crate) mod catalog;
mod chain;
mod excluded_windows;
mod letters;
mod places;
mod provenance;
mod recent;
mod since;

pub use audit::{Audit, Finding, audit, describe_failed_window};
pub use catalog::{Catalog, CatalogPosition, DeadLettersFile, Extent, LakeObject, Leaving, LettersObject};
pub use chain::for_each_commit;
pub use letters::{DeadLetterError, DeadLetterReader, dead_letter_files, recent_dead_letter_files};
pub use places::RowLocation;
pub use provenance::{Explained, Published, entries, explain};
pub use recent::{commit_record, plan_hash_at, recent_commits};
pub use since::{PublishedSince, published_since};

pub use crate::ledger::history::CommitRecord;
