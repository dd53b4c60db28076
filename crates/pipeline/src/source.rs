//! Where messages come from and how their bytes become rows: `[source]`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use arrow::datatypes::{DataType, TimeUnit};
use chrono_tz::Tz;

use crate::file::read::{Faults, Placed, Reader};
use crate::file::{Fault, Node, Table, Value};
use crate::pattern::TimestampPattern;
use crate::properties::Properties;
use crate::topics::{self, Topics};
use turnstile_values::{nearest, suggest};

/// How often new partitions are looked for by default: every ten seconds.
const DISCOVER_US: i64 = 10_000_000;

/// `[source]`: the topic and the form of its messages.
#[derive(Debug, Clone)]
pub struct Source {
    /// The Kafka topics.
    pub topics: Topics,
    /// How often to look for new partitions and topics, in microseconds. `None`: never.
    pub discover_us: Option<i64>,
    /// Client settings by Kafka's own names. They win over those of `properties`.
    pub kafka: Properties,
    /// A Java-style properties file with client settings, as written (a leading `~` is not expanded here).
    pub properties: Option<PathBuf>,
    /// The name that the query's FROM gives to the stream.
    pub table: String,
    /// How a message's value is written.
    pub format: Format,
    /// The fields, in the order of the CSV.
    pub schema: Vec<Field>,
    /// What to do with fields that the schema does not have.
    pub extra_fields: Policy,
    /// The schema registry; there exactly for the formats that use one.
    pub registry: Option<RegistrySettings>,
}

/// How a message's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
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

impl Format {
    /// The word in the pipeline file.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Json => "json",
            Format::Avro => "avro",
            Format::JsonSchema => "json-schema",
        }
    }

    /// Whether its messages name their schema by an id in a registry.
    pub fn uses_registry(self) -> bool {
        matches!(self, Format::Avro | Format::JsonSchema)
    }
}

/// `[source.registry]`: the schema registry that messages' schema ids belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Where it answers, `http://` or `https://`, without a user in it.
    pub url: String,
    /// Who asks, when it wants to know.
    pub user: Option<String>,
    /// Where the user's password is.
    pub password: Option<PasswordSource>,
}

/// Where a password is to be found; never the password itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// In this environment variable.
    Environment(String),
    /// In this file: its first line.
    File(PathBuf),
}

/// What to do with something that was not declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The message goes to the dead letters.
    Error,
    /// The rest of the message counts.
    Ignore,
}

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

/// Reads `[source]`. The fields come back even when something else in the section is wrong.
pub(crate) fn read(node: &Node, faults: &Faults) -> (Option<Source>, Fields) {
    let Some(mut reader) = Reader::new(node, "source", faults) else {
        return (None, Fields { fields: Vec::new(), broken: true });
    };
    let topics = topics::read(&mut reader);
    let discover_us = reader.duration_or_off("discover").unwrap_or(Some(DISCOVER_US));
    let kafka = reader.properties("kafka");
    let properties = reader.text("properties").map(|path| PathBuf::from(path.value));
    let table = reader.parsed("table", "write a plain SQL name, such as \"turnstile\"", table_name);
    let format = reader.choice("format", &FORMATS);
    let format = reader.required("format", format);
    let extra_fields = reader.choice("extra_fields", &[("error", Policy::Error), ("ignore", Policy::Ignore)]);
    // Avro's own rule: a reader leaves out what its schema does not name.
    let usual = if format.as_ref() == Some(&Format::Avro) { Policy::Ignore } else { Policy::Error };
    let registry = read_registry(&mut reader, format, faults);
    let schema = reader.node("schema");
    let schema = reader.required("schema", schema);
    let before = faults.borrow().len();
    let fields = schema.map(|node| read_schema(node, faults)).unwrap_or_default();
    let broken = schema.is_none() || faults.borrow().len() > before;
    reader.finish();
    let source = match (topics, format) {
        (Some(topics), Some(format)) => Some(Source {
            topics,
            discover_us,
            kafka: kafka.into(),
            properties,
            table: table.map_or_else(|| "turnstile".to_owned(), |table| table.value),
            format,
            schema: fields.clone(),
            extra_fields: extra_fields.unwrap_or(usual),
            registry,
        }),
        _ => None,
    };
    (source, Fields { fields, broken })
}

const FORMATS: [(&str, Format); 4] =
    [("csv", Format::Csv), ("json", Format::Json), ("avro", Format::Avro), ("json-schema", Format::JsonSchema)];

