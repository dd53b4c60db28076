//! Providers: where the readings to produce come from.
//!
//! In: a seed and a start, or files. Out: one [`ProducerRecord`] at a time, in a buffer that is reused.
//! Knows nothing of Kafka: no provider asks where its records go. Given the same settings, a provider yields the same
//! bytes. Start at [`Provider`]; the message formats are described in docs/providers.md.

mod city;
mod clock;
mod csv_fields;
mod draw;
mod line_source;
mod lines;
mod mta_file;
mod mta_replay;
mod original;
mod stdin;

use std::path::PathBuf;

use turnstile_values::human;

pub use city::{CityProvider, CitySettings};
pub use clock::SyntheticClock;
pub use line_source::{LineFormat, LineInput, LineSettings};
pub use lines::LineProvider;
pub use mta_file::MAX_FILE_ROWS;
pub use mta_replay::{DEFAULT_STEP_CAP, MtaReplayProvider, RegisterMode};
pub use original::{HeaderRowProvider, TestStationProvider};

/// U+FEFF in UTF-8. At the beginning of a text it is a signature and no part of it.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A message about to be sent. One is used again and again: a provider clears and fills it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerRecord {
    /// The key's bytes, when `keyed`.
    pub key: Vec<u8>,
    /// Whether there is a key. Records of one key go to one partition, in order.
    pub keyed: bool,
    /// The value's bytes.
    pub value: Vec<u8>,
    /// Where event time has come to with this record, milliseconds since the epoch: what a pace in event time goes by. It
    /// is when the reading was taken, and for a late reading when it is sent.
    pub event_at_ms: i64,
    /// Whether the message has no value at all, a tombstone; `value` is empty then.
    pub null: bool,
    /// The message's own timestamp, milliseconds since the epoch. None: when it is sent.
    pub timestamp_ms: Option<i64>,
    /// Headers, in order.
    pub headers: Vec<(&'static str, String)>,
}

impl ProducerRecord {
    /// A message as it was read, to be sent again: a null stays null, and the time is the one that it had (-1: none).
    pub fn resent(key: Option<&[u8]>, value: Option<&[u8]>, timestamp_ms: i64) -> Self {
        Self {
            key: key.unwrap_or_default().to_vec(),
            keyed: key.is_some(),
            value: value.unwrap_or_default().to_vec(),
            event_at_ms: timestamp_ms,
            null: value.is_none(),
            timestamp_ms: (timestamp_ms >= 0).then_some(timestamp_ms),
            headers: Vec::new(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.headers.push((name, text.into()));
        self
    }

    /// The key, or `None` when there is none.
    pub fn key(&self) -> Option<&[u8]> {
        self.keyed.then_some(&self.key)
    }

    /// The value, or `None` when there is none.
    pub fn value(&self) -> Option<&[u8]> {
        (!self.null).then_some(&self.value)
    }

    fn reset(&mut self) {
        self.key.clear();
        self.keyed = false;
        self.value.clear();
        self.null = false;
        self.timestamp_ms = None;
        self.headers.clear();
    }

    fn set_key(&mut self, key: &[u8]) {
        self.key.clear();
        self.key.extend_from_slice(key);
        self.keyed = true;
    }
}

/// Yields records in the order in which they are to be sent.
pub trait Provider: Send {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// How many records it yields in all; `None` when it never ends.
    fn total(&self) -> Option<u64>;

    /// Fills `record` with the next record; `false` when there are no more.
    ///
    /// # Errors
    /// Its input is wrong; the record is not to be used.
    fn next(&mut self, record: &mut ProducerRecord) -> Result<bool, ProviderError>;

    /// The rows of its input that it has skipped so far, because they are wrong and wrong rows are to be skipped.
    fn skipped_rows(&self) -> SkippedRows {
        SkippedRows::default()
    }
}

/// Rows that became no message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SkippedRows {
    /// How many.
    pub rows: u64,
    /// Where the first ten stand and what is wrong with them.
    pub first: Vec<String>,
}

/// How many skipped rows are named.
const NAMED_ROWS: usize = 10;

impl SkippedRows {
    /// Counts a row that `error` is about.
    fn add(&mut self, error: &ProviderError) {
        self.rows += 1;
        if self.first.len() < NAMED_ROWS {
            self.first.push(human::error(error));
        }
    }
}

/// Input or settings that a provider cannot use.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// A file cannot be read.
    #[error("{}: cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A row is not a reading.
    #[error("{}:{line}: {reason}", file.display())]
    Row {
        /// The file.
        file: PathBuf,
        /// The line, from 1; the header is line 1.
        line: usize,
        /// Column, expectation and text.
        reason: String,
        /// What its parser says.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// Two files hold readings of the same time, so that their rows cannot be replayed one file after the other.
    #[error("{} and {} contain readings of the same time; replay them one at a time", first.display(), second.display())]
    Overlap {
        /// The file that begins first.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
    },
    /// A file is larger than a provider keeps in memory.
    #[error("{}: more than {limit} {unit}; split it by week", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The limit.
        limit: usize,
        /// What is limited.
        unit: &'static str,
    },
    /// Settings that contradict each other.
    #[error("{0}")]
    Settings(String),
}
