//! The text of an Avro schema as a table of types.
//!
//! Source: <https://avro.apache.org/docs/1.12.0/specification/>.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::schema::WriterSchema;

/// Most types that one schema may hold: bounds the memory that a registry's schema can take.
const MAX_TYPES: usize = 10_000;

/// A type's number in its schema.
pub type AvroTypeId = usize;

/// One type of a schema.
#[derive(Debug, Clone, PartialEq)]
pub struct AvroType {
    /// How its values are encoded.
    pub shape: AvroShape,
    /// The logical type of its values, when it is one that matters here.
    pub logical: Option<LogicalType>,
}

/// How a value is encoded.
#[derive(Debug, Clone, PartialEq)]
pub enum AvroShape {
    /// No bytes.
    Null,
    /// A byte, 0 or 1.
    Boolean,
    /// A zigzag number of variable length, of 32 bits.
    Int,
    /// Likewise, of 64 bits.
    Long,
    /// Four bytes, the lowest first.
    Float,
    /// Eight bytes, the lowest first.
    Double,
    /// A length, a long, and the bytes.
    Bytes,
    /// Likewise; the bytes are UTF-8.
    String,
    /// So many bytes.
    Fixed(usize),
    /// The number of one of these symbols, an int.
    Enum(Vec<String>),
    /// Blocks of items: their number, a long, and the items; a block of none is the last.
    Array(AvroTypeId),
    /// Likewise, each value after its key, a string.
    Map(AvroTypeId),
    /// The number of one of these types, a long, and a value of it.
    Union(Vec<AvroTypeId>),
    /// The values of these fields, one after another.
    Record(Vec<(String, AvroTypeId)>),
}

/// Logical types that decide how a value is converted; the others are read as the type that they annotate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogicalType {
    /// Days since 1970-01-01.
    Date,
    /// An instant; the number is how many of its units make a second.
    Timestamp(i64),
    /// A wall clock's time, likewise.
    LocalTimestamp(i64),
    /// A decimal number with so many digits after the point.
    Decimal(i64),
}

/// A schema: its types, the first of which the message itself has.
#[derive(Debug)]
pub struct AvroSchema {
    types: Vec<AvroType>,
    root: AvroTypeId,
}

impl AvroSchema {
    /// Reads a schema and those that it refers to.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(schema: &WriterSchema) -> Result<Self, String> {
        let mut parser = AvroSchemaParser { types: Vec::new(), names: HashMap::new() };
        for reference in &schema.references {
            parser.text(reference)?;
        }
        let root = parser.text(&schema.text)?;
        Ok(Self { types: parser.types, root })
    }

    /// A type by its number.
    ///
    /// # Panics
    /// The number is not of this schema.
    pub fn get(&self, id: AvroTypeId) -> &AvroType {
        &self.types[id]
    }

    /// The type of a message.
    pub fn root(&self) -> AvroTypeId {
        self.root
    }
}

impl AvroType {
    /// The type's name for error messages.
    pub fn name(&self) -> &'static str {
        match (&self.shape, self.logical) {
            (AvroShape::Int, Some(LogicalType::Date)) => "a date",
            (AvroShape::Long, Some(LogicalType::Timestamp(_))) => "a timestamp",
            (AvroShape::Long, Some(LogicalType::LocalTimestamp(_))) => "a local timestamp",
            (AvroShape::Bytes | AvroShape::Fixed(_), Some(LogicalType::Decimal(_))) => "a decimal",
            (shape, _) => match shape {
                AvroShape::Null => "null",
                AvroShape::Boolean => "a boolean",
                AvroShape::Int => "an int",
                AvroShape::Long => "a long",
                AvroShape::Float => "a float",
                AvroShape::Double => "a double",
                AvroShape::Bytes => "bytes",
                AvroShape::String => "a string",
                AvroShape::Fixed(_) => "fixed bytes",
                AvroShape::Enum(_) => "an enum",
                AvroShape::Array(_) => "an array",
                AvroShape::Map(_) => "a map",
                AvroShape::Union(_) => "a union",
                AvroShape::Record(_) => "a record",
            },
        }
    }
}

struct AvroSchemaParser {
    types: Vec<AvroType>,
    /// Named types by their full names.
    names: HashMap<String, AvroTypeId>,
}

