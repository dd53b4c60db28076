//! What a schema registry knows about a message's format.

/// A writer schema: the schema by which a message was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterSchema {
    /// Its language.
    pub kind: SchemaKind,
    /// Its text.
    pub text: String,
    /// Texts of the schemas that it refers to, each after its own references.
    pub references: Vec<String>,
}

/// The language of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaKind {
    /// Apache Avro.
    Avro,
    /// JSON Schema.
    Json,
    /// Another one, by the registry's name for it.
    Other(String),
}

impl SchemaKind {
    /// The registry's name for it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Avro => "AVRO",
            Self::Json => "JSON",
            Self::Other(name) => name,
        }
    }
}

impl WriterSchema {
    /// Bytes of all its texts.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.references.iter().map(String::len).sum::<usize>()
    }
}
