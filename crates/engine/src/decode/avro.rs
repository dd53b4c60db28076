//! Decodes one record in Avro's binary encoding straight into columns, by the writer's schema.
//!
//! Fields go to the columns of the same name; values without a column are skipped by their type. A column
//! that the writer's schema lacks becomes null. Text stays in the message's buffer.
//! Source: <https://avro.apache.org/docs/1.12.0/specification/#binary-encoding>.

use std::borrow::Cow;
use std::ops::Range;

use turnstile_message::{AvroSchema, AvroShape, AvroTypeId, LogicalType, WriterSchema};

use super::column_builder::ColumnBuilder;
use super::decimal;
use super::decode_plan::DecodePlan;
use super::field_target::FieldTarget;
use super::rejection::{Reason, Rejection};
use super::text_view::TextBuffer;

/// How deeply skipped values may be nested: a recursive schema sets no bound.
const MAX_DEPTH: usize = 64;

/// Most zero-length values that are skipped in one message: a few types can describe astronomically many of them.
const MAX_EMPTY: usize = 100_000;

/// Reads messages of one writer's schema.
#[derive(Debug)]
pub(crate) struct RecordReader {
    schema: AvroSchema,
    fields: Vec<ReadField>,
    /// Columns that the writer's schema lacks.
    absent: Vec<usize>,
}

#[derive(Debug)]
struct ReadField {
    name: String,
    kind: AvroTypeId,
    column: Option<usize>,
}