impl AvroSchemaParser {
    fn text(&mut self, text: &str) -> Result<AvroTypeId, String> {
        // A schema that is a single type name may come without quotes.
        let value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(_) if text.chars().all(|c| c.is_ascii_alphabetic()) => Value::String(text.to_owned()),
            Err(error) => return Err(format!("its text is not JSON: {error}")),
        };
        self.read(&value, "")
    }

    fn read(&mut self, value: &Value, namespace: &str) -> Result<AvroTypeId, String> {
        match value {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|b| self.read(b, namespace)).collect::<Result<_, _>>()?;
                self.add(AvroShape::Union(branches), None)
            }
            Value::Object(object) => self.object(object, namespace),
            other => Err(format!("{other} is not a type")),
        }
    }

    /// A primitive type, or one that was defined before.
    fn named(&mut self, name: &str, namespace: &str) -> Result<AvroTypeId, String> {
        if let Some(shape) = primitive(name) {
            return self.add(shape, None);
        }
        let full = full_name(name, namespace);
        let found = self.names.get(&full).or_else(|| self.names.get(name));
        found.copied().ok_or_else(|| format!("it uses the type \"{name}\", which it does not define"))
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<AvroTypeId, String> {
        let name = match object.get("type") {
            Some(Value::String(name)) => name.as_str(),
            // An annotation around a type: {"type": {"type": "long", …}}.
            Some(inner) => return self.read(inner, namespace),
            None => return Err("a type has no name".to_owned()),
        };
        let inner = |key: &str| object.get(key).ok_or_else(|| format!("an {name} has no \"{key}\""));
        let logical = logical(name, object);
        match name {
            "array" => {
                let items = self.read(inner("items")?, namespace)?;
                self.add(AvroShape::Array(items), None)
            }
            "map" => {
                let values = self.read(inner("values")?, namespace)?;
                self.add(AvroShape::Map(values), None)
            }
            "record" | "error" => self.record(object, namespace),
            "enum" => {
                let symbols = list(object, "symbols")?.iter().map(|s| s.as_str().map(str::to_owned));
                let symbols = symbols.collect::<Option<_>>().ok_or("an enum's symbols are not strings")?;
                let id = self.add(AvroShape::Enum(symbols), None)?;
                self.define(object, namespace, id)
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
                let id = self.add(AvroShape::Fixed(size.ok_or("a fixed type has no size")?), logical)?;
                self.define(object, namespace, id)
            }
            name => match primitive(name) {
                Some(shape) => self.add(shape, logical),
                None => self.named(name, namespace),
            },
        }
    }

    fn record(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<AvroTypeId, String> {
        // Its number is assigned first, because its fields may refer to it.
        let id = self.add(AvroShape::Record(Vec::new()), None)?;
        self.define(object, namespace, id)?;
        let own = full_name(name_of(object)?, namespace_of(object, namespace));
        let inside = own.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let mut fields: Vec<(String, AvroTypeId)> = Vec::new();
        for field in list(object, "fields")? {
            let name = field.get("name").and_then(Value::as_str).ok_or("a field has no name")?;
            let kind = field.get("type").ok_or_else(|| format!("the field {name} has no type"))?;
            if fields.iter().any(|(known, _)| known == name) {
                return Err(format!("the field {name} is defined twice"));
            }
            fields.push((name.to_owned(), self.read(kind, inside)?));
        }
        self.types[id].shape = AvroShape::Record(fields);
        Ok(id)
    }

    fn define(&mut self, object: &Map<String, Value>, namespace: &str, id: AvroTypeId) -> Result<AvroTypeId, String> {
        self.names.insert(full_name(name_of(object)?, namespace_of(object, namespace)), id);
        Ok(id)
    }

    fn add(&mut self, shape: AvroShape, logical: Option<LogicalType>) -> Result<AvroTypeId, String> {
        if self.types.len() == MAX_TYPES {
            return Err(format!("it contains more than {MAX_TYPES} types"));
        }
        self.types.push(AvroType { shape, logical });
        Ok(self.types.len() - 1)
    }
}

fn primitive(name: &str) -> Option<AvroShape> {
    Some(match name {
        "null" => AvroShape::Null,
        "boolean" => AvroShape::Boolean,
        "int" => AvroShape::Int,
        "long" => AvroShape::Long,
        "float" => AvroShape::Float,
        "double" => AvroShape::Double,
        "bytes" => AvroShape::Bytes,
        "string" => AvroShape::String,
        _ => return None,
    })
}

/// The specification says to ignore a logical type that does not fit the type it annotates.
fn logical(name: &str, object: &Map<String, Value>) -> Option<LogicalType> {
    Some(match (name, object.get("logicalType")?.as_str()?) {
        ("int", "date") => LogicalType::Date,
        ("long", "timestamp-millis") => LogicalType::Timestamp(1_000),
        ("long", "timestamp-micros") => LogicalType::Timestamp(1_000_000),
        ("long", "timestamp-nanos") => LogicalType::Timestamp(1_000_000_000),
        ("long", "local-timestamp-millis") => LogicalType::LocalTimestamp(1_000),
        ("long", "local-timestamp-micros") => LogicalType::LocalTimestamp(1_000_000),
        ("long", "local-timestamp-nanos") => LogicalType::LocalTimestamp(1_000_000_000),
        ("bytes" | "fixed", "decimal") => {
            let number = |key: &str| object.get(key).map_or(Some(0), Value::as_i64);
            let (precision, scale) = (number("precision")?, number("scale")?);
            return (precision > 0 && (0..=precision).contains(&scale)).then_some(LogicalType::Decimal(scale));
        }
        _ => return None,
    })
}

fn list<'a>(object: &'a Map<String, Value>, key: &str) -> Result<&'a [Value], String> {
    object.get(key).and_then(Value::as_array).map(Vec::as_slice).ok_or_else(|| format!("a type has no list \"{key}\""))
}

