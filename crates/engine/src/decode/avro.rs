//! Decodes one record in Avro's binary encoding straight into columns, by the writer's schema.
//!
//! Fields go to the columns of the same name; what no column wants is skipped by its type. A column that the
//! writer does not know becomes null. Text stays where it lies in the message.
//! Source: <https://avro.apache.org/docs/1.12.0/specification/#binary-encoding>.

use std::ops::Range;

use hashbrown::HashMap;
use turnstile_message::WriterSchema;

use super::avro_schema::{Logical, Schema, Shape, TypeId};
use super::columns::{Column, Home};
use super::json::Key;
use super::{Reason, Rejection};

/// How deep values that are skipped may lie in each other: a schema that holds itself sets no bound.
const MAX_DEPTH: usize = 64;

/// Most values of no bytes that are skipped in one message: a few types can spell astronomically many of them.
const MAX_EMPTY: usize = 100_000;

/// Reads messages of one writer's schema.
#[derive(Debug)]
pub(crate) struct RecordReader {
    schema: Schema,
    fields: Vec<ReadField>,
    /// Columns that the writer knows nothing of.
    absent: Vec<usize>,
}

#[derive(Debug)]
struct ReadField {
    name: String,
    kind: TypeId,
    column: Option<usize>,
}

impl RecordReader {
    /// Maps the fields of `schema` to columns by name.
    ///
    /// # Errors
    /// Why no message of this schema can be a row.
    pub(crate) fn new(
        schema: &WriterSchema,
        keys: &HashMap<String, Key>,
        columns: usize,
        extra_is_error: bool,
    ) -> Result<Self, Rejection> {
        let schema = Schema::parse(schema)
            .map_err(|e| Rejection::new(Reason::Schema, None, format!("the schema cannot be read: {e}")))?;
        let root = schema.get(schema.root());
        let Shape::Record(writer) = &root.shape else {
            let detail = format!("expected the schema of a record, found that of {}", root.name());
            return Err(Rejection::new(Reason::Schema, None, detail));
        };
        let mut absent: Vec<usize> = (0..columns).collect();
        let mut fields = Vec::with_capacity(writer.len());
        for (name, kind) in writer {
            let column = match keys.get(name) {
                Some(Key::Column(at)) => Some(*at),
                Some(Key::Unused) => None,
                None if extra_is_error => {
                    return Err(Rejection::new(Reason::Fields, Some(name), "the schema does not know this field"));
                }
                None => None,
            };
            absent.retain(|at| Some(*at) != column);
            fields.push(ReadField { name: name.clone(), kind: *kind, column });
        }
        Ok(Self { schema, fields, absent })
    }

    /// Decodes the record in `buffer[bytes]`, one value a column. Enum symbols go to `unescaped`.
    pub(crate) fn decode(
        &self,
        buffer: &[u8],
        bytes: Range<usize>,
        columns: &mut [Column],
        unescaped: &mut Vec<u8>,
    ) -> Result<(), Rejection> {
        let mut input = Input::new(buffer, bytes);
        for field in &self.fields {
            let result = match field.column {
                Some(at) => self.value(&mut input, field.kind, &mut columns[at], unescaped),
                None => self.skip(&mut input, field.kind, 0).map_err(Problem::Malformed),
            };
            result.map_err(|problem| match problem {
                Problem::Malformed(detail) => Rejection::new(Reason::Avro, Some(&field.name), detail),
                Problem::Misfit(found) => {
                    let expected = field.column.map_or("", |at| columns[at].type_name());
                    Rejection::new(Reason::Type, Some(&field.name), format!("expected {expected}, found {found}"))
                }
                Problem::Utf8 => Rejection::new(Reason::Utf8, Some(&field.name), "the text is not UTF-8"),
            })?;
        }
        if input.rest() > 0 {
            let detail = format!("{} bytes follow the record", input.rest());
            return Err(Rejection::new(Reason::Avro, None, detail));
        }
        self.absent.iter().for_each(|at| columns[*at].push_null());
        Ok(())
    }

