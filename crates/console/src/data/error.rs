//! Why the console cannot show or do something.

use std::time::Duration;

use turnstile_values::{BoxError, human};

/// Why the console cannot show or do something. Its text is shown to a person.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// There is no such thing; the page is a 404.
    #[error("there is no {what} \"{name}\"")]
    NotFound {
        /// What it would be: `pipeline`, `window`, `run`.
        what: &'static str,
        /// What was asked for.
        name: String,
    },
    /// It cannot be read now; the page is a 503 and tries again by itself.
    #[error("{fact}")]
    Unavailable {
        /// What is wrong, in one sentence without a period.
        fact: String,
        /// What a person can do.
        hint: Option<String>,
        /// Why.
        #[source]
        source: Option<BoxError>,
    },
    /// An action is not possible now; the answer is a 409.
    #[error("{fact}")]
    Refused {
        /// Why not, in one sentence without a period.
        fact: String,
        /// What a person can do.
        hint: Option<String>,
    },
    /// The query is wrong, or is no read.
    #[error("{}", .0.fact)]
    Sql(SqlProblem),
    /// The query was ended because it took too long.
    #[error("the query was ended after {}", human::duration(i64::try_from(.0.as_micros()).unwrap_or(i64::MAX)))]
    Timeout(Duration),
}

/// What is wrong with a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlProblem {
    /// In one sentence without a period.
    pub fact: String,
    /// Line, from 1, where it is known.
    pub line: Option<u64>,
    /// Column, in characters from 1.
    pub column: Option<u64>,
    /// What a person can do.
    pub hint: Option<String>,
}

impl ConsoleError {
    /// Something cannot be read now, without a cause or a hint.
    pub fn unavailable(fact: impl Into<String>) -> Self {
        Self::Unavailable { fact: fact.into(), hint: None, source: None }
    }

    /// What a person can do, if that is known.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Unavailable { hint, .. } | Self::Refused { hint, .. } => hint.as_deref(),
            Self::Sql(problem) => problem.hint.as_deref(),
            Self::NotFound { .. } => None,
            Self::Timeout(_) => Some("Ask for less: a LIMIT, a shorter time, fewer groups."),
        }
    }

    /// The causes in one line, if there are any.
    pub fn cause(&self) -> Option<String> {
        std::error::Error::source(self).map(human::error)
    }
}
