//! Errors in a pipeline file, with their locations.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use turnstile_values::human;

/// Why a pipeline could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The file could not be read.
    #[error("cannot read the pipeline file {}", path.display())]
    Read {
        /// The file asked for.
        path: PathBuf,
        /// The error of the file system.
        #[source]
        source: std::io::Error,
    },
    /// The file was read and is wrong; every problem found is listed, one a line, in the order of the file.
    #[error("{}", ProblemList(.0))]
    Invalid(Vec<Problem>),
}

impl PipelineError {
    /// The problems found in the file; none when it could not be read.
    pub fn problems(&self) -> &[Problem] {
        match self {
            PipelineError::Read { .. } => &[],
            PipelineError::Invalid(problems) => problems,
        }
    }
}

/// One error, its location and what a person can do about it.
///
/// Reads `file:line:column: message: cause; hint`.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The file as it was named, or `set <key>` for a value that was set from outside.
    pub source: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The fact, or what it is about when the cause says it.
    pub message: String,
    /// What a parser says of the value.
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
    /// The next step.
    pub hint: Option<String>,
}

/// Problems are the same when they read the same.
impl PartialEq for Problem {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Problem {
    /// The message with its cause.
    pub fn fact(&self) -> String {
        match &self.cause {
            Some(cause) => format!("{}: {}", self.message, human::error(&**cause)),
            None => self.message.clone(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.source, self.line, self.column, self.fact())?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

struct ProblemList<'a>(&'a [Problem]);

impl fmt::Display for ProblemList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
