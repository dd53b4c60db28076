//! Where a console reads a pipeline: with its file, or by its ledger alone.

use tokio_util::sync::CancellationToken;
use turnstile_console::data::ConsoleError;
use turnstile_lake::Lake;

use super::unavailable;
use crate::flow::Context;

/// What is known of a pipeline.
#[derive(Clone)]
pub(crate) enum PipelineSource {
    /// Everything: its file was read.
    Whole(Context),
    /// Its name and its ledger.
    Ledger {
        /// The lake that the ledger is in.
        lake: Lake,
        pipeline: String,
        /// The token that ends everything.
        shutdown: CancellationToken,
    },
}

impl PipelineSource {
    /// The pipeline's name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Whole(context) => &context.pipeline().name,
            Self::Ledger { pipeline, .. } => pipeline,
        }
    }

    /// The token that ends everything.
    pub(super) fn shutdown(&self) -> &CancellationToken {
        match self {
            Self::Whole(context) => context.shutdown(),
            Self::Ledger { shutdown, .. } => shutdown,
        }
    }

    /// The lake, open to be read.
    pub(super) async fn lake(&self) -> Result<&Lake, ConsoleError> {
        match self {
            Self::Whole(context) => context.lake().await.map_err(unavailable),
            Self::Ledger { lake, .. } => Ok(lake),
        }
    }

    /// The pipeline's context, where its file is known.
    pub(super) fn known(&self) -> Option<&Context> {
        match self {
            Self::Whole(context) => Some(context),
            Self::Ledger { .. } => None,
        }
    }

    /// The pipeline's context, for what cannot be shown without its file.
    pub(super) fn whole(&self) -> Result<&Context, ConsoleError> {
        self.known().ok_or_else(|| ConsoleError::Unavailable {
            fact: format!("of {} only the ledger is known here, and this page needs its pipeline file", self.name()),
            hint: Some("name the file too: turnstile console FILE".to_owned()),
            source: None,
        })
    }
}
