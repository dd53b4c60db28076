//! Decodes one JSON object straight into columns, borrowing text where it has no escapes.

use std::borrow::Cow;
use std::fmt;

use serde_core::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::column_builder::ColumnBuilder;
use super::decode_plan::DecodePlan;
use super::field_target::FieldTarget;
use super::json_keys::{JsonKeys, JsonMember};
use super::rejection::{Reason, Rejection};
use super::text_view::TextBuffer;

/// Decodes the object in `buffer[start..start + len]` into `row`'s columns, one value each; missing ones
/// become null.
pub(crate) fn decode(buffer: &[u8], start: usize, len: usize, row: JsonRow<'_>) -> Result<(), Rejection> {
    row.seen.clear();
    row.seen.resize(row.columns.len() + row.plan.json_objects, false);
    let mut problem = None;
    let JsonRow { plan, columns, seen, unescaped } = row;
    let object = JsonObject {
        buffer,
        keys: &plan.json_keys,
        row: JsonRow { plan, columns: &mut *columns, seen: &mut *seen, unescaped },
        problem: &mut problem,
    };
    let text = &buffer[start..start + len];
    let mut reader = serde_json::Deserializer::from_slice(text);
    let result = object.deserialize(&mut reader).and_then(|()| reader.end());
    if let Some(problem) = problem {
        return Err(problem.rejection(text, plan));
    }
    result.map_err(|e| Rejection::new(Reason::Json, None, e.to_string()))?;
    for (column, seen) in columns.iter_mut().zip(seen) {
        if !*seen {
            column.push_null();
        }
    }
    Ok(())
}

/// Where an object's values go.
pub(crate) struct JsonRow<'a> {
    pub(crate) plan: &'a DecodePlan,
    pub(crate) columns: &'a mut [ColumnBuilder],
    /// Scratch: which columns have their value, and then which inner objects were read.
    pub(crate) seen: &'a mut Vec<bool>,
    pub(crate) unescaped: &'a mut Vec<u8>,
}

/// What is wrong with a member.
enum JsonProblem {
    /// The members that lead there, innermost first, and what is wrong with the last.
    Member(Vec<String>, &'static str),
    /// A column's value has another type: what was found.
    Type(usize, Found),
    /// The members that lead to what should be an object, innermost first, and what was found.
    NoObject(Vec<String>, String),
}

/// A value that does not fit.
enum Found {
    /// As it is to be shown.
    Shown(String),
    /// A number, to be shown as the message writes it.
    Number,
}

struct JsonObject<'a> {
    buffer: &'a [u8],
    keys: &'a JsonKeys,
    row: JsonRow<'a>,
    problem: &'a mut Option<JsonProblem>,
}

impl JsonProblem {
    #[cold]
    fn rejection(self, text: &[u8], plan: &DecodePlan) -> Rejection {
        let dotted = |path: &[String]| path.iter().rev().map(String::as_str).collect::<Vec<_>>().join(".");
        match self {
            Self::Member(path, detail) => Rejection::new(Reason::Fields, Some(&dotted(&path)), detail),
            Self::NoObject(path, found) => {
                Rejection::new(Reason::Type, Some(&dotted(&path)), format!("expected an object, found {found}"))
            }
            Self::Type(column, found) => {
                let field = plan.field_of[column];
                let found = match found {
                    Found::Shown(found) => found,
                    Found::Number => member_text(text, &plan.paths[field]).unwrap_or("a number").to_owned(),
                };
                let detail = format!("expected {}, found {found}", plan.types[field].name());
                Rejection::new(Reason::Type, Some(&plan.names[field]), detail)
            }
        }
    }

    /// Puts the name of the enclosing member before the names in it.
    fn inside(&mut self, name: &str) {
        if let Self::Member(path, _) | Self::NoObject(path, _) = self {
            path.push(name.to_owned());
        }
    }
}

/// The member at the end of `path` as the message writes it.
fn member_text<'a>(object: &'a [u8], path: &[String]) -> Option<&'a str> {
    let (name, inner) = path.split_first()?;
    let mut found = None;
    // What follows the member may be malformed.
    let _ = MemberSearch { name, found: &mut found }.deserialize(&mut serde_json::Deserializer::from_slice(object));
    let text = found?;
    if inner.is_empty() { Some(text) } else { member_text(text.as_bytes(), inner) }
}

/// Finds the first member of a name.
struct MemberSearch<'a, 'de> {
    name: &'a str,
    found: &'a mut Option<&'de str>,
}

impl<'de> DeserializeSeed<'de> for MemberSearch<'_, 'de> {
    type Value = ();

    fn deserialize<D: serde_core::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MemberSearch<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let value = map.next_value::<&'de RawValue>()?;
            if self.found.is_none() && name == self.name {
                *self.found = Some(value.get());
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for JsonObject<'_> {
    type Value = ();

    fn deserialize<D: serde_core::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for JsonObject<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let result = match self.keys.get(name.as_ref()) {
                Some(JsonMember::Field(FieldTarget::Column(at))) => self.value(*at, &mut map),
                Some(JsonMember::Object(at, keys)) => self.object(*at, keys, &mut map),
                None if self.row.plan.extra_is_error => {
                    *self.problem = Some(JsonProblem::Member(Vec::new(), "the schema has no such field"));
                    Err(A::Error::custom("unknown field"))
                }
                Some(JsonMember::Field(FieldTarget::Unused)) | None => map.next_value::<IgnoredAny>().map(drop),
            };
            if result.is_err()
                && let Some(problem) = self.problem.as_mut()
            {
                problem.inside(&name);
            }
            result?;
        }
        Ok(())
    }
}

