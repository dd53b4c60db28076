//! The text of an Avro schema as a table of types.
//!
//! Source: <https://avro.apache.org/docs/1.12.0/specification/>.

use hashbrown::HashMap;
use serde_json::{Map, Value};
use turnstile_message::WriterSchema;

/// Most types that one schema may hold: a bound on what a registry can make us keep.
const MAX_TYPES: usize = 10_000;

/// A type's number in its schema.
pub(crate) type TypeId = usize;

/// One type of a schema.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Type {
    pub(crate) shape: Shape,
    /// What its values mean beyond their encoding, when that is known here.
    pub(crate) logical: Option<Logical>,
}

/// How a value is encoded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    Enum(Vec<String>),
    Array(TypeId),
    Map(TypeId),
    Union(Vec<TypeId>),
    Record(Vec<(String, TypeId)>),
}

/// Logical types that decide how a value becomes one of ours; the others are read as what they annotate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logical {
    /// Days since 1970-01-01.
    Date,
    /// An instant; the number is how many of its units make a second.
    Timestamp(i64),
    /// A wall clock's time, likewise.
    LocalTimestamp(i64),
    Decimal,
}

/// A schema: its types, the first of which the message itself has.
#[derive(Debug)]
pub(crate) struct Schema {
    types: Vec<Type>,
    root: TypeId,
}

impl Schema {
    /// Reads a schema and those that it refers to.
    ///
    /// # Errors
    /// What is wrong with it, in a person's words.
    pub(crate) fn parse(schema: &WriterSchema) -> Result<Self, String> {
        let mut parser = Parser { types: Vec::new(), names: HashMap::new() };
        for reference in &schema.references {
            parser.text(reference)?;
        }
        let root = parser.text(&schema.text)?;
        Ok(Self { types: parser.types, root })
    }

    pub(crate) fn get(&self, id: TypeId) -> &Type {
        &self.types[id]
    }

    /// The type of a message.
    pub(crate) fn root(&self) -> TypeId {
        self.root
    }
}

impl Type {
    /// The type in a person's words.
    pub(crate) fn name(&self) -> &'static str {
        match (&self.shape, self.logical) {
            (Shape::Int, Some(Logical::Date)) => "a date",
            (Shape::Long, Some(Logical::Timestamp(_))) => "a timestamp",
            (Shape::Long, Some(Logical::LocalTimestamp(_))) => "a local timestamp",
            (Shape::Bytes | Shape::Fixed(_), Some(Logical::Decimal)) => "a decimal",
            (shape, _) => match shape {
                Shape::Null => "null",
                Shape::Boolean => "a boolean",
                Shape::Int => "an int",
                Shape::Long => "a long",
                Shape::Float => "a float",
                Shape::Double => "a double",
                Shape::Bytes => "bytes",
                Shape::String => "a string",
                Shape::Fixed(_) => "fixed bytes",
                Shape::Enum(_) => "an enum",
                Shape::Array(_) => "an array",
                Shape::Map(_) => "a map",
                Shape::Union(_) => "a union",
                Shape::Record(_) => "a record",
            },
        }
    }
}

struct Parser {
    types: Vec<Type>,
    /// Named types by their full names.
    names: HashMap<String, TypeId>,
}

