//! Why a target did not accept a delivery, or cannot be opened; the variants differ in what the caller does.

use std::error::Error;

use turnstile_values::BoxError;

use crate::change::LoadPosition;

/// Why a target did not take a delivery.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It did not answer, or cannot serve the request now: wait and send the same delivery again.
    #[error("{target} is not reachable")]
    Unreachable {
        /// Which target, with host or project and without secrets.
        target: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It will refuse again until a person changes something.
    #[error("{target} refused: {reason}")]
    Refused {
        /// Which target.
        target: String,
        /// What it refused, with table and column where there is one.
        reason: String,
        /// What a person can do.
        hint: String,
        /// The target's own error, if it was the target that refused.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Its position is not the one that the delivery starts from.
    #[error("{target} is not at the position that the delivery starts from")]
    Moved {
        /// Which target.
        target: String,
        /// Its position.
        at: Option<LoadPosition>,
    },
    /// The rows to deliver could not be read.
    #[error("the rows for table {table} could not be read")]
    Rows {
        /// The table.
        table: String,
        /// Why, with the file's name.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// A setting that cannot be used. Contains no secret.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct TargetSettingsError {
    /// The setting's key, or the environment variable that takes its place.
    pub key: &'static str,
    /// What is wrong with it.
    pub reason: String,
    /// What to write instead.
    pub hint: String,
    /// The error that shows it.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl TargetSettingsError {
    pub(crate) fn new(key: &'static str, reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { key, reason: reason.into(), hint: hint.into(), source: None }
    }

    pub(crate) fn caused_by(self, source: impl Into<BoxError>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// The same, when it shows only while the target is used.
    pub(crate) fn into_refusal(self, target: &str) -> TargetError {
        let Self { reason, hint, source, .. } = self;
        TargetError::Refused { target: target.into(), reason, hint, source }
    }
}
