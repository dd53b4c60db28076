//! How a message's value is written: `[source] format`.

/// How a message's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageFormat {
    /// Comma-separated fields in schema order (RFC 4180); a JSON string that holds such a line is
    /// unwrapped, and a header line before the row is understood.
    Csv,
    /// A JSON object whose members are named as the fields.
    Json,
    /// A record in Avro's binary encoding, after the id of its schema in a registry.
    Avro,
    /// A JSON object as of `json`, after the id of its schema in a registry.
    JsonSchema,
}

impl MessageFormat {
    /// The word in the pipeline file.
    pub fn as_str(self) -> &'static str {
        match self {
            MessageFormat::Csv => "csv",
            MessageFormat::Json => "json",
            MessageFormat::Avro => "avro",
            MessageFormat::JsonSchema => "json-schema",
        }
    }

    /// Whether a message is a JSON object.
    pub(crate) fn is_json(self) -> bool {
        matches!(self, MessageFormat::Json | MessageFormat::JsonSchema)
    }

    /// Whether its messages name their schema by an id in a registry.
    pub fn uses_registry(self) -> bool {
        matches!(self, MessageFormat::Avro | MessageFormat::JsonSchema)
    }
}

/// The words in the pipeline file.
pub(crate) const FORMATS: [(&str, MessageFormat); 4] = [
    ("csv", MessageFormat::Csv),
    ("json", MessageFormat::Json),
    ("avro", MessageFormat::Avro),
    ("json-schema", MessageFormat::JsonSchema),
];
