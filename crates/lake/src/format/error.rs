//! Rows that cannot be written, bytes that cannot be read.

use arrow::error::ArrowError;
use turnstile_values::BoxError;

use super::file_encoding::FileEncoding;

/// Rows that cannot be written, or bytes that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// A column's type has no form in the format.
    #[error("the rows cannot be written as {format:?}")]
    Encode {
        /// The format asked for.
        format: FileEncoding,
        /// What the writer said.
        #[source]
        source: ArrowError,
    },
    /// The bytes are not a file of the format.
    #[error("the file cannot be read")]
    Decode {
        /// What is wrong.
        #[source]
        source: BoxError,
    },
}

impl FormatError {
    pub(crate) fn decode(source: impl Into<BoxError>) -> Self {
        Self::Decode { source: source.into() }
    }
}