impl Parser {
    fn text(&mut self, text: &str) -> Result<TypeId, String> {
        // A schema that is one word may come without its quotes.
        let value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(_) if text.chars().all(|c| c.is_ascii_alphabetic()) => Value::String(text.to_owned()),
            Err(error) => return Err(format!("its text is not JSON: {error}")),
        };
        self.read(&value, "")
    }

    fn read(&mut self, value: &Value, namespace: &str) -> Result<TypeId, String> {
        match value {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|b| self.read(b, namespace)).collect::<Result<_, _>>()?;
                self.add(Shape::Union(branches), None)
            }
            Value::Object(object) => self.object(object, namespace),
            other => Err(format!("{other} is no type")),
        }
    }

    /// A primitive type, or one that was defined before.
    fn named(&mut self, name: &str, namespace: &str) -> Result<TypeId, String> {
        if let Some(shape) = primitive(name) {
            return self.add(shape, None);
        }
        let full = full_name(name, namespace);
        let found = self.names.get(&full).or_else(|| self.names.get(name));
        found.copied().ok_or_else(|| format!("it uses the type \"{name}\", which it does not define"))
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<TypeId, String> {
        let word = match object.get("type") {
            Some(Value::String(word)) => word.as_str(),
            // An annotation around a type: {"type": {"type": "long", …}}.
            Some(inner) => return self.read(inner, namespace),
            None => return Err("a type does not say which".to_owned()),
        };
        let inner = |key: &str| object.get(key).ok_or_else(|| format!("an {word} has no \"{key}\""));
        let logical = logical(word, object);
        match word {
            "array" => {
                let items = self.read(inner("items")?, namespace)?;
                self.add(Shape::Array(items), None)
            }
            "map" => {
                let values = self.read(inner("values")?, namespace)?;
                self.add(Shape::Map(values), None)
            }
            "record" | "error" => self.record(object, namespace),
            "enum" => {
                let symbols = list(object, "symbols")?.iter().map(|s| s.as_str().map(str::to_owned));
                let symbols = symbols.collect::<Option<_>>().ok_or("an enum's symbols are not strings")?;
                let id = self.add(Shape::Enum(symbols), None)?;
                self.define(object, namespace, id)
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
                let id = self.add(Shape::Fixed(size.ok_or("a fixed type has no size")?), logical)?;
                self.define(object, namespace, id)
            }
            word => match primitive(word) {
                Some(shape) => self.add(shape, logical),
                None => self.named(word, namespace),
            },
        }
    }

    fn record(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<TypeId, String> {
        // Its number is given out first: its fields may hold it again.
        let id = self.add(Shape::Record(Vec::new()), None)?;
        self.define(object, namespace, id)?;
        let own = full_name(name_of(object)?, namespace_of(object, namespace));
        let inside = own.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let mut fields: Vec<(String, TypeId)> = Vec::new();
        for field in list(object, "fields")? {
            let name = field.get("name").and_then(Value::as_str).ok_or("a field has no name")?;
            let kind = field.get("type").ok_or_else(|| format!("the field {name} has no type"))?;
            if fields.iter().any(|(known, _)| known == name) {
                return Err(format!("the field {name} is there twice"));
            }
            fields.push((name.to_owned(), self.read(kind, inside)?));
        }
        self.types[id].shape = Shape::Record(fields);
        Ok(id)
    }

    fn define(&mut self, object: &Map<String, Value>, namespace: &str, id: TypeId) -> Result<TypeId, String> {
        self.names.insert(full_name(name_of(object)?, namespace_of(object, namespace)), id);
        Ok(id)
    }

    fn add(&mut self, shape: Shape, logical: Option<Logical>) -> Result<TypeId, String> {
        if self.types.len() == MAX_TYPES {
            return Err(format!("it holds more than {MAX_TYPES} types"));
        }
        self.types.push(Type { shape, logical });
        Ok(self.types.len() - 1)
    }
}

fn primitive(word: &str) -> Option<Shape> {
    Some(match word {
        "null" => Shape::Null,
        "boolean" => Shape::Boolean,
        "int" => Shape::Int,
        "long" => Shape::Long,
        "float" => Shape::Float,
        "double" => Shape::Double,
        "bytes" => Shape::Bytes,
        "string" => Shape::String,
        _ => return None,
    })
}

/// A logical type that does not fit what it annotates counts for nothing, says the specification.
fn logical(word: &str, object: &Map<String, Value>) -> Option<Logical> {
    Some(match (word, object.get("logicalType")?.as_str()?) {
        ("int", "date") => Logical::Date,
        ("long", "timestamp-millis") => Logical::Timestamp(1_000),
        ("long", "timestamp-micros") => Logical::Timestamp(1_000_000),
        ("long", "timestamp-nanos") => Logical::Timestamp(1_000_000_000),
        ("long", "local-timestamp-millis") => Logical::LocalTimestamp(1_000),
        ("long", "local-timestamp-micros") => Logical::LocalTimestamp(1_000_000),
        ("long", "local-timestamp-nanos") => Logical::LocalTimestamp(1_000_000_000),
        ("bytes" | "fixed", "decimal") => Logical::Decimal,
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
    use turnstile_message::SchemaKind;

    fn schema(text: &str, references: &[&str]) -> Result<Schema, String> {
        let references = references.iter().map(|text| (*text).to_owned()).collect();
        Schema::parse(&WriterSchema { kind: SchemaKind::Avro, text: text.to_owned(), references })
    }

    fn fields(schema: &Schema) -> Vec<(&str, &Type)> {
        let Shape::Record(fields) = &schema.get(schema.root()).shape else { panic!("no record") };
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
        assert_eq!(logical, [Some(Logical::Timestamp(1_000)), None, Some(Logical::Date)]);
    }

    #[test]
    fn names_are_found_in_their_namespace_in_themselves_and_in_references() {
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
        let Shape::Union(branches) = &fields(&tree)[0].1.shape else { panic!("no union") };
        assert_eq!(branches[1], tree.root());
    }

    #[test]
    fn what_is_no_schema_is_said() {
        for (text, fault) in [
            ("{", "its text is not JSON: EOF while parsing an object at line 1 column 1"),
            (r#"{"type": "array"}"#, "an array has no \"items\""),
            (r#""Nowhere""#, "it uses the type \"Nowhere\", which it does not define"),
            ("7", "7 is no type"),
            (r#"{"type": "record", "name": "r"}"#, "a type has no list \"fields\""),
            (r#"{"type": "fixed", "name": "f"}"#, "a fixed type has no size"),
            (
                r#"{"type": "record", "name": "r", "fields": [{"name": "a", "type": "int"}, {"name": "a", "type": "int"}]}"#,
                "the field a is there twice",
            ),
        ] {
            assert_eq!(schema(text, &[]).unwrap_err(), fault, "{text}");
        }
        assert!(schema("string", &[]).is_ok(), "a word without quotes");
        let many = format!("[{}]", vec!["\"int\""; MAX_TYPES + 1].join(","));
        assert_eq!(schema(&many, &[]).unwrap_err(), "it holds more than 10000 types");
    }
}
