//! The lake's files: how windows and dead letters become bytes.
//!
//! In: record batches, rejected messages. Out: bytes that are the same for the same input, and names that depend only
//! on the content.
//! Refuses to know where the bytes go. Start at [`encode_window`].

mod csv;
mod dead_letters;
mod error;
mod file_encoding;
pub(crate) mod gather;
pub(crate) mod letter_lines;
pub(crate) mod names;
mod parquet;
mod portable;

use arrow::record_batch::RecordBatch;

pub(crate) use dead_letters::decode_dead_letter;
pub use dead_letters::{DeadLetterRecord, OwnedDeadLetter, decode_dead_letters, encode_dead_letters};
pub use error::FormatError;
pub use file_encoding::{EncodeOptions, FileEncoding};
pub use names::{dead_letters_name, window_name};
pub use portable::portable_schema;

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
        FileEncoding::Parquet => parquet::encode(batch, options.text_views),
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
        None => Err(FormatError::decode(format!("{name} has no known ending"))),
    }
}
