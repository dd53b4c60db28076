//! Decodes one JSON object straight into columns, borrowing text where it has no escapes.

use std::fmt;

use hashbrown::HashMap;

use super::column_builder::ColumnBuilder;
use super::decode_plan::FieldTarget;
use super::rejection::{Reason, Rejection};
use super::text_view::TextBuffer;
use serde_core::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};

/// Decodes the object in `buffer[start..start + len]` into `row`'s columns, one value each; missing ones
/// become null.
pub(crate) fn decode(buffer: &[u8], start: usize, len: usize, row: JsonRow<'_>) -> Result<(), Rejection> {
    row.seen.clear();
    row.seen.resize(row.columns.len(), false);
    let mut problem = None;
    let JsonRow { keys, extra_is_error, columns, seen, unescaped } = row;
    let object = JsonObject {
        buffer,
        row: JsonRow { keys, extra_is_error, columns: &mut *columns, seen: &mut *seen, unescaped },
        problem: &mut problem,
    };
    let mut reader = serde_json::Deserializer::from_slice(&buffer[start..start + len]);
    let result = object.deserialize(&mut reader).and_then(|()| reader.end());
    if let Some(problem) = problem {
        return Err(problem);
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
    /// What each JSON key stands for.
    pub(crate) keys: &'a HashMap<String, FieldTarget>,
    /// Whether a key that the schema does not know rejects the message.
    pub(crate) extra_is_error: bool,
    pub(crate) columns: &'a mut [ColumnBuilder],
    /// Scratch: which columns have their value.
    pub(crate) seen: &'a mut Vec<bool>,
    pub(crate) unescaped: &'a mut Vec<u8>,
}

struct JsonObject<'a> {
    buffer: &'a [u8],
    row: JsonRow<'a>,
    problem: &'a mut Option<Rejection>,
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

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match self.row.keys.get(name.as_ref()) {
                Some(FieldTarget::Column(at)) => {
                    if std::mem::replace(&mut self.row.seen[*at], true) {
                        let detail = "the field appears twice".to_owned();
                        *self.problem = Some(Rejection::new(Reason::Fields, Some(name.as_ref()), detail));
                        return Err(A::Error::custom("twice"));
                    }
                    let value = JsonValue {
                        buffer: self.buffer,
                        column: &mut self.row.columns[*at],
                        unescaped: self.row.unescaped,
                    };
                    if let Some(text) = map.next_value_seed(value)? {
                        let expected = self.row.columns[*at].type_name();
                        let detail = format!("expected {expected}, found {text}");
                        *self.problem = Some(Rejection::new(Reason::Type, Some(name.as_ref()), detail));
                        return Err(A::Error::custom("type"));
                    }
                }
                None if self.row.extra_is_error => {
                    let detail = "the schema has no such field".to_owned();
                    *self.problem = Some(Rejection::new(Reason::Fields, Some(name.as_ref()), detail));
                    return Err(A::Error::custom("unknown field"));
                }
                Some(FieldTarget::Unused) | None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Appends one value to its column; gives back the offending text when it does not fit.
struct JsonValue<'a> {
    buffer: &'a [u8],
    column: &'a mut ColumnBuilder,
    unescaped: &'a mut Vec<u8>,
}

impl JsonValue<'_> {
    fn fits<E>(fits: bool, text: impl fmt::Display) -> Result<Option<String>, E> {
        Ok((!fits).then(|| text.to_string()))
    }
}

impl<'de> DeserializeSeed<'de> for JsonValue<'_> {
    type Value = Option<String>;

    fn deserialize<D: serde_core::Deserializer<'de>>(self, deserializer: D) -> Result<Option<String>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for JsonValue<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, number, boolean or null")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Option<String>, E> {
        // Borrowed text lies in the buffer that is being read, so its address gives its place.
        let start = text.as_ptr() as usize - self.buffer.as_ptr() as usize;
        Self::fits(self.column.push_text(self.buffer, start, text.len(), TextBuffer::Values), format_args!("{text:?}"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<String>, E> {
        let start = self.unescaped.len();
        self.unescaped.extend_from_slice(text.as_bytes());
        Self::fits(
            self.column.push_text(self.unescaped, start, text.len(), TextBuffer::Unescaped),
            format_args!("{text:?}"),
        )
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<String>, E> {
        Self::fits(self.column.push_integer(number), number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<String>, E> {
        let fits = i64::try_from(number).is_ok_and(|n| self.column.push_integer(n));
        Self::fits(fits, number)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<String>, E> {
        Self::fits(self.column.push_double(number), number)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Option<String>, E> {
        Self::fits(self.column.push_boolean(value), value)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<String>, E> {
        self.column.push_null();
        Ok(None)
    }

    fn visit_seq<A: serde_core::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Option<String>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Some("[…]".to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<String>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Some("{…}".to_owned()))
    }
}
