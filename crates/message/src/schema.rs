//! What a schema registry knows of a message's form.

/// A writer schema: what the program that wrote a message says of its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterSchema {
    /// Its language.
    pub kind: SchemaKind,
    /// Its text.
    pub text: String,
    /// Texts of the schemas whose names it uses, each after those that it uses itself.
    pub references: Vec<String>,
}

/// The language of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaKind {
    /// Apache Avro.
    Avro,
    /// JSON Schema.
    Json,
    /// Another one, by the registry's word.
    Other(String),
}

impl SchemaKind {
    /// The registry's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Avro => "AVRO",
            Self::Json => "JSON",
            Self::Other(word) => word,
        }
    }
}

impl WriterSchema {
    /// Bytes of all its texts.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.references.iter().map(String::len).sum::<usize>()
    }
}
