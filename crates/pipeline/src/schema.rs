//! The fields of a message and their types: `[source.schema]`.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, TimeUnit};
use chrono_tz::Tz;
use turnstile_values::{nearest, suggest};

use crate::file::read::{Faults, Placed, TableReader};
use crate::file::{Fault, TomlNode, TomlTable, TomlValue};
use crate::pattern::TimestampPattern;

/// One field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name, as the schema spells it. The query may spell it in any letter case.
    pub name: String,
    /// Its type.
    pub kind: FieldKind,
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
    /// `boolean`: `true` or `false` in any letter case.
    Boolean,
    /// `timestamp`: an instant, written as local time of `zone` unless the pattern holds an offset.
    ///
    /// A local time that a clock change repeats means its first occurrence (the offset before the
    /// change); one that a clock change skips is moved forward by the length of the gap. Both are
    /// what Spark does (java.time's `ZonedDateTime.ofLocal`).
    Timestamp {
        /// How it is written.
        format: TimestampPattern,
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
            FieldKind::Boolean => DataType::Boolean,
            FieldKind::Timestamp { zone, .. } => DataType::Timestamp(TimeUnit::Microsecond, Some(zone.name().into())),
        }
    }

    /// Spark's name of the type.
    pub fn spark_name(&self) -> &'static str {
        match self {
            FieldKind::String => "string",
            FieldKind::Int => "integer",
            FieldKind::Long => "long",
            FieldKind::Double => "double",
            FieldKind::Boolean => "boolean",
            FieldKind::Timestamp { .. } => "timestamp",
        }
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

const TYPES: [&str; 8] = ["string", "int", "integer", "long", "bigint", "double", "boolean", "timestamp"];

pub(crate) fn read(node: &TomlNode, faults: &Faults) -> Vec<Field> {
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
        } else if let Some(kind) = read_kind(name, &entry.node, faults) {
            fields.push(Field { name: name.clone(), kind });
        }
    }
    fields
}

fn read_kind(name: &str, node: &TomlNode, faults: &Faults) -> Option<FieldKind> {
    match &node.value {
        TomlValue::Text(word) => plain_kind(word).or_else(|| {
            let fault = if word == "timestamp" {
                Fault::new(&node.at, format!("\"{name}\": a timestamp needs a zone")).hint(
                    "write { type = \"timestamp\", format = \"yyyy-MM-dd HH:mm:ss\", zone = \"America/New_York\" }",
                )
            } else {
                Fault::new(&node.at, format!("\"{name}\": unknown type \"{word}\"")).hint(suggest(word, TYPES))
            };
            faults.borrow_mut().push(fault);
            None
        }),
        TomlValue::Table(table) => read_kind_table(name, node, table, faults),
        other => {
            let message = format!("the type of \"{name}\" must be a string or a table, not {}", other.kind());
            faults.borrow_mut().push(Fault::new(&node.at, message));
            None
        }
    }
}

fn read_kind_table(name: &str, node: &TomlNode, table: &TomlTable, faults: &Faults) -> Option<FieldKind> {
    let mut reader = TableReader::new(node, &format!("source.schema.{name}"), faults)?;
    let word = reader.text("type");
    let word = reader.required("type", word);
    let kind = match word {
        Some(word) if word.value == "timestamp" => {
            let format = if table.get("format").is_some() {
                reader.parsed("format", PATTERN_HINT, |text| {
                    let pattern = TimestampPattern::parse(text)?;
                    pattern.check_readable().map(|()| pattern)
                })
            } else {
                reader.node("format");
                TimestampPattern::parse("yyyy-MM-dd HH:mm:ss")
                    .ok()
                    .map(|value| Placed { value, at: reader.at().clone() })
            };
            let zone = reader.parsed("zone", "write an IANA name, such as \"America/New_York\" or \"UTC\"", zone);
            let zone = reader.required("zone", zone);
            match (format, zone) {
                (Some(format), Some(zone)) => Some(FieldKind::Timestamp { format: format.value, zone: zone.value }),
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
    reader.finish();
    kind
}

const PATTERN_HINT: &str = "write a pattern such as \"yyyy-MM-dd HH:mm:ss\"";

fn plain_kind(word: &str) -> Option<FieldKind> {
    Some(match word {
        "string" => FieldKind::String,
        "int" | "integer" => FieldKind::Int,
        "long" | "bigint" => FieldKind::Long,
        "double" => FieldKind::Double,
        "boolean" => FieldKind::Boolean,
        _ => return None,
    })
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
