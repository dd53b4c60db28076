//! Message bytes to typed columns.
//!
//! In: a [`MessageBatch`]. Out: [`Decoded`]: the columns that the query needs, and what was rejected.
//! Knows nothing of windows or the order of time. Start at [`Decoder::decode`].

mod avro;
mod avro_schema;
mod columns;
mod csv;
mod json;
mod schemas;
mod timestamp;
mod zone;

use std::fmt;

use arrow::array::ArrayRef;
use arrow::buffer::Buffer;
use arrow::datatypes::{Field, Schema, SchemaRef};
use hashbrown::HashMap;
use std::sync::Arc;
use turnstile_message::{MessageBatch, SchemaKind, WriterSchema};
use turnstile_pipeline::{FieldKind, FieldPolicy, MessageFormat, Pipeline};

use columns::{ColumnBuilder, ColumnType, TextBuffer};
use json::FieldTarget;
use schemas::{KnownSchema, WriterSchemas};

/// Why a message was rejected: the label in counters and dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The value is not UTF-8.
    Utf8,
    /// The value is not a CSV row.
    Csv,
    /// The value is not a JSON object.
    Json,
    /// The value lacks the schema registry's wire-format header.
    WireFormat,
    /// The schema registry does not know the value's schema, or messages of that schema cannot be rows.
    Schema,
    /// The value does not follow its Avro schema.
    Avro,
    /// A field is missing, or there is one too many.
    Fields,
    /// A value does not fit its field's type.
    Type,
    /// The event time is null or missing.
    EventTime,
    /// The event time lies too far ahead of the clock.
    Future,
    /// The window had already closed.
    Late,
    /// An expression of the query fails on it, such as a cast of text that is not a number.
    Query,
}

impl Reason {
    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "not-utf8",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::WireFormat => "wire-format",
            Self::Schema => "schema",
            Self::Avro => "avro",
            Self::Fields => "fields",
            Self::Type => "type",
            Self::EventTime => "event-time",
            Self::Future => "future",
            Self::Late => "late",
            Self::Query => "query",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why one message was rejected, with the field and the offending text if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The kind.
    pub reason: Reason,
    /// The field, when one is to blame.
    pub field: Option<String>,
    /// What was found and what was expected.
    pub detail: String,
}

impl Rejection {
    pub(crate) fn new(reason: Reason, field: Option<&str>, detail: impl Into<String>) -> Self {
        Self { reason, field: field.map(str::to_owned), detail: shorten(&detail.into()) }
    }
}

impl Rejection {
    /// Names the schema of the message.
    fn of_schema(mut self, id: u32) -> Self {
        self.detail = format!("{} (schema {id})", self.detail);
        self
    }
}

/// The longest offending text that a rejection quotes; the dead letter holds the whole message.
const DETAIL_CHARS: usize = 200;