impl JsonObject<'_> {
    /// Appends the next value of `map` to column `at`.
    #[inline]
    fn value<'de, A: MapAccess<'de>>(&mut self, at: usize, map: &mut A) -> Result<(), A::Error> {
        self.refuse_second(at)?;
        let column = &mut self.row.columns[at];
        let value = JsonValue { buffer: self.buffer, column, unescaped: self.row.unescaped };
        let mismatch = if value.column.takes_number_text() {
            value.text(map.next_value::<&'de RawValue>()?.get())
        } else {
            map.next_value_seed(value)?
        };
        match mismatch {
            None => Ok(()),
            Some(found) => {
                *self.problem = Some(JsonProblem::Type(at, found));
                Err(A::Error::custom("type"))
            }
        }
    }

    /// Refuses a member that was read before.
    fn refuse_second<E: Error>(&mut self, at: usize) -> Result<(), E> {
        if std::mem::replace(&mut self.row.seen[at], true) {
            *self.problem = Some(JsonProblem::Member(Vec::new(), "the field appears twice"));
            return Err(E::custom("twice"));
        }
        Ok(())
    }

    /// Reads the members of the object that is the next value of `map`; null is an object without any.
    fn object<'de, A: MapAccess<'de>>(&mut self, at: usize, keys: &JsonKeys, map: &mut A) -> Result<(), A::Error> {
        self.refuse_second(self.row.columns.len() + at)?;
        let inner = map.next_value::<&'de RawValue>()?.get();
        if inner == "null" {
            return Ok(());
        }
        if !inner.starts_with('{') {
            *self.problem = Some(JsonProblem::NoObject(Vec::new(), inner.to_owned()));
            return Err(A::Error::custom("no object"));
        }
        let JsonRow { plan, columns, seen, unescaped } = &mut self.row;
        let row = JsonRow { plan, columns, seen, unescaped };
        let object = JsonObject { buffer: self.buffer, keys, row, problem: self.problem };
        let mut reader = serde_json::Deserializer::from_str(inner);
        object.deserialize(&mut reader).map_err(A::Error::custom)
    }
}

/// Appends one value to its column; gives back what was found when it does not fit.
struct JsonValue<'a> {
    buffer: &'a [u8],
    column: &'a mut ColumnBuilder,
    unescaped: &'a mut Vec<u8>,
}

impl JsonValue<'_> {
    fn fits<E>(fits: bool, text: impl fmt::Display) -> Result<Option<Found>, E> {
        Ok((!fits).then(|| Found::Shown(text.to_string())))
    }

    fn number_fits<E>(fits: bool) -> Result<Option<Found>, E> {
        Ok((!fits).then_some(Found::Number))
    }

    /// Appends a value by its JSON text: a number with every digit, or a string that holds one.
    fn text(self, json: &str) -> Option<Found> {
        let column = self.column;
        let push = |column: &mut ColumnBuilder, text: &str| {
            column.push_text(text.as_bytes(), 0, text.len(), TextBuffer::Values)
        };
        let fits = match json.bytes().next() {
            // JSON has no infinity: a number that is one here has too large an exponent.
            Some(b'-' | b'0'..=b'9') if column.is_double() => {
                json.parse().is_ok_and(|number: f64| number.is_finite() && column.push_double(number))
            }
            Some(b'-' | b'0'..=b'9') => push(column, json),
            Some(b'"') => serde_json::from_str::<String>(json).is_ok_and(|text| push(column, &text)),
            Some(b'n') => {
                column.push_null();
                true
            }
            _ => false,
        };
        (!fits).then(|| Found::Shown(json.to_owned()))
    }
}

impl<'de> DeserializeSeed<'de> for JsonValue<'_> {
    type Value = Option<Found>;

    fn deserialize<D: serde_core::Deserializer<'de>>(self, deserializer: D) -> Result<Option<Found>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for JsonValue<'_> {
    type Value = Option<Found>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, number, boolean or null")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Option<Found>, E> {
        // Borrowed text lies in the buffer that is being read, so its address gives its place.
        let start = text.as_ptr() as usize - self.buffer.as_ptr() as usize;
        Self::fits(self.column.push_text(self.buffer, start, text.len(), TextBuffer::Values), format_args!("{text:?}"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<Found>, E> {
        let start = self.unescaped.len();
        self.unescaped.extend_from_slice(text.as_bytes());
        Self::fits(
            self.column.push_text(self.unescaped, start, text.len(), TextBuffer::Unescaped),
            format_args!("{text:?}"),
        )
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<Found>, E> {
        Self::number_fits(self.column.push_integer(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<Found>, E> {
        let fits = i64::try_from(number).is_ok_and(|n| self.column.push_integer(n));
        Self::number_fits(fits)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<Found>, E> {
        Self::number_fits(self.column.push_double(number))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Option<Found>, E> {
        Self::fits(self.column.push_boolean(value), value)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<Found>, E> {
        self.column.push_null();
        Ok(None)
    }

    fn visit_seq<A: serde_core::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Option<Found>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Some(Found::Shown("[…]".to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Found>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Some(Found::Shown("{…}".to_owned())))
    }
}