/// `[source.registry]`, which the formats that use one need and the others have no use for.
fn read_registry(reader: &mut Reader<'_>, format: Option<Format>, faults: &Faults) -> Option<RegistrySettings> {
    let node = reader.node("registry");
    match (node, format) {
        (Some(node), Some(format)) if !format.uses_registry() => {
            let message = format!("messages of format \"{}\" have no schema in a registry", format.as_str());
            reader.fault(
                Fault::new(&node.at, message).hint("leave [source.registry] out, or use \"avro\" or \"json-schema\""),
            );
            None
        }
        (Some(node), _) => read_registry_table(node, faults),
        (None, Some(format)) if format.uses_registry() => {
            let message = format!("format \"{}\" needs [source.registry]", format.as_str());
            reader.fault(Fault::new(reader.at(), message).hint("write registry = { url = \"http://localhost:8081\" }"));
            None
        }
        (None, _) => None,
    }
}

fn read_registry_table(node: &Node, faults: &Faults) -> Option<RegistrySettings> {
    let mut reader = Reader::new(node, "source.registry", faults)?;
    let url =
        reader.parsed("url", "write http://host:port or https://host, as the registry's own clients do", registry_url);
    let url = reader.required("url", url);
    let user = reader.text("user");
    let environment = reader.text("password_env");
    let file = reader.text("password_file");
    if let (Some(_), Some(file)) = (&environment, &file) {
        reader.fault(Fault::new(&file.at, "password_env and password_file are both there").hint("write one of them"));
    }
    let password = environment
        .map(|name| Placed { value: PasswordSource::Environment(name.value), at: name.at })
        .or(file.map(|path| Placed { value: PasswordSource::File(path.value.into()), at: path.at }));
    match (&user, &password) {
        (Some(user), None) => {
            let fault = Fault::new(&user.at, "user has no password");
            reader.fault(fault.hint("write password_env = \"NAME\" or password_file = \"path\""));
        }
        (None, Some(password)) => {
            reader.fault(Fault::new(&password.at, "a password without a user").hint("write user"))
        }
        _ => {}
    }
    reader.finish();
    Some(RegistrySettings {
        url: url?.value,
        user: user.map(|user| user.value),
        password: password.map(|password| password.value),
    })
}

/// The url is never repeated in an error: one with a password in it would show it.
fn registry_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some(rest) = rest else { return Err("it begins with neither http:// nor https://".to_owned()) };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("it holds a user: write user, and password_env or password_file, instead".to_owned());
    }
    if authority.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it names no host".to_owned());
    }
    if rest.contains(['?', '#']) {
        return Err("it has a query or a fragment".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn table_name(name: &str) -> Result<String, String> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !plain || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(format!("\"{name}\" is not a plain SQL name"));
    }
    Ok(name.to_owned())
}

const TYPES: [&str; 8] = ["string", "int", "integer", "long", "bigint", "double", "boolean", "timestamp"];

fn read_schema(node: &Node, faults: &Faults) -> Vec<Field> {
    let fault = |fault: Fault| faults.borrow_mut().push(fault);
    let Value::Table(table) = &node.value else {
        fault(Fault::new(&node.at, format!("[source.schema] must be a table, not {}", node.value.kind())));
        return Vec::new();
    };
    if table.entries.is_empty() {
        fault(Fault::new(&node.at, "[source.schema] names no field"));
    }
    let mut seen = BTreeSet::new();
    let mut fields = Vec::new();
    for entry in &table.entries {
        let name = &entry.key;
        if name.is_empty() || name.starts_with("__") || name.eq_ignore_ascii_case("window") {
            let message = format!("a field cannot be called \"{name}\"");
            fault(Fault::new(&entry.key_at, message).hint("\"window\" and names that begin with __ have a meaning"));
        } else if !seen.insert(name.to_lowercase()) {
            let message = format!("the field \"{name}\" is there twice");
            fault(Fault::new(&entry.key_at, message).hint("letter case does not tell fields apart in SQL"));
        } else if let Some(kind) = read_kind(name, &entry.node, faults) {
            fields.push(Field { name: name.clone(), kind });
        }
    }
    fields
}

fn read_kind(name: &str, node: &Node, faults: &Faults) -> Option<FieldKind> {
    match &node.value {
        Value::Text(word) => plain_kind(word).or_else(|| {
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
        Value::Table(table) => read_kind_table(name, node, table, faults),
        other => {
            let message = format!("the type of \"{name}\" must be a string or a table, not {}", other.kind());
            faults.borrow_mut().push(Fault::new(&node.at, message));
            None
        }
    }
}

fn read_kind_table(name: &str, node: &Node, table: &Table, faults: &Faults) -> Option<FieldKind> {
    let mut reader = Reader::new(node, &format!("source.schema.{name}"), faults)?;
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
