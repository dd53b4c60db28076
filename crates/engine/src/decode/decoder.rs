//! Messages of any format to typed columns.
//!
//! In: a [`MessageBatch`]. Out: [`Decoded`]. Start at [`Decoder::decode`].

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::Buffer;
use turnstile_message::{MessageBatch, SchemaKind, WriterSchema};
use turnstile_pipeline::MessageFormat;

use super::avro::RecordReader;
use super::column_builder::ColumnBuilder;
use super::csv_decoder::{CsvDecoder, RowBuilder};
use super::decode_plan::{DecodePlan, EventTimeSource, MetadataColumn};
use super::rejection::{Reason, Rejection, byte_order_mark, check_utf8};
use super::writer_schemas::{self, KnownSchema, WriterSchemas};
use super::{json, metadata};

/// The good rows of one batch as columns, and the others.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    /// One array per column of the plan, one row per good message.
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
    csv: CsvDecoder,
    unescaped: Vec<u8>,
    seen: Vec<bool>,
    schemas: WriterSchemas,
}

impl Decoder {
    pub(crate) fn new(plan: Arc<DecodePlan>) -> Self {
        let columns = plan.field_of.iter().map(|field| ColumnBuilder::new(&plan.types[*field])).collect();
        Self {
            plan,
            columns,
            csv: CsvDecoder::default(),
            unescaped: Vec::new(),
            seen: Vec::new(),
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
                match RecordReader::new(schema, &self.plan) {
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
                MessageFormat::Csv => {
                    let (plan, columns, unescaped) = (&*self.plan, &mut *self.columns, &mut self.unescaped);
                    let mut out = RowBuilder { plan, columns, unescaped };
                    self.csv.decode(values, start as usize, len as usize, &mut out)
                }
                MessageFormat::Json => self.json(values, start as usize, len as usize),
                MessageFormat::Avro | MessageFormat::JsonSchema => self.by_schema(values, start as usize, len as usize),
            };
            let event = result.and_then(|()| {
                let event_us = match self.plan.event_time {
                    EventTimeSource::Column(column) => self.columns[column].last_micros(),
                    EventTimeSource::MessageTimestamp => metadata::timestamp_us(batch, row),
                };
                event_us.ok_or_else(|| {
                    Rejection::new(Reason::EventTime, Some(&self.plan.event_name), "the event time is missing")
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
        for MetadataColumn { column, kind, data_type } in &self.plan.metadata {
            out.columns.insert(*column, metadata::column(*kind, data_type, batch, &out.rows));
        }
        out
    }

    /// A message that begins with its schema's id. A separate function, so that the loop over CSV stays small.
    #[inline(never)]
    fn by_schema(&mut self, values: &[u8], start: usize, len: usize) -> Result<(), Rejection> {
        let value = &values[start..start + len];
        let (id, header) = writer_schemas::header(value).ok_or_else(|| writer_schemas::no_header(value))?;
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
        let text = &values[start..start + len];
        check_utf8(text)?;
        let mark = byte_order_mark(text);
        let row = json::JsonRow {
            plan: &self.plan,
            columns: &mut self.columns,
            seen: &mut self.seen,
            unescaped: &mut self.unescaped,
        };
        json::decode(values, start + mark, len - mark, row)
    }
}

#[cfg(test)]
#[path = "field_tests.rs"]
mod field_tests;
#[cfg(test)]
#[path = "schema_tests.rs"]
mod schema_tests;
#[cfg(test)]
#[path = "tests.rs"]
mod tests;