    /// Appends one value to its column.
    fn value(
        &self,
        input: &mut Input<'_>,
        kind: TypeId,
        column: &mut Column,
        unescaped: &mut Vec<u8>,
    ) -> Result<(), Problem> {
        let kind = self.schema.get(kind);
        match (&kind.shape, kind.logical) {
            (Shape::Null, _) => {
                column.push_null();
                Ok(())
            }
            (Shape::Union(branches), _) => {
                let branch = input.branch(branches)?;
                // A union holds no union, so this goes one step down; a schema that does is refused here.
                if matches!(self.schema.get(branch).shape, Shape::Union(_)) {
                    return Err(Problem::Malformed("a union lies in a union".to_owned()));
                }
                self.value(input, branch, column, unescaped)
            }
            (Shape::Boolean, _) => {
                let value = input.boolean()?;
                fits(column.push_boolean(value), || format!("the boolean {value}"))
            }
            (Shape::Int, Some(Logical::Date)) => {
                let days = input.int()?;
                fits(column.push_local_time(i64::from(days) * 86_400, 0), || format!("the date {days}"))
            }
            (Shape::Int, _) => {
                let number = input.int()?;
                fits(column.push_integer(i64::from(number)), || format!("the int {number}"))
            }
            (Shape::Long, Some(Logical::Timestamp(unit))) => {
                let number = input.long()?;
                let (secs, micros) = split(number, unit);
                fits(column.push_instant(secs, micros), || format!("the timestamp {number}"))
            }
            (Shape::Long, Some(Logical::LocalTimestamp(unit))) => {
                let number = input.long()?;
                let (secs, micros) = split(number, unit);
                fits(column.push_local_time(secs, micros), || format!("the local timestamp {number}"))
            }
            (Shape::Long, _) => {
                let number = input.long()?;
                fits(column.push_integer(number), || format!("the long {number}"))
            }
            (Shape::Float, _) => {
                let number = f32::from_le_bytes(input.array()?);
                fits(column.push_double(f64::from(number)), || format!("the float {number}"))
            }
            (Shape::Double, _) => {
                let number = f64::from_le_bytes(input.array()?);
                fits(column.push_double(number), || format!("the double {number}"))
            }
            (Shape::String, _) => {
                let text = input.bytes()?;
                let bytes = &input.buffer[text.clone()];
                // Columns take text without looking at it again.
                let known = if bytes.is_ascii() { Ok("") } else { std::str::from_utf8(bytes) };
                known.map_err(|_| Problem::Utf8)?;
                fits(column.push_text(input.buffer, text.start, text.len(), Home::Values), || {
                    format!("{:?}", String::from_utf8_lossy(bytes))
                })
            }
            (Shape::Enum(symbols), _) => {
                let symbol = pick(symbols, i64::from(input.int()?), "an enum's symbol")?;
                let start = unescaped.len();
                unescaped.extend_from_slice(symbol.as_bytes());
                fits(column.push_text(unescaped, start, symbol.len(), Home::Unescaped), || format!("{symbol:?}"))
            }
            (Shape::Bytes | Shape::Fixed(_) | Shape::Array(_) | Shape::Map(_) | Shape::Record(_), _) => {
                Err(Problem::Misfit(kind.name().to_owned()))
            }
        }
    }

    /// Passes over one value.
    fn skip(&self, input: &mut Input<'_>, kind: TypeId, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("values lie more than {MAX_DEPTH} deep in each other"));
        }
        match &self.schema.get(kind).shape {
            Shape::Null | Shape::Fixed(0) => input.nothing(),
            Shape::Boolean => input.pass(1),
            Shape::Int | Shape::Long | Shape::Enum(_) => input.long().map(drop),
            Shape::Float => input.pass(4),
            Shape::Double => input.pass(8),
            Shape::Bytes | Shape::String => input.bytes().map(drop),
            Shape::Fixed(size) => input.pass(*size),
            Shape::Union(branches) => {
                let branch = input.branch(branches)?;
                match self.schema.get(branch).shape {
                    Shape::Null => Ok(()),
                    _ => self.skip(input, branch, depth + 1),
                }
            }
            Shape::Record(fields) if fields.is_empty() => input.nothing(),
            Shape::Record(fields) => fields.iter().try_for_each(|(_, kind)| self.skip(input, *kind, depth + 1)),
            Shape::Array(items) => blocks(input, |input| self.skip(input, *items, depth + 1)),
            Shape::Map(values) => blocks(input, |input| {
                input.bytes()?;
                self.skip(input, *values, depth + 1)
            }),
        }
    }
}

