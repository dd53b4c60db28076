//! What a round of loading has done.

use turnstile_warehouse::{Load, LoadRun};

/// What happened in one round.
#[derive(Debug, Clone)]
pub(crate) enum Loaded {
    /// A load of the embedded warehouse.
    Load(Load),
    /// A delivery to another database.
    Delivery(LoadRun),
}