fn shorten(text: &str) -> String {
    match text.char_indices().nth(DETAIL_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// What decoding needs to know of a pipeline.
#[derive(Debug)]
pub(crate) struct DecodePlan {
    format: MessageFormat,
    names: Vec<String>,
    types: Vec<ColumnType>,
    /// Per column, its field.
    field_of: Vec<usize>,
    event_column: usize,
    extra_is_error: bool,
    keys: HashMap<String, FieldTarget>,
    schema: SchemaRef,
}

impl DecodePlan {
    pub(crate) fn new(pipeline: &Pipeline) -> Result<Self, String> {
        let source = &pipeline.source;
        let names: Vec<String> = source.schema.iter().map(|f| f.name.clone()).collect();
        let types: Vec<ColumnType> = source
            .schema
            .iter()
            .map(|field| match &field.kind {
                FieldKind::String => ColumnType::Text,
                FieldKind::Int => ColumnType::Int,
                FieldKind::Long => ColumnType::Long,
                FieldKind::Double => ColumnType::Double,
                FieldKind::Boolean => ColumnType::Boolean,
                FieldKind::Timestamp { format, zone } => ColumnType::Timestamp(format.clone(), *zone),
            })
            .collect();
        let field_of = pipeline.query.columns.clone();
        let mut column_of = vec![None; names.len()];
        for (column, field) in field_of.iter().enumerate() {
            column_of[*field] = Some(column);
        }
        let event_column = field_of
            .iter()
            .position(|field| names[*field] == pipeline.stream.event_time)
            .ok_or_else(|| format!("the event time {} is not decoded", pipeline.stream.event_time))?;
        let keys = names
            .iter()
            .enumerate()
            .map(|(field, name)| (name.clone(), column_of[field].map_or(FieldTarget::Unused, FieldTarget::Column)))
            .collect();
        let fields: Vec<Field> =
            field_of.iter().map(|f| Field::new(&names[*f], columns::data_type(&types[*f]), true)).collect();
        Ok(Self {
            format: source.format,
            extra_is_error: matches!(source.extra_fields, FieldPolicy::Error),
            names,
            types,
            field_of,
            event_column,
            keys,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    fn record_reader(&self, schema: &WriterSchema) -> Result<avro::RecordReader, Rejection> {
        avro::RecordReader::new(schema, &self.keys, self.field_of.len(), self.extra_is_error)
    }

    /// The decoded columns, in order.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

/// The good rows of one batch as columns, and the others.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    /// One array a column of the plan, one row a good message.
    pub(crate) columns: Vec<ArrayRef>,
    /// Event time of each good row, microseconds since the epoch.
    pub(crate) event_us: Vec<i64>,
    /// The message each good row came from: its row in the batch.
    pub(crate) rows: Vec<u32>,
    /// Messages that could not be decoded, by row.
    pub(crate) rejected: Vec<(u32, Rejection)>,
    /// Messages without a value.
    pub(crate) tombstones: u64,
    /// Local times that happened twice, and that never happened.
    pub(crate) odd_times: (u64, u64),
}

/// Decodes batches; keeps its scratch memory and time caches between them.
#[derive(Debug)]
pub(crate) struct Decoder {
    plan: Arc<DecodePlan>,
    columns: Vec<ColumnBuilder>,
    fields: csv::CsvFields,
    unescaped: Vec<u8>,
    seen: Vec<bool>,
    header: Option<CsvHeader>,
    schemas: WriterSchemas,
}

/// A header line seen in messages of the header-and-row form, and the field that each of its names is.
#[derive(Debug)]
struct CsvHeader {
    line: Vec<u8>,
    /// None: a field that the schema does not have and that is ignored.
    fields: Vec<Option<usize>>,
}

impl Decoder {
    pub(crate) fn new(plan: Arc<DecodePlan>) -> Self {
        let columns = plan.field_of.iter().map(|field| ColumnBuilder::new(&plan.types[*field])).collect();
        Self {
            plan,
            columns,
            fields: csv::CsvFields::default(),
            unescaped: Vec::new(),
            seen: Vec::new(),
            header: None,
            schemas: WriterSchemas::default(),
        }
    }

    /// The ids of the schemas that `batch` needs and that are not registered yet.
    pub(crate) fn missing_schemas(&mut self, batch: &MessageBatch) -> Vec<u32> {
        match self.plan.format {
            MessageFormat::Csv | MessageFormat::Json => Vec::new(),
            MessageFormat::Avro | MessageFormat::JsonSchema => self.schemas.missing(batch),
        }
    }

    /// Registers schema `id`; `None`: the schema registry does not know it.
    pub(crate) fn register_schema(&mut self, id: u32, schema: Option<&WriterSchema>) {
        let known = match (schema, self.plan.format) {
            (None, _) => KnownSchema::Unknown,
            (Some(schema), MessageFormat::Avro) if schema.kind == SchemaKind::Avro => {
                match self.plan.record_reader(schema) {
                    Ok(reader) => KnownSchema::Avro(Box::new(reader)),
                    Err(rejection) => KnownSchema::Unusable(rejection),
                }
            }
            (Some(schema), MessageFormat::JsonSchema) if schema.kind == SchemaKind::Json => KnownSchema::Json,
            (Some(schema), format) => {
                let detail = format!(
                    "its language is {}, and the pipeline's format is {}",
                    schema.kind.as_str(),
                    format.as_str()
                );
                KnownSchema::Unusable(Rejection::new(Reason::Schema, None, detail))
            }
        };
        self.schemas.register(id, known, schema.map_or(0, WriterSchema::bytes));
    }

    /// The first schema that `batch` needs and that is not registered.
    pub(crate) fn first_unregistered(&self, batch: &MessageBatch) -> Option<u32> {
        match self.plan.format {
            MessageFormat::Csv | MessageFormat::Json => None,
            MessageFormat::Avro | MessageFormat::JsonSchema => self.schemas.first_unregistered(batch),
        }
    }

    /// Decodes every message of `batch`.
    pub(crate) fn decode(&mut self, batch: &MessageBatch) -> Decoded {
        let mut out = Decoded {
            event_us: Vec::with_capacity(batch.len()),
            rows: Vec::with_capacity(batch.len()),
            ..Decoded::default()
        };
        for column in &mut self.columns {
            column.reserve(batch.len());
        }
        let values = batch.values.buffer().as_slice();
        for row in 0..batch.len() {
            let Some((start, len)) = batch.values.span(row) else {
                out.tombstones += 1;
                continue;
            };
            let good = out.rows.len();
            let unescaped = self.unescaped.len();
            let result = match self.plan.format {
                MessageFormat::Csv => self.csv(values, start as usize, len as usize),
                MessageFormat::Json => self.json(values, start as usize, len as usize),
                MessageFormat::Avro | MessageFormat::JsonSchema => self.by_schema(values, start as usize, len as usize),
            };
            let event = result.and_then(|()| {
                self.columns[self.plan.event_column].last_micros().ok_or_else(|| {
                    let name = &self.plan.names[self.plan.field_of[self.plan.event_column]];
                    Rejection::new(Reason::EventTime, Some(name), "the event time is missing")
                })
            });
            match event {
                Ok(event) => {
                    out.event_us.push(event);
                    out.rows.push(row as u32);
                }
                Err(rejection) => {
                    for column in &mut self.columns {
                        column.truncate(good);
                    }
                    self.unescaped.truncate(unescaped);
                    out.rejected.push((row as u32, rejection));
                }
            }
        }
        let buffers = [batch.values.buffer().clone(), Buffer::from_vec(std::mem::take(&mut self.unescaped))];
        for column in &mut self.columns {
            let odd = column.take_odd_times();
            out.odd_times = (out.odd_times.0 + odd.0, out.odd_times.1 + odd.1);
        }
        out.columns = self.columns.iter_mut().map(|column| column.finish(&buffers)).collect();
        out
    }

    /// A message that begins with its schema's id. A separate function, so that the loop over CSV stays small.
    #[inline(never)]
    fn by_schema(&mut self, values: &[u8], start: usize, len: usize) -> Result<(), Rejection> {
        let value = &values[start..start + len];
        let (id, header) = schemas::header(value).ok_or_else(|| schemas::no_header(value))?;
        match self.schemas.get(id) {
            Some(KnownSchema::Avro(reader)) => {
                let bytes = start + header..start + len;
                reader.decode(values, bytes, &mut self.columns, &mut self.unescaped).map_err(|r| r.of_schema(id))
            }
            Some(KnownSchema::Json) => self.json(values, start + header, len - header).map_err(|r| r.of_schema(id)),
            Some(KnownSchema::Unusable(rejection)) => Err(rejection.clone().of_schema(id)),
            // `Worker::push` refuses batches with unregistered schemas.
            Some(KnownSchema::Unknown) | None => {
                Err(Rejection::new(Reason::Schema, None, format!("the registry does not know schema {id}")))
            }
        }
    }

    fn json(&mut self, values: &[u8], start: usize, len: usize) -> Result<(), Rejection> {
        utf8(&values[start..start + len])?;
        let plan = &self.plan;
        let row = json::JsonRow {
            keys: &plan.keys,
            extra_is_error: plan.extra_is_error,
            columns: &mut self.columns,
            seen: &mut self.seen,
            unescaped: &mut self.unescaped,
        };
        json::decode(values, start, len, row)
    }

    #[inline]
    fn csv(&mut self, values: &[u8], mut start: usize, len: usize) -> Result<(), Rejection> {
        let mut len = without_line_end(&values[start..start + len]).len();
        let text = &values[start..start + len];
        utf8(text)?;
        if let [b'"', inner @ .., b'"'] = text {
            match memchr::memchr2(b'"', b'\\', inner) {
                None => (start, len) = (start + 1, without_line_end(inner).len()),
                Some(_) => {
                    // A JSON string with escapes, or a CSV row whose first and last fields are quoted.
                    if let Ok(line) = serde_json::from_slice::<String>(text) {
                        return self.unescaped_line(without_line_end(line.as_bytes()));
                    }
                }
            }
        }
        if memchr::memchr(b'\n', &values[start..start + len]).is_some() {
            return self.lines(&values[start..start + len]);
        }
        csv::cut(values, start, len, TextBuffer::Values, &mut self.unescaped, &mut self.fields)
            .map_err(|e| Rejection::new(Reason::Csv, None, e))?;
        self.push_fields(values, None)
    }

    /// A line from a JSON string with escapes: its fields move to the second buffer.
    #[cold]
    fn unescaped_line(&mut self, line: &[u8]) -> Result<(), Rejection> {
        if memchr::memchr(b'\n', line).is_some() {
            return self.lines(line);
        }
        self.cut_row(line)?;
        self.push_fields(&[], None)
    }

    /// Text with line ends inside: a row whose quoted field holds them, or a header line and one row, the form that the
    /// original's second producer writes.
    #[cold]
    fn lines(&mut self, text: &[u8]) -> Result<(), Rejection> {
        let (first, rest) = text.split_at(memchr::memchr(b'\n', text).unwrap_or(text.len()));
        let first = without_line_end(&text[..first.len() + 1]);
        if self.header.as_ref().is_none_or(|known| known.line != first) {
            let cut = csv::cut(first, 0, first.len(), TextBuffer::Values, &mut self.unescaped, &mut self.fields);
            if cut.is_err() {
                // The line end lies within a quoted field, or cutting the whole text reports what is wrong.
                self.cut_row(text)?;
                return self.push_fields(&[], None);
            }
            self.fields.move_to_unescaped(first, &mut self.unescaped);
            self.header = Some(CsvHeader { line: first.to_vec(), fields: self.header_fields()? });
        }
        let mut row = &rest[1..];
        while let [before @ .., b'\n' | b'\r'] = row {
            row = before;
        }
        self.cut_row(row)?;
        let header = self.header.take();
        let result = self.push_fields(&[], header.as_ref().map(|h| h.fields.as_slice()));
        self.header = header;
        result
    }

    /// The schema field of each name in `self.fields`; none for a name that is ignored.
    fn header_fields(&self) -> Result<Vec<Option<usize>>, Rejection> {
        let names: Vec<String> = (0..self.fields.len())
            .map(|at| {
                let (start, len) = self.fields.spans[at];
                String::from_utf8_lossy(&self.unescaped[start as usize..(start + len) as usize]).trim().to_owned()
            })
            .collect();
        let fields: Vec<Option<usize>> =
            names.iter().map(|name| self.plan.names.iter().position(|known| known == name)).collect();
        if fields.iter().all(Option::is_none) {
            let detail = "the message holds two lines and the first is not a header of the schema's names";
            return Err(Rejection::new(Reason::Fields, None, detail));
        }
        for (at, name) in names.iter().enumerate() {
            let fault = match fields[at] {
                None if self.plan.extra_is_error => "the header names it, and the schema does not",
                Some(_) if fields[..at].contains(&fields[at]) => "the header names it twice",
                _ => continue,
            };
            return Err(Rejection::new(Reason::Fields, Some(name), fault));
        }
        Ok(fields)
    }

    /// Cuts one row that does not outlive the call: its fields move to the second buffer. Line ends are allowed only
    /// within quoted fields.
    fn cut_row(&mut self, row: &[u8]) -> Result<(), Rejection> {
        csv::cut(row, 0, row.len(), TextBuffer::Values, &mut self.unescaped, &mut self.fields)
            .map_err(|e| Rejection::new(Reason::Csv, None, e))?;
        if self.fields.hold_bare_line_end(row) {
            return Err(Rejection::new(Reason::Fields, None, "the message holds more than one row"));
        }
        self.fields.move_to_unescaped(row, &mut self.unescaped);
        Ok(())
    }

    /// Appends the row that `self.fields` describes; `order` gives the schema field of each, when it is not
    /// the schema's own order.
    #[inline]
    fn push_fields(&mut self, values: &[u8], order: Option<&[Option<usize>]>) -> Result<(), Rejection> {
        let expected = order.map_or(self.plan.names.len(), <[_]>::len);
        let found = self.fields.len();
        if found < expected || (found > expected && self.plan.extra_is_error) {
            let missing = match order {
                None => Some(found),
                Some(order) => order.get(found).copied().flatten(),
            };
            let missing = missing.filter(|_| found < expected).and_then(|field| self.plan.names.get(field));
            return Err(field_count(missing, expected, found));
        }
        for (at, column) in self.columns.iter_mut().enumerate() {
            let field = self.plan.field_of[at];
            let place = match order {
                None => field,
                Some(order) => match order.iter().position(|f| *f == Some(field)) {
                    Some(place) => place,
                    None => {
                        column.push_null();
                        continue;
                    }
                },
            };
            let (start, len) = self.fields.spans[place];
            let home = self.fields.home(place);
            let buffer = if home == TextBuffer::Values { values } else { self.unescaped.as_slice() };
            if !column.push_text(buffer, start as usize, len as usize, home) {
                let text = String::from_utf8_lossy(&buffer[start as usize..(start + len) as usize]);
                let detail = format!("expected {}, found {text:?}", self.plan.types[field].name());
                return Err(Rejection::new(Reason::Type, Some(&self.plan.names[field]), detail));
            }
        }
        Ok(())
    }
}

#[cold]
fn field_count(missing: Option<&String>, expected: usize, found: usize) -> Rejection {
    Rejection::new(Reason::Fields, missing.map(String::as_str), format!("expected {expected} fields, found {found}"))
}

/// Strips one trailing line end.
#[inline]
fn without_line_end(text: &[u8]) -> &[u8] {
    match text {
        [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] => line,
        _ => text,
    }
}

#[inline]
fn utf8(text: &[u8]) -> Result<(), Rejection> {
    if text.is_ascii() {
        return Ok(());
    }
    match std::str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(e) => {
            Err(Rejection::new(Reason::Utf8, None, format!("the value is not UTF-8 from byte {}", e.valid_up_to())))
        }
    }
}

#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod tests;
