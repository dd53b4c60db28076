//! The formats of windows' files, and the choices that an encoder has.

use serde::{Deserialize, Serialize};

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
    /// Name text as a view in the stored schema, as earlier releases did: to rebuild a file that one of them published.
    /// Parquet only.
    pub text_views: bool,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { index_column: false, gzip_level: 6, text_views: false }
    }
}
