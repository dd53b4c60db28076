//! What a round of loading has done.

use turnstile_warehouse::{Load, LoadRun};

/// What is said of a load or a delivery that failed for `error`.
pub(crate) fn not_loaded_text(error: &str) -> String {
    format!("loading the warehouse failed and will be retried: {error}")
}

/// What happened in one round.
#[derive(Debug, Clone)]
pub(crate) enum Loaded {
    /// A load of the embedded warehouse.
    Load(Load),
    /// A delivery to another database.
    Delivery(LoadRun),
}
