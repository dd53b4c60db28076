//! The lake's files: how windows and dead letters become bytes.
//!
//! In: record batches, refused messages. Out: bytes that are the same for the same input, and names
//! that follow from what is in them.
//! Refuses to know where the bytes go. Start at [`encode_window`].

mod csv;
mod dead_letters;
pub(crate) mod gather;
pub(crate) mod names;
mod parquet;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

pub use dead_letters::{DeadLetterRecord, OwnedDeadLetter, decode_dead_letters, encode_dead_letters};
pub use names::{dead_letters_name, window_name};

/// The format of a window's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FileEncoding {
    /// CSV with a header line, packed by gzip.
    #[serde(rename = "csv.gz")]
    CsvGz,
    /// Parquet, packed by Zstandard.
    #[serde(rename = "parquet")]
    Parquet,
}

impl FileEncoding {
    /// How file names of the format end.
    pub fn extension(self) -> &'static str {
        match self {
            Self::CsvGz => "csv.gz",
            Self::Parquet => "parquet",
        }
    }

    /// The format of a file, by its name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::CsvGz, Self::Parquet]
            .into_iter()
            .find(|format| name.strip_suffix(format.extension()).is_some_and(|stem| stem.ends_with('.')))
    }
}

/// Choices of [`encode_window`].
#[derive(Debug, Clone, Copy)]
pub struct EncodeOptions {
    /// Put an unnamed column first that counts rows from 0, as the original's files have. CSV only.
    pub index_column: bool,
    /// 0 (none) to 9 (smallest). CSV only.
    pub gzip_level: u32,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { index_column: false, gzip_level: 6 }
    }
}

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
    #[error("the file cannot be read: {reason}")]
    Decode {
        /// What is wrong.
        reason: String,
    },
}

/// The file of one window. The same rows and options give the same bytes.
///
/// Instants (timestamp columns, with or without a zone) are written in UTC: in CSV as RFC 3339 with
/// `Z`, at second precision, with a fraction only where it is not zero. CSV lines end in `\n`, nulls
/// are empty, fields are quoted as RFC 4180 says.
///
/// # Errors
/// `Encode`: a column is of a nested type, which CSV cannot hold.
pub fn encode_window(
    format: FileEncoding,
    batch: &RecordBatch,
    options: &EncodeOptions,
) -> Result<Vec<u8>, FormatError> {
    let encoded = match format {
        FileEncoding::CsvGz => csv::encode(batch, options),
        FileEncoding::Parquet => parquet::encode(batch),
    };
    encoded.map_err(|source| FormatError::Encode { format, source })
}

/// Rows in a file of the lake, without headers.
///
/// # Errors
/// `Decode`: the bytes are not a file of the format that the name says.
pub fn count_rows(name: &str, bytes: &[u8]) -> Result<u64, FormatError> {
    match FileEncoding::of(name) {
        Some(FileEncoding::CsvGz) => csv::count_rows(bytes),
        Some(FileEncoding::Parquet) => parquet::count_rows(bytes),
        None if name.ends_with(".jsonl.gz") => dead_letters::count(bytes),
        None => Err(FormatError::Decode { reason: format!("{name} has no known ending") }),
    }
}
