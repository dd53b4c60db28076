//! Keeps runs, tasks and logs in one SQLite file beside the pipeline.
//!
//! In: runs and tasks, whole each time. Out: the same, listed and filtered. Every call blocks, for
//! [`BUSY_WAIT`] at most where another process writes; call it on its own thread. Many processes may read and write one
//! file (SQLite's write-ahead log). Knows no flow. Start at [`RunStore::open`]; a tracker's listener is [`StoreWriter`].

mod error;
mod read;
mod recover;
mod rows;
mod run_store;
mod schema;
mod write;
mod writer;

#[cfg(test)]
mod tests;

pub use self::error::RunStoreError;
pub use self::read::{RunDetails, RunFilter};
pub use self::recover::OpenedStore;
pub use self::run_store::{BUSY_WAIT, RetentionLimits, RunStore};
pub use self::write::CancelOutcome;
pub use self::writer::{StoreWriter, StoreWriterCounts};
