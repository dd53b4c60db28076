//! Where messages come from and how their bytes become rows: `[source]`.

use std::path::PathBuf;

use crate::file::read::{Faults, TableReader};
use crate::file::{Fault, TomlNode};
use crate::message_format::{self, MessageFormat};
use crate::properties::Properties;
use crate::registry::{self, RegistrySettings};
use crate::schema::{self, Field, Fields};
use crate::topics::{self, TopicSelection};

/// How often new partitions are looked for by default: every ten seconds.
const DISCOVER_US: i64 = 10_000_000;

/// `[source]`: the topic and the form of its messages.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// The Kafka topics.
    pub topics: TopicSelection,
    /// How often to look for new partitions and topics, in microseconds. `None`: never.
    pub discover_us: Option<i64>,
    /// Client settings by Kafka's own names. They win over those of `properties`.
    pub kafka: Properties,
    /// A Java-style properties file with client settings, as written (a leading `~` is not expanded here).
    pub properties: Option<PathBuf>,
    /// The name that the query's FROM gives to the stream.
    pub table: String,
    /// How a message's value is written.
    pub format: MessageFormat,
    /// The fields, in the order of the CSV.
    pub schema: Vec<Field>,
    /// What to do with fields that the schema does not have.
    pub extra_fields: FieldPolicy,
    /// What an empty field of a CSV row is for a text. For every other type it is null.
    pub empty: EmptyText,
    /// The schema registry; there exactly for the formats that use one.
    pub registry: Option<RegistrySettings>,
}

/// What an empty text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyText {
    /// Null, as Spark's `from_csv` reads it, in quotes or not.
    Null,
    /// A text without characters.
    Text,
}

/// What to do with something that was not declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldPolicy {
    /// The message goes to the dead letters.
    Error,
    /// The rest of the message counts.
    Ignore,
}

/// Reads `[source]`. The fields come back even when something else in the section is wrong.
pub(crate) fn read(node: &TomlNode, faults: &Faults) -> (Option<SourceSettings>, Fields) {
    let Some(mut reader) = TableReader::new(node, "source", faults) else {
        return (None, Fields { fields: Vec::new(), broken: true });
    };
    let topics = topics::read(&mut reader);
    let discover_us = reader.duration_or_off("discover").unwrap_or(Some(DISCOVER_US));
    let kafka = reader.properties("kafka");
    let properties = reader.text("properties").map(|path| PathBuf::from(path.value));
    let table = reader.parsed("table", "write a plain SQL name, such as \"turnstile\"", table_name);
    let format = reader.choice("format", &message_format::FORMATS);
    let format = reader.required("format", format);
    let extra_fields = reader.choice("extra_fields", &[("error", FieldPolicy::Error), ("ignore", FieldPolicy::Ignore)]);
    // Avro's own rule: a reader leaves out what its schema does not name.
    let usual = if format.as_ref() == Some(&MessageFormat::Avro) { FieldPolicy::Ignore } else { FieldPolicy::Error };
    let empty_at = reader.node("empty").map(|node| node.at.clone());
    let empty = reader.choice("empty", &[("null", EmptyText::Null), ("text", EmptyText::Text)]);
    if let Some(at) = empty_at.filter(|_| format.is_some_and(|format| format != MessageFormat::Csv)) {
        reader.fault(Fault::new(&at, "empty is for format = \"csv\"").hint("the other formats have a null"));
    }
    let registry = registry::read(&mut reader, format, faults);
    let schema = reader.node("schema");
    let schema = reader.required("schema", schema);
    let before = faults.borrow().len();
    let fields = schema.map(|node| schema::read(node, format, faults)).unwrap_or_default();
    let broken = schema.is_none() || faults.borrow().len() > before;
    reader.finish();
    let source = match (topics, format) {
        (Some(topics), Some(format)) => Some(SourceSettings {
            topics,
            discover_us,
            kafka: kafka.into(),
            properties,
            table: table.map_or_else(|| "turnstile".to_owned(), |table| table.value),
            format,
            schema: fields.clone(),
            extra_fields: extra_fields.unwrap_or(usual),
            empty: empty.unwrap_or(EmptyText::Null),
            registry,
        }),
        _ => None,
    };
    (source, Fields { fields, broken })
}

fn table_name(name: &str) -> Result<String, String> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !plain || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(format!("\"{name}\" is not a plain SQL name"));
    }
    Ok(name.to_owned())
}
