//! Why a message was rejected.

use std::fmt;

/// Why a message was rejected: the label in counters and dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The value is not UTF-8.
    Utf8,
    /// The value is not a CSV row.
    Csv,
    /// The value is not a JSON object.
    Json,
    /// The value lacks the schema registry's wire-format header.
    WireFormat,
    /// The schema registry does not know the value's schema, or messages of that schema cannot be rows.
    Schema,
    /// The value does not follow its Avro schema.
    Avro,
    /// A field is missing, or there is one too many.
    Fields,
    /// A value does not fit its field's type.
    Type,
    /// The event time is null or missing.
    EventTime,
    /// The event time lies too far ahead of the clock.
    Future,
    /// The window had already closed.
    Late,
    /// An expression of the query fails on it, such as a cast of text that is not a number.
    Query,
}

impl Reason {
    /// Every reason.
    const ALL: [Self; 12] = [
        Self::Utf8,
        Self::Csv,
        Self::Json,
        Self::WireFormat,
        Self::Schema,
        Self::Avro,
        Self::Fields,
        Self::Type,
        Self::EventTime,
        Self::Future,
        Self::Late,
        Self::Query,
    ];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "not-utf8",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::WireFormat => "wire-format",
            Self::Schema => "schema",
            Self::Avro => "avro",
            Self::Fields => "fields",
            Self::Type => "type",
            Self::EventTime => "event-time",
            Self::Future => "future",
            Self::Late => "late",
            Self::Query => "query",
        }
    }

    /// The reason with this label.
    pub fn parse(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == label)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why one message was rejected, with the field and the offending text if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The kind.
    pub reason: Reason,
    /// The field, when one is to blame.
    pub field: Option<String>,
    /// What was found and what was expected.
    pub detail: String,
}

impl Rejection {
    pub(crate) fn new(reason: Reason, field: Option<&str>, detail: impl Into<String>) -> Self {
        Self { reason, field: field.map(str::to_owned), detail: shorten(&detail.into()) }
    }

    /// Names the schema of the message.
    pub(crate) fn of_schema(mut self, id: u32) -> Self {
        self.detail = format!("{} (schema {id})", self.detail);
        self
    }
}

/// The longest offending text that a rejection quotes; the dead letter holds the whole message.
const DETAIL_CHARS: usize = 200;

fn shorten(text: &str) -> String {
    match text.char_indices().nth(DETAIL_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The length of a byte order mark at the beginning of `text`. There it is a signature and no part of the text (RFC 3629,
/// section 6).
#[inline]
pub(crate) fn byte_order_mark(text: &[u8]) -> usize {
    if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }
}

/// Refuses text that is not UTF-8.
#[inline]
pub(crate) fn check_utf8(text: &[u8]) -> Result<(), Rejection> {
    if text.is_ascii() {
        return Ok(());
    }
    match std::str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(e) => {
            Err(Rejection::new(Reason::Utf8, None, format!("the value is not UTF-8 from byte {}", e.valid_up_to())))
        }
    }
}
