//! A model that is wrong.

use std::error::Error;

/// A model that is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{path}:{line}: {reason}")]
pub struct ModelError {
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
    /// What a person can do.
    pub hint: String,
    /// What caused it.
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl ModelError {
    pub(crate) fn new(path: &str, line: usize, reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, reason: reason.into(), hint: hint.into(), source: None }
    }

    /// The same error with its cause.
    pub(crate) fn caused_by(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }
}