fn name_of(object: &Map<String, Value>) -> Result<&str, String> {
    object.get("name").and_then(Value::as_str).ok_or_else(|| "a record, enum or fixed type has no name".to_owned())
}

fn namespace_of<'a>(object: &'a Map<String, Value>, enclosing: &'a str) -> &'a str {
    object.get("namespace").and_then(Value::as_str).unwrap_or(enclosing)
}

fn full_name(name: &str, namespace: &str) -> String {
    match name.contains('.') || namespace.is_empty() {
        true => name.trim_start_matches('.').to_owned(),
        false => format!("{namespace}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::SchemaKind;

    fn schema(text: &str, references: &[&str]) -> Result<AvroSchema, String> {
        let references = references.iter().map(|text| (*text).to_owned()).collect();
        AvroSchema::parse(&WriterSchema { kind: SchemaKind::Avro, text: text.to_owned(), references })
    }

    fn fields(schema: &AvroSchema) -> Vec<(&str, &AvroType)> {
        let AvroShape::Record(fields) = &schema.get(schema.root()).shape else { panic!("no record") };
        fields.iter().map(|(name, id)| (name.as_str(), schema.get(*id))).collect()
    }

    #[test]
    fn logical_types_count_only_on_what_they_may_annotate() {
        let schema = schema(
            r#"{"type": "record", "name": "r", "fields": [
                {"name": "a", "type": {"type": "long", "logicalType": "timestamp-millis"}},
                {"name": "b", "type": {"type": "string", "logicalType": "timestamp-millis"}},
                {"name": "c", "type": {"type": {"type": "int", "logicalType": "date"}}}]}"#,
            &[],
        );
        let schema = schema.unwrap();
        let logical: Vec<_> = fields(&schema).into_iter().map(|(_, kind)| kind.logical).collect();
        assert_eq!(logical, [Some(LogicalType::Timestamp(1_000)), None, Some(LogicalType::Date)]);
    }

    #[test]
    fn names_resolve_in_their_namespace_recursively_and_in_references() {
        let tree = schema(
            r#"{"type": "record", "name": "Node", "namespace": "a.b", "fields": [
                {"name": "next", "type": ["null", "Node"]},
                {"name": "colour", "type": {"type": "enum", "name": "Colour", "symbols": ["RED"]}},
                {"name": "again", "type": "a.b.Colour"},
                {"name": "other", "type": "c.Other"}]}"#,
            &[r#"{"type": "fixed", "name": "c.Other", "size": 4}"#],
        );
        let tree = tree.unwrap();
        let names: Vec<_> = fields(&tree).into_iter().map(|(_, kind)| kind.name()).collect();
        assert_eq!(names, ["a union", "an enum", "an enum", "fixed bytes"]);
        let AvroShape::Union(branches) = &fields(&tree)[0].1.shape else { panic!("no union") };
        assert_eq!(branches[1], tree.root());
    }

    #[test]
    fn an_invalid_schema_is_refused_with_the_reason() {
        for (text, fault) in [
            ("{", "its text is not JSON: EOF while parsing an object at line 1 column 1"),
            (r#"{"type": "array"}"#, "an array has no \"items\""),
            (r#""Nowhere""#, "it uses the type \"Nowhere\", which it does not define"),
            ("7", "7 is not a type"),
            (r#"{"type": "record", "name": "r"}"#, "a type has no list \"fields\""),
            (r#"{"type": "fixed", "name": "f"}"#, "a fixed type has no size"),
            (
                r#"{"type": "record", "name": "r", "fields": [{"name": "a", "type": "int"}, {"name": "a", "type": "int"}]}"#,
                "the field a is defined twice",
            ),
        ] {
            assert_eq!(schema(text, &[]).unwrap_err(), fault, "{text}");
        }
        assert!(schema("string", &[]).is_ok(), "a type name without quotes");
        let many = format!("[{}]", vec!["\"int\""; MAX_TYPES + 1].join(","));
        assert_eq!(schema(&many, &[]).unwrap_err(), "it contains more than 10000 types");
    }
}
