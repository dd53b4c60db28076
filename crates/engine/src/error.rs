//! Why the engine stops.

use arrow::error::ArrowError;
use datafusion_common::DataFusionError;
use turnstile_values::human;

/// Why the engine stopped.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The pipeline cannot be compiled; fix the pipeline file.
    #[error("the query cannot be run: {0}")]
    Plan(String),
    /// An expression of the query failed on the data.
    #[error("the query failed")]
    Query(#[from] DataFusionError),
    /// A column could not be built.
    #[error("a column could not be built")]
    Arrow(#[from] ArrowError),
    /// A register's growth left the range of a 64-bit integer.
    #[error("the growth of a register does not fit a 64-bit integer")]
    Overflow,
    /// A window cannot be computed: its sums overflow, or an expression of SELECT or HAVING fails on it.
    /// The same messages give the same error; change the query.
    #[error("the window that begins at {start} cannot be computed")]
    Window {
        /// Its first instant, RFC 3339, UTC.
        start: String,
        /// Why.
        source: Box<EngineError>,
    },
    /// Open windows and dedup state outgrew their limit.
    #[error("open windows and dedup state hold {held} bytes, more than `[stream] memory` allows ({limit})")]
    Memory {
        /// Approximate bytes held.
        held: usize,
        /// The limit.
        limit: usize,
    },
    /// State that does not fit memory cannot be moved to disk, or read from there.
    #[error("state that exceeds `[stream] memory` cannot be kept on disk")]
    Spill(#[source] std::io::Error),
    /// A batch refers to a schema that was not registered with the worker.
    #[error("schema {id} was not registered before its messages")]
    SchemaNotRegistered {
        /// Its id in the registry.
        id: u32,
    },
    /// Persisted state cannot be read.
    #[error("the saved state cannot be read: {0}")]
    State(String),
}

impl EngineError {
    /// What is wrong with the data, for a person who knows the query: without the libraries' words for the kind of error.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Query(error) => query_reason(error),
            Self::Arrow(error) => arrow_reason(error),
            other => human::error(other),
        }
    }
}

/// As [`EngineError::reason`].
pub(crate) fn query_reason(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::Execution(message) => message.clone(),
        DataFusionError::ArrowError(error, _) => arrow_reason(error),
        other => other.strip_backtrace(),
    }
}

fn arrow_reason(error: &ArrowError) -> String {
    match error {
        ArrowError::CastError(message)
        | ArrowError::ParseError(message)
        | ArrowError::ComputeError(message)
        | ArrowError::ArithmeticOverflow(message)
        | ArrowError::InvalidArgumentError(message) => message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_no_words_for_the_kind_of_error() {
        let cast = || ArrowError::CastError("cannot cast 'x' to int".to_owned());
        let within = DataFusionError::ArrowError(Box::new(cast()), None).context("while evaluating");
        for error in [EngineError::Arrow(cast()), EngineError::Query(within)] {
            assert_eq!(error.reason(), "cannot cast 'x' to int");
        }
        let execution = DataFusionError::Execution("the sum 7 does not fit".to_owned());
        assert_eq!(EngineError::Query(execution).reason(), "the sum 7 does not fit");
        assert_eq!(EngineError::Overflow.reason(), EngineError::Overflow.to_string());
    }
}