impl RecordReader {
    /// Maps the fields of `schema` to columns by name.
    ///
    /// # Errors
    /// Why messages of this schema cannot be rows.
    pub(crate) fn new(schema: &WriterSchema, plan: &DecodePlan) -> Result<Self, Rejection> {
        let schema = AvroSchema::parse(schema)
            .map_err(|e| Rejection::new(Reason::Schema, None, format!("the schema cannot be read: {e}")))?;
        let root = schema.get(schema.root());
        let AvroShape::Record(writer) = &root.shape else {
            let detail = format!("expected the schema of a record, found that of {}", root.name());
            return Err(Rejection::new(Reason::Schema, None, detail));
        };
        let mut absent: Vec<usize> = (0..plan.field_of.len()).collect();
        let mut fields = Vec::with_capacity(writer.len());
        for (name, kind) in writer {
            let column = match plan.keys.get(name) {
                Some(FieldTarget::Column(at)) => Some(*at),
                Some(FieldTarget::Unused) => None,
                None if plan.extra_is_error => {
                    return Err(Rejection::new(Reason::Fields, Some(name), "the schema has no such field"));
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
        columns: &mut [ColumnBuilder],
        unescaped: &mut Vec<u8>,
    ) -> Result<(), Rejection> {
        let mut input = AvroInput::new(buffer, bytes);
        for field in &self.fields {
            let result = match field.column {
                Some(at) => self.value(&mut input, field.kind, &mut columns[at], unescaped),
                None => self.skip(&mut input, field.kind, 0).map_err(AvroProblem::Malformed),
            };
            result.map_err(|problem| match problem {
                AvroProblem::Malformed(detail) => Rejection::new(Reason::Avro, Some(&field.name), detail),
                AvroProblem::Mismatch(found) => {
                    let expected = field.column.map_or(Cow::Borrowed(""), |at| columns[at].type_name());
                    Rejection::new(Reason::Type, Some(&field.name), format!("expected {expected}, found {found}"))
                }
                AvroProblem::Utf8 => Rejection::new(Reason::Utf8, Some(&field.name), "the text is not UTF-8"),
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
        input: &mut AvroInput<'_>,
        kind: AvroTypeId,
        column: &mut ColumnBuilder,
        unescaped: &mut Vec<u8>,
    ) -> Result<(), AvroProblem> {
        let kind = self.schema.get(kind);
        match (&kind.shape, kind.logical) {
            (AvroShape::Null, _) => {
                column.push_null();
                Ok(())
            }
            (AvroShape::Union(branches), _) => {
                let branch = input.branch(branches)?;
                // Avro forbids a union directly inside a union, so the recursion is one level deep.
                if matches!(self.schema.get(branch).shape, AvroShape::Union(_)) {
                    return Err(AvroProblem::Malformed("a union contains a union".to_owned()));
                }
                self.value(input, branch, column, unescaped)
            }
            (AvroShape::Boolean, _) => {
                let value = input.boolean()?;
                fits(column.push_boolean(value), || format!("the boolean {value}"))
            }
            (AvroShape::Int, Some(LogicalType::Date)) => {
                let days = input.int()?;
                fits(column.push_local_time(i64::from(days) * 86_400, 0), || format!("the date {days}"))
            }
            (AvroShape::Int, _) => {
                let number = input.int()?;
                fits(column.push_integer(i64::from(number)), || format!("the int {number}"))
            }
            (AvroShape::Long, Some(LogicalType::Timestamp(unit))) => {
                let number = input.long()?;
                let (secs, micros) = split(number, unit);
                fits(column.push_instant(secs, micros), || format!("the timestamp {number}"))
            }
            (AvroShape::Long, Some(LogicalType::LocalTimestamp(unit))) => {
                let number = input.long()?;
                let (secs, micros) = split(number, unit);
                fits(column.push_local_time(secs, micros), || format!("the local timestamp {number}"))
            }
            (AvroShape::Long, _) => {
                let number = input.long()?;
                fits(column.push_integer(number), || format!("the long {number}"))
            }
            (AvroShape::Float, _) => {
                let number = f32::from_le_bytes(input.array()?);
                fits(column.push_double(f64::from(number)), || format!("the float {number}"))
            }
            (AvroShape::Double, _) => {
                let number = f64::from_le_bytes(input.array()?);
                fits(column.push_double(number), || format!("the double {number}"))
            }
            (AvroShape::String, _) => {
                let text = input.bytes()?;
                let bytes = &input.buffer[text.clone()];
                // Columns do not validate text again.
                let known = if bytes.is_ascii() { Ok("") } else { std::str::from_utf8(bytes) };
                known.map_err(|_| AvroProblem::Utf8)?;
                fits(column.push_text(input.buffer, text.start, text.len(), TextBuffer::Values), || {
                    format!("{:?}", String::from_utf8_lossy(bytes))
                })
            }
            (AvroShape::Enum(symbols), _) => {
                let symbol = pick(symbols, i64::from(input.int()?), "an enum's symbol")?;
                let start = unescaped.len();
                unescaped.extend_from_slice(symbol.as_bytes());
                fits(column.push_text(unescaped, start, symbol.len(), TextBuffer::Unescaped), || format!("{symbol:?}"))
            }
            (AvroShape::Bytes | AvroShape::Fixed(_), Some(LogicalType::Decimal(scale))) => {
                let bytes = match kind.shape {
                    AvroShape::Fixed(size) => input.take(size)?,
                    _ => input.bytes()?,
                };
                let number = decimal::from_bytes(&input.buffer[bytes]);
                fits(number.is_some_and(|number| column.push_decimal(number, scale)), || match number {
                    Some(number) => format!("the decimal {}", decimal::text(number, scale)),
                    None => "a decimal of no bytes, or of more than 16".to_owned(),
                })
            }
            (
                AvroShape::Bytes | AvroShape::Fixed(_) | AvroShape::Array(_) | AvroShape::Map(_) | AvroShape::Record(_),
                _,
            ) => Err(AvroProblem::Mismatch(kind.name().to_owned())),
        }
    }

    /// Skips one value.
    fn skip(&self, input: &mut AvroInput<'_>, kind: AvroTypeId, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("values are nested more than {MAX_DEPTH} levels deep"));
        }
        match &self.schema.get(kind).shape {
            AvroShape::Null | AvroShape::Fixed(0) => input.nothing(),
            AvroShape::Boolean => input.pass(1),
            AvroShape::Int | AvroShape::Long | AvroShape::Enum(_) => input.long().map(drop),
            AvroShape::Float => input.pass(4),
            AvroShape::Double => input.pass(8),
            AvroShape::Bytes | AvroShape::String => input.bytes().map(drop),
            AvroShape::Fixed(size) => input.pass(*size),
            AvroShape::Union(branches) => {
                let branch = input.branch(branches)?;
                match self.schema.get(branch).shape {
                    AvroShape::Null => Ok(()),
                    _ => self.skip(input, branch, depth + 1),
                }
            }
            AvroShape::Record(fields) if fields.is_empty() => input.nothing(),
            AvroShape::Record(fields) => fields.iter().try_for_each(|(_, kind)| self.skip(input, *kind, depth + 1)),
            AvroShape::Array(items) => blocks(input, |input| self.skip(input, *items, depth + 1)),
            AvroShape::Map(values) => blocks(input, |input| {
                input.bytes()?;
                self.skip(input, *values, depth + 1)
            }),
        }
    }
}

/// Skips the blocks of an array or map. A block that states its length in bytes is skipped as a whole.
fn blocks(
    input: &mut AvroInput<'_>,
    mut item: impl FnMut(&mut AvroInput<'_>) -> Result<(), String>,
) -> Result<(), String> {
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
                // Zero-length items, however many: a small message must not occupy the decoder for hours.
                break;
            }
        }
    }
}

/// Why a value was not appended.
enum AvroProblem {
    /// The bytes do not follow the schema.
    Malformed(String),
    /// The value does not fit the column: what was found.
    Mismatch(String),
    /// A text is not UTF-8.
    Utf8,
}

impl From<String> for AvroProblem {
    fn from(detail: String) -> Self {
        Self::Malformed(detail)
    }
}

fn fits(fits: bool, found: impl FnOnce() -> String) -> Result<(), AvroProblem> {
    if fits { Ok(()) } else { Err(AvroProblem::Mismatch(found())) }
}

/// Seconds and microseconds of a time in units of which `unit` make a second; finer parts are truncated.
fn split(number: i64, unit: i64) -> (i64, i64) {
    let (secs, rest) = (number.div_euclid(unit), number.rem_euclid(unit));
    let micros = if unit > 1_000_000 { rest / (unit / 1_000_000) } else { rest * (1_000_000 / unit) };
    (secs, micros)
}

fn pick<'a, T>(from: &'a [T], index: i64, what: &str) -> Result<&'a T, String> {
    let found = usize::try_from(index).ok().and_then(|at| from.get(at));
    found.ok_or_else(|| format!("{what} has the number {index}, but the schema has only {}", from.len()))
}

/// The unread bytes of a message.
struct AvroInput<'a> {
    buffer: &'a [u8],
    at: usize,
    end: usize,
    /// Values of no bytes that were skipped.
    empty: usize,
}

impl<'a> AvroInput<'a> {
    fn new(buffer: &'a [u8], bytes: Range<usize>) -> Self {
        Self { buffer, at: bytes.start, end: bytes.end, empty: 0 }
    }

    /// Number of bytes left.
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

    /// The range of length-prefixed bytes.
    fn bytes(&mut self) -> Result<Range<usize>, String> {
        let len = self.long()?;
        self.take(usize::try_from(len).map_err(|_| format!("a text is {len} bytes long"))?)
    }

    /// The range of the next `len` bytes.
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
            return Err(format!("the message contains more than {MAX_EMPTY} empty values"));
        }
        Ok(())
    }

    fn branch(&mut self, branches: &[AvroTypeId]) -> Result<AvroTypeId, String> {
        let index = self.long()?;
        pick(branches, index, "a union's branch").copied()
    }
}

const ENDS: &str = "the message ends too early";
