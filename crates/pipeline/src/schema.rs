//! The fields of a message and their types: `[source.schema]`.

use std::borrow::Cow;
use std::collections::BTreeSet;

use arrow::datatypes::{DataType, TimeUnit};
use chrono_tz::Tz;
use turnstile_values::{nearest, suggest};

use crate::file::read::{Faults, Placed, TableReader};
use crate::file::{Fault, TomlNode, TomlValue};
use crate::message_format::MessageFormat;
use crate::message_metadata::MessageMetadata;
use crate::timestamp::TimestampFormat;

/// One field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name, as the schema spells it. The query may spell it in any letter case.
    pub name: String,
    /// Its type.
    pub kind: FieldKind,
    /// The members of the JSON object that lead to it, outermost first; by default its name alone.
    pub path: Vec<String>,
    /// Kafka gives it, not the message's value.
    pub metadata: Option<MessageMetadata>,
}

/// The type of a field, by Spark's names. Every field may be null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldKind {
    /// `string`: UTF-8 text.
    String,
    /// `int`: 32 bits, signed.
    Int,
    /// `long` or `bigint`: 64 bits, signed.
    Long,
    /// `double`: IEEE 754, 64 bits.
    Double,
    /// `decimal(p, s)`: `precision` decimal digits, `scale` of them after the point.
    Decimal {
        /// 1 to 38.
        precision: u8,
        /// 0 to `precision`.
        scale: i8,
    },
    /// `boolean`: `true` or `false` in any letter case.
    Boolean,
    /// `timestamp`: an instant, written as local time of `zone` unless its text says the offset.
    ///
    /// A local time that a clock change repeats means its first occurrence (the offset before the
    /// change); one that a clock change skips is moved forward by the length of the gap. Both are
    /// what Spark does (java.time's `ZonedDateTime.ofLocal`).
    Timestamp {
        /// How it is written.
        format: TimestampFormat,
        /// The zone of local times, and the zone in which the query's functions see the instant.
        zone: Tz,
    },
}

impl FieldKind {
    /// The Arrow type of the decoded column: strings as `Utf8View`, timestamps in microseconds.
    pub fn arrow_type(&self) -> DataType {
        match self {
            FieldKind::String => DataType::Utf8View,
            FieldKind::Int => DataType::Int32,
            FieldKind::Long => DataType::Int64,
            FieldKind::Double => DataType::Float64,
            FieldKind::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
            FieldKind::Boolean => DataType::Boolean,
            FieldKind::Timestamp { zone, .. } => DataType::Timestamp(TimeUnit::Microsecond, Some(zone.name().into())),
        }
    }

    /// Spark's name of the type.
    pub fn spark_name(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            FieldKind::String => "string",
            FieldKind::Int => "integer",
            FieldKind::Long => "long",
            FieldKind::Double => "double",
            FieldKind::Boolean => "boolean",
            FieldKind::Timestamp { .. } => "timestamp",
            FieldKind::Decimal { precision, scale } => return Cow::Owned(format!("decimal({precision},{scale})")),
        })
    }
}

/// What other sections and the query need to know of `[source]`, wrong parts left out.
#[derive(Debug)]
pub(crate) struct Fields {
    pub(crate) fields: Vec<Field>,
    /// Whether the schema itself is wrong: what refers to it would only repeat its faults.
    pub(crate) broken: bool,
}

