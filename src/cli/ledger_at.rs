//! A ledger that a verb reads, without its pipeline's file.

use turnstile_lake::{Lake, StoreOptions};

use crate::flow;

/// A ledger: which lake, and which pipeline in it.
#[derive(Debug)]
pub(super) struct LedgerAt {
    pub(super) url: String,
    pub(super) pipeline: String,
    pub(super) options: StoreOptions,
}

impl LedgerAt {
    /// Opens the lake for reading.
    pub(super) async fn open(&self) -> anyhow::Result<Lake> {
        tracing::debug!(url = self.url, pipeline = self.pipeline, "opening the lake to read");
        Lake::open_for_reading(&self.url, &self.options).await.map_err(flow::lake_failed)
    }

    /// The error of a pipeline without a ledger there.
    pub(super) fn no_ledger(&self) -> anyhow::Error {
        flow::no_ledger(&self.url, &self.pipeline)
    }
}
