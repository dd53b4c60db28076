//! The data lake: the ledger (commit protocol), file formats, object stores, provenance, audit.
//!
//! In: commits of a pipeline, each with offsets, state blobs and files of closed windows. Out: every file at its
//! final name exactly once, and a record that explains any file and lets all of them be audited.
//! Refuses to know Kafka beyond positions ([`turnstile_message::TopicPartition`], [`turnstile_message::OffsetRange`]),
//! what is in the state, and how windows are made.
//! Start at [`Ledger::commit`]; docs/ledger.md has the protocol and the format.

pub mod chain;
mod clock;
mod day;
mod error;
mod failpoint;
mod format;
mod framed;
#[cfg(test)]
mod golden;
mod hash;
mod lake;
mod lake_error;
mod ledger;
mod location;
pub mod maintenance;
mod maintenance_slot;
mod read;
#[cfg(test)]
mod scene;
#[cfg(feature = "simulation")]
pub mod simulation;
mod slot;
mod store;

pub use error::{LedgerError, Owner};
pub use failpoint::{MAINTENANCE_STEPS as MAINTENANCE_CRASH_STEPS, STEPS as CRASH_STEPS};
pub use format::{
    DeadLetterRecord, EncodeOptions, FileEncoding, FormatError, OwnedDeadLetter, count_rows, dead_letters_name,
    decode_dead_letters, encode_dead_letters, encode_window, portable_schema, window_name,
};
pub use hash::{Hash, NotAHash};
pub use lake::Lake;
pub use lake_error::LakeError;
pub use ledger::{Commit, Committed, Ledger, NewFile, NewState, Opened, Recovered, read_state};
pub use location::StoreOptions;
pub use read::{
    Audit, Catalog, CatalogPosition, CommitRecord, DeadLetterError, DeadLetterReader, DeadLettersFile, Explained,
    Extent, Finding, LakeObject, Leaving, LettersObject, Published, PublishedSince, RowLocation, audit, commit_record,
    dead_letter_files, describe_failed_window, entries, explain, for_each_commit, plan_hash_at, published_since,
    recent_commits, recent_dead_letter_files,
};
pub use slot::{FileEntry, FileKind, HistoryRef, Slot, StateRef, WriterId};
pub use store::StoreError;
pub use turnstile_message::{Counters, PartitionPosition};
