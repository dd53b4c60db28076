//! An error with what was done, or what it is about, when it happened.

use std::error::Error;

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct Caused {
    what: String,
    #[source]
    source: BoxError,
}

/// An error that reads `what` and has `source` as its source.
pub fn caused(what: impl Into<String>, source: impl Into<BoxError>) -> BoxError {
    Box::new(Caused { what: what.into(), source: source.into() })
}