impl Fields {
    /// Index of the field called `name`, spelled exactly.
    pub(crate) fn index(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// What to say to a person who wrote a field's name wrong.
    pub(crate) fn suggest(&self, name: &str) -> String {
        suggest(name, self.fields.iter().map(|field| field.name.as_str()))
    }
}

const TYPES: [&str; 9] =
    ["string", "int", "integer", "long", "bigint", "double", "decimal(10, 2)", "boolean", "timestamp"];

/// Reads `[source.schema]`; `format` is that of the messages, when it is known.
pub(crate) fn read(node: &TomlNode, format: Option<MessageFormat>, faults: &Faults) -> Vec<Field> {
    let fault = |fault: Fault| faults.borrow_mut().push(fault);
    let TomlValue::Table(table) = &node.value else {
        fault(Fault::new(&node.at, format!("[source.schema] must be a table, not {}", node.value.kind())));
        return Vec::new();
    };
    if table.entries.is_empty() {
        fault(Fault::new(&node.at, "[source.schema] has no fields"));
    }
    let mut seen = BTreeSet::new();
    let mut fields = Vec::new();
    for entry in &table.entries {
        let name = &entry.key;
        if name.is_empty() || name.starts_with("__") || name.eq_ignore_ascii_case("window") {
            let message = format!("a field cannot be called \"{name}\"");
            fault(Fault::new(&entry.key_at, message).hint("\"window\" and names that begin with __ are reserved"));
        } else if !seen.insert(name.to_lowercase()) {
            let message = format!("the field \"{name}\" is listed twice");
            fault(Fault::new(&entry.key_at, message).hint("SQL ignores the letter case of names"));
        } else if let Some(Declared { kind, path, metadata }) = read_declared(name, &entry.node, faults) {
            if let Some(Placed { at, .. }) = path.as_ref().filter(|_| !format.is_some_and(MessageFormat::is_json)) {
                fault(Fault::new(at, format!("\"{name}\": path is for members of JSON objects")));
            }
            let path = path.map_or_else(|| vec![name.clone()], |path| path.value);
            let of_value = |field: &&Field| field.metadata.is_none() && metadata.is_none();
            if let Some(other) = fields.iter().filter(of_value).find(|other| leads_through(&other.path, &path)) {
                let (path, known) = (path.join("."), other.path.join("."));
                let message = format!("\"{name}\": the path {path} and the path {known} of \"{}\" meet", other.name);
                fault(
                    Fault::new(&entry.key_at, message).hint("a member is read as one field, or as an object of fields"),
                );
            }
            fields.push(Field { name: name.clone(), kind, path, metadata });
        }
    }
    fields
}

/// Whether one path is the other, or its beginning.
fn leads_through(one: &[String], other: &[String]) -> bool {
    one.iter().zip(other).all(|(a, b)| a == b)
}

/// What a field declares.
struct Declared {
    kind: FieldKind,
    /// The members of the JSON object that lead to it, when it names them.
    path: Option<Placed<Vec<String>>>,
    metadata: Option<MessageMetadata>,
}

fn read_declared(name: &str, node: &TomlNode, faults: &Faults) -> Option<Declared> {
    match &node.value {
        TomlValue::Text(word) => {
            plain_kind(word).map(|kind| Declared { kind, path: None, metadata: None }).or_else(|| {
                let fault = if word == "timestamp" {
                    Fault::new(&node.at, format!("\"{name}\": a timestamp needs a zone")).hint(
                        "write { type = \"timestamp\", format = \"yyyy-MM-dd HH:mm:ss\", zone = \"America/New_York\" }",
                    )
                } else {
                    Fault::new(&node.at, format!("\"{name}\": unknown type \"{word}\"")).hint(suggest(word, TYPES))
                };
                faults.borrow_mut().push(fault);
                None
            })
        }
        TomlValue::Table(_) => read_table(name, node, faults),
        other => {
            let message = format!("the type of \"{name}\" must be a string or a table, not {}", other.kind());
            faults.borrow_mut().push(Fault::new(&node.at, message));
            None
        }
    }
}

fn read_table(name: &str, node: &TomlNode, faults: &Faults) -> Option<Declared> {
    let mut reader = TableReader::new(node, &format!("source.schema.{name}"), faults)?;
    if reader.has("metadata") {
        let metadata = reader.choice("metadata", &MessageMetadata::WORDS);
        let zone = reader.parsed("zone", ZONE_HINT, zone);
        if let (Some(zone), false) = (&zone, matches!(metadata, None | Some(MessageMetadata::Timestamp))) {
            reader.fault(Fault::new(&zone.at, format!("\"{name}\": only metadata = \"timestamp\" has a zone")));
        }
        reader.finish();
        let kind = metadata_kind(metadata?, zone.map_or(Tz::UTC, |zone| zone.value));
        return Some(Declared { kind, path: None, metadata });
    }
    let word = reader.text("type");
    let word = reader.required("type", word);
    let kind = match word {
        Some(word) if word.value == "timestamp" => {
            let written = reader.has("format");
            let format = reader.parsed("format", FORMAT_HINT, TimestampFormat::parse).map(|format| format.value);
            let format = if written { format } else { Some(TimestampFormat::default()) };
            let zone = reader.parsed("zone", ZONE_HINT, zone);
            let zone = reader.required("zone", zone);
            match (format, zone) {
                (Some(format), Some(zone)) => Some(FieldKind::Timestamp { format, zone: zone.value }),
                _ => None,
            }
        }
        Some(word) => {
            let kind = plain_kind(&word.value);
            if kind.is_none() {
                let message = format!("\"{name}\": unknown type \"{}\"", word.value);
                reader.fault(Fault::new(&word.at, message).hint(suggest(&word.value, TYPES)));
                return None;
            }
            kind
        }
        None => None,
    };
    let path =
        reader.parsed("path", "write names with points between them, such as \"meta.location.lat\"", member_path);
    reader.finish();
    kind.map(|kind| Declared { kind, path, metadata: None })
}

/// The type of a field that Kafka fills; `zone` is that of a timestamp.
fn metadata_kind(metadata: MessageMetadata, zone: Tz) -> FieldKind {
    match metadata {
        MessageMetadata::Timestamp => FieldKind::Timestamp { format: TimestampFormat::default(), zone },
        MessageMetadata::Topic => FieldKind::String,
        MessageMetadata::Partition => FieldKind::Int,
        MessageMetadata::Offset => FieldKind::Long,
    }
}

fn member_path(text: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = text.split('.').map(str::to_owned).collect();
    if names.iter().any(String::is_empty) {
        return Err(format!("\"{text}\" has an empty name"));
    }
    Ok(names)
}

const ZONE_HINT: &str = "write an IANA name, such as \"America/New_York\" or \"UTC\"";
const FORMAT_HINT: &str = "write a pattern such as \"yyyy-MM-dd HH:mm:ss\", or iso, epoch-s, epoch-ms or epoch-us";

fn plain_kind(word: &str) -> Option<FieldKind> {
    Some(match word {
        "string" => FieldKind::String,
        "int" | "integer" => FieldKind::Int,
        "long" | "bigint" => FieldKind::Long,
        "double" => FieldKind::Double,
        "boolean" => FieldKind::Boolean,
        word => return decimal(word),
    })
}

/// `decimal`, `decimal(p)` or `decimal(p, s)`; the defaults are Spark's: ten digits, none after the point.
fn decimal(word: &str) -> Option<FieldKind> {
    let rest = word.strip_prefix("decimal")?.trim();
    let (precision, scale) = if rest.is_empty() {
        (10, 0)
    } else {
        let inner = rest.strip_prefix('(')?.strip_suffix(')')?;
        let (precision, scale) = inner.split_once(',').unwrap_or((inner, "0"));
        (precision.trim().parse::<u8>().ok()?, scale.trim().parse::<i8>().ok()?)
    };
    let legal = (1..=38).contains(&precision) && (0..=precision as i8).contains(&scale);
    legal.then_some(FieldKind::Decimal { precision, scale })
}

fn zone(name: &str) -> Result<Tz, String> {
    name.parse().map_err(|_| {
        let near = nearest(name, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
        match near {
            Some(near) => format!("unknown zone \"{name}\", perhaps \"{near}\""),
            None => format!("unknown zone \"{name}\""),
        }
    })
}