/// Goes over the blocks of an array or map. A block that says how many bytes it has is passed over as a whole.
fn blocks(input: &mut Input<'_>, mut item: impl FnMut(&mut Input<'_>) -> Result<(), String>) -> Result<(), String> {
    loop {
        let count = input.long()?;
        if count == 0 {
            return Ok(());
        }
        if count < 0 {
            let len = input.long()?;
            let len = usize::try_from(len).map_err(|_| format!("a block is {len} bytes long"))?;
            input.pass(len)?;
            continue;
        }
        for _ in 0..count {
            let before = input.at;
            item(input)?;
            if input.at == before {
                // Items of no bytes, however many: a small message must not keep us busy for hours.
                break;
            }
        }
    }
}

/// Why a value was not appended.
enum Problem {
    /// The bytes do not follow the schema.
    Malformed(String),
    /// The column does not take it: what was found.
    Misfit(String),
    /// A text is not UTF-8.
    Utf8,
}

impl From<String> for Problem {
    fn from(detail: String) -> Self {
        Self::Malformed(detail)
    }
}

fn fits(fits: bool, found: impl FnOnce() -> String) -> Result<(), Problem> {
    if fits { Ok(()) } else { Err(Problem::Misfit(found())) }
}

/// Seconds and microseconds of a time in units of which `unit` make a second; finer parts are cut off.
fn split(number: i64, unit: i64) -> (i64, i64) {
    let (secs, rest) = (number.div_euclid(unit), number.rem_euclid(unit));
    let micros = if unit > 1_000_000 { rest / (unit / 1_000_000) } else { rest * (1_000_000 / unit) };
    (secs, micros)
}

fn pick<'a, T>(from: &'a [T], index: i64, what: &str) -> Result<&'a T, String> {
    let found = usize::try_from(index).ok().and_then(|at| from.get(at));
    found.ok_or_else(|| format!("{what} has the number {index}, and the schema knows {}", from.len()))
}

/// The bytes of a message that are yet to be read.
struct Input<'a> {
    buffer: &'a [u8],
    at: usize,
    end: usize,
    /// Values of no bytes that were skipped.
    empty: usize,
}

impl<'a> Input<'a> {
    fn new(buffer: &'a [u8], bytes: Range<usize>) -> Self {
        Self { buffer, at: bytes.start, end: bytes.end, empty: 0 }
    }

    /// Bytes that were not read yet.
    fn rest(&self) -> usize {
        self.end - self.at
    }

    /// A zigzag number of variable length.
    #[inline]
    fn long(&mut self) -> Result<i64, String> {
        let mut bits = 0u64;
        for shift in (0..70).step_by(7) {
            let Some(byte) = self.buffer[..self.end].get(self.at) else { return Err(ENDS.to_owned()) };
            self.at += 1;
            bits |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                // The tenth byte has room for one bit.
                if shift == 63 && *byte > 1 {
                    break;
                }
                return Ok((bits >> 1) as i64 ^ -((bits & 1) as i64));
            }
        }
        Err("a number is longer than 64 bits".to_owned())
    }

    fn int(&mut self) -> Result<i32, String> {
        let number = self.long()?;
        i32::try_from(number).map_err(|_| format!("an int is {number}"))
    }

    fn boolean(&mut self) -> Result<bool, String> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(format!("a boolean is {other}")),
        }
    }

    /// Where the bytes lie that their length stands before.
    fn bytes(&mut self) -> Result<Range<usize>, String> {
        let len = self.long()?;
        self.take(usize::try_from(len).map_err(|_| format!("a text is {len} bytes long"))?)
    }

    /// Where the next `len` bytes lie.
    fn take(&mut self, len: usize) -> Result<Range<usize>, String> {
        let start = self.at;
        self.pass(len)?;
        Ok(start..self.at)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let start = self.at;
        self.pass(N)?;
        self.buffer[start..self.at].try_into().map_err(|_| ENDS.to_owned())
    }

    fn pass(&mut self, bytes: usize) -> Result<(), String> {
        if bytes > self.end - self.at {
            return Err(ENDS.to_owned());
        }
        self.at += bytes;
        Ok(())
    }

    fn nothing(&mut self) -> Result<(), String> {
        self.empty += 1;
        if self.empty > MAX_EMPTY {
            return Err(format!("the message holds more than {MAX_EMPTY} values of no bytes"));
        }
        Ok(())
    }

    fn branch(&mut self, branches: &[TypeId]) -> Result<TypeId, String> {
        let index = self.long()?;
        pick(branches, index, "a union's branch").copied()
    }
}

const ENDS: &str = "the message ends too early";
