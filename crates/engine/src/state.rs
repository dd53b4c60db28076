//! State as bytes: Arrow IPC streams in a small container. The format is documented in docs/state.md.
//!
//! A container holds the magic `TSTATE1\n`, then sections until its end: a one-byte tag, the length of the
//! content as 8 bytes little endian, the content. Every section is an Arrow IPC stream.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Int64Type, Schema, SchemaRef, UInt32Type, UInt64Type};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use turnstile_message::{OffsetRange, TopicPartition};

use crate::dedup::SeenMessage;
use crate::error::EngineError;
use crate::groups::Layer;
use crate::registers::{CarryColumns, LastReadings, RegisterReading, RegisterReadings};
use crate::stream_plan::StreamPlan;

const MAGIC: &[u8] = b"TSTATE1\n";

/// Rows of a batch of messages seen.
const SEEN_ROWS: usize = 1 << 16;

/// Sections, by tag.
mod tag {
    /// Partial aggregates: a batch per layer; `window` (int64, µs), keys, states.
    pub(super) const GROUPS: u8 = 1;
    /// Register readings: a batch per layer; `group`, `event`, `order`, a nullable value per register.
    pub(super) const READINGS: u8 = 2;
    /// `window`, `messages`, `version`, `dirty` (0 or 1).
    pub(super) const WINDOWS: u8 = 3;
    /// `window`, `topic`, `partition`, `first`, `last`, `messages`.
    pub(super) const SOURCES: u8 = 4;
    /// `bucket`, `high`, `low`.
    pub(super) const SEEN: u8 = 5;
    /// Keys, then `event`, `order`, `value` per register.
    pub(super) const CARRY: u8 = 6;
}

/// What is kept of a window besides its groups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WindowMeta {
    pub(crate) start_us: i64,
    pub(crate) messages: u64,
    pub(crate) version: u32,
    pub(crate) dirty: bool,
}

/// Decoded state.
#[derive(Default)]
pub(crate) struct StateSnapshot {
    pub(crate) layers: Vec<(i64, Layer)>,
    pub(crate) windows: Vec<WindowMeta>,
    pub(crate) sources: Vec<(i64, OffsetRange)>,
    pub(crate) seen: Vec<SeenMessage>,
    pub(crate) carry: Option<CarryRows>,
}

/// Keys and, per group, the last reading of each register.
type CarryRows = (RecordBatch, Vec<LastReadings>);

pub(crate) fn encode<'a>(
    plan: &StreamPlan,
    layers: impl Iterator<Item = (i64, &'a Layer)>,
    windows: impl Iterator<Item = WindowMeta>,
    sources: impl Iterator<Item = (i64, &'a OffsetRange)>,
    seen: impl Iterator<Item = SeenMessage>,
    carry: Option<CarryColumns>,
) -> Result<Vec<u8>, EngineError> {
    let mut out = MAGIC.to_vec();
    let (mut groups, mut readings) = (Vec::new(), Vec::new());
    let (group_schema, reading_schema) = (group_schema(plan), reading_schema(plan));
    for (start, layer) in layers {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_value(start, layer.groups.num_rows()))];
        columns.extend(layer.groups.columns().iter().cloned());
        groups.push(RecordBatch::try_new(Arc::clone(&group_schema), columns)?);
        if !plan.registers.is_empty() {
            readings.push(reading_batch(&reading_schema, &layer.readings)?);
        }
    }
    section(&mut out, tag::GROUPS, &group_schema, groups.into_iter().map(Ok))?;
    if !plan.registers.is_empty() {
        section(&mut out, tag::READINGS, &reading_schema, readings.into_iter().map(Ok))?;
    }
    let windows: Vec<WindowMeta> = windows.collect();
    let batch = batch([
        ("window", long(windows.iter().map(|w| w.start_us))),
        ("messages", ulong(windows.iter().map(|w| w.messages))),
        ("version", ulong(windows.iter().map(|w| u64::from(w.version)))),
        ("dirty", ulong(windows.iter().map(|w| u64::from(w.dirty)))),
    ])?;
    section(&mut out, tag::WINDOWS, &batch.schema(), [Ok(batch)])?;
    let sources: Vec<(i64, &OffsetRange)> = sources.collect();
    let batch = self::batch([
        ("window", long(sources.iter().map(|(w, _)| *w))),
        ("topic", Arc::new(StringArray::from_iter_values(sources.iter().map(|(_, s)| &s.partition.topic)))),
        ("partition", Arc::new(Int32Array::from_iter_values(sources.iter().map(|(_, s)| s.partition.partition)))),
        ("first", long(sources.iter().map(|(_, s)| s.first))),
        ("last", long(sources.iter().map(|(_, s)| s.last))),
        ("messages", ulong(sources.iter().map(|(_, s)| s.messages))),
    ])?;
    section(&mut out, tag::SOURCES, &batch.schema(), [Ok(batch)])?;
    seen_section(&mut out, seen)?;
    if let Some((keys, readings)) = carry {
        let batch = carry_batch(plan, keys, &readings)?;
        section(&mut out, tag::CARRY, &batch.schema(), [Ok(batch)])?;
    }
    Ok(out)
}

/// One layer as a blob, of no window.
pub(crate) fn encode_layer(plan: &StreamPlan, layer: &Layer) -> Result<Vec<u8>, EngineError> {
    use std::iter::{empty, once};
    encode(plan, once((0, layer)), empty(), empty(), empty(), None)
}

/// What [`encode_layer`] encoded.
pub(crate) fn decode_layer(plan: &StreamPlan, bytes: &[u8]) -> Result<Layer, EngineError> {
    let layers = decode(plan, bytes)?.layers;
    layers.into_iter().next().map(|(_, layer)| layer).ok_or_else(|| EngineError::State("it has no layer".to_owned()))
}

pub(crate) fn decode(plan: &StreamPlan, bytes: &[u8]) -> Result<StateSnapshot, EngineError> {
    let bad = |what: &str| EngineError::State(what.to_owned());
    let mut rest = bytes.strip_prefix(MAGIC).ok_or_else(|| bad("it does not begin with the magic bytes"))?;
    let mut snapshot = StateSnapshot::default();
    let (mut groups, mut readings) = (Vec::new(), Vec::new());
    while let Some((&kind, after)) = rest.split_first() {
        let (len, after) = after.split_at_checked(8).ok_or_else(|| bad("it is truncated"))?;
        let len = u64::from_le_bytes(len.try_into().expect("8 bytes")) as usize;
        let (content, after) = after.split_at_checked(len).ok_or_else(|| bad("it is truncated"))?;
        rest = after;
        let batches = StreamReader::try_new(Cursor::new(content), None)?.collect::<Result<Vec<_>, _>>()?;
        match kind {
            tag::GROUPS => groups = batches,
            tag::READINGS => readings = batches,
            tag::WINDOWS => batches.iter().for_each(|b| read_windows(b, &mut snapshot.windows)),
            tag::SOURCES => batches.iter().for_each(|b| read_sources(b, &mut snapshot.sources)),
            tag::SEEN => batches.iter().for_each(|b| read_seen(b, &mut snapshot.seen)),
            tag::CARRY => snapshot.carry = batches.into_iter().next().map(|b| read_carry(plan, b)),
            other => {
                return Err(bad(&format!("it contains a section of kind {other}, which this version does not know")));
            }
        }
    }
    for (at, batch) in groups.into_iter().enumerate() {
        if batch.num_columns() != plan.layer.fields().len() + 1 || batch.num_rows() == 0 {
            return Err(bad("its columns are not those of this query"));
        }
        let start = batch.column(0).as_primitive::<Int64Type>().value(0);
        let columns = batch.columns()[1..].to_vec();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let groups = RecordBatch::try_new_with_options(Arc::clone(&plan.layer), columns, &options)?;
        let readings = match readings.get(at) {
            Some(batch) => read_readings(plan, batch),
            None => RegisterReadings::new(plan.registers.len()),
        };
        snapshot.layers.push((start, Layer { groups, readings }));
    }
    Ok(snapshot)
}

/// There can be millions of messages seen: they are written in batches, so that there is no second copy of all in memory.
fn seen_section(out: &mut Vec<u8>, mut seen: impl Iterator<Item = SeenMessage>) -> Result<(), EngineError> {
    let mut next = || {
        let rows: Vec<SeenMessage> = seen.by_ref().take(SEEN_ROWS).collect();
        batch([
            ("bucket", long(rows.iter().map(|s| s.bucket_us))),
            ("high", ulong(rows.iter().map(|s| (s.hash >> 64) as u64))),
            ("low", ulong(rows.iter().map(|s| s.hash as u64))),
        ])
    };
    let first = next()?;
    let schema = first.schema();
    let mut batch = Some(first);
    let batches = std::iter::from_fn(|| {
        let now = batch.take()?;
        if now.num_rows() == SEEN_ROWS {
            batch = match next() {
                Ok(more) => Some(more).filter(|more| more.num_rows() > 0),
                Err(error) => return Some(Err(error)),
            };
        }
        Some(Ok(now))
    });
    section(out, tag::SEEN, &schema, batches)
}

/// Writes a section in place: its length is filled in once it is known.
fn section(
    out: &mut Vec<u8>,
    tag: u8,
    schema: &SchemaRef,
    batches: impl IntoIterator<Item = Result<RecordBatch, EngineError>>,
) -> Result<(), EngineError> {
    out.push(tag);
    let at = out.len();
    out.extend_from_slice(&[0; 8]);
    let mut writer = StreamWriter::try_new(&mut *out, schema)?;
    for batch in batches {
        writer.write(&batch?)?;
    }
    writer.finish()?;
    drop(writer);
    let len = (out.len() - at - 8) as u64;
    out[at..at + 8].copy_from_slice(&len.to_le_bytes());
    Ok(())
}

fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> Result<RecordBatch, EngineError> {
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn long(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn ulong(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(values))
}

fn group_schema(plan: &StreamPlan) -> SchemaRef {
    let window: FieldRef = Arc::new(Field::new("window", DataType::Int64, false));
    Arc::new(Schema::new(std::iter::once(window).chain(plan.layer.fields().iter().cloned()).collect::<Vec<_>>()))
}

fn reading_schema(plan: &StreamPlan) -> SchemaRef {
    let mut fields = vec![
        Field::new("group", DataType::UInt32, false),
        Field::new("event", DataType::Int64, false),
        Field::new("order", DataType::Int64, false),
    ];
    fields.extend((0..plan.registers.len()).map(|i| Field::new(format!("register{i}"), DataType::Int64, true)));
    Arc::new(Schema::new(fields))
}

fn reading_batch(schema: &SchemaRef, readings: &RegisterReadings) -> Result<RecordBatch, EngineError> {
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from(readings.groups.clone())),
        Arc::new(Int64Array::from(readings.event_us.clone())),
        Arc::new(Int64Array::from(readings.orders.clone())),
    ];
    columns.extend(readings.values.iter().map(|v| Arc::new(Int64Array::from(v.clone())) as ArrayRef));
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn read_readings(plan: &StreamPlan, batch: &RecordBatch) -> RegisterReadings {
    RegisterReadings {
        groups: batch.column(0).as_primitive::<UInt32Type>().values().to_vec(),
        event_us: batch.column(1).as_primitive::<Int64Type>().values().to_vec(),
        orders: batch.column(2).as_primitive::<Int64Type>().values().to_vec(),
        values: (0..plan.registers.len())
            .map(|i| batch.column(3 + i).as_primitive::<Int64Type>().iter().collect())
            .collect(),
    }
}

fn carry_batch(plan: &StreamPlan, keys: Vec<ArrayRef>, readings: &[LastReadings]) -> Result<RecordBatch, EngineError> {
    let mut fields: Vec<FieldRef> = plan.key_schema.fields().iter().cloned().collect();
    let mut columns = keys;
    if columns.is_empty() && !fields.is_empty() {
        columns = fields.iter().map(|f| arrow::array::new_empty_array(f.data_type())).collect();
    }
    for register in 0..plan.registers.len() {
        let part = |name: &str, of: fn(&RegisterReading) -> i64| {
            let column = Int64Array::from_iter(readings.iter().map(|r| r[register].as_ref().map(of)));
            (Arc::new(Field::new(format!("{name}{register}"), DataType::Int64, true)), Arc::new(column) as ArrayRef)
        };
        for (field, column) in [part("event", |r| r.event_us), part("order", |r| r.order), part("value", |r| r.value)] {
            fields.push(field);
            columns.push(column);
        }
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn read_carry(plan: &StreamPlan, batch: RecordBatch) -> CarryRows {
    let keys = plan.keys.len();
    let readings = (0..batch.num_rows())
        .map(|row| {
            (0..plan.registers.len())
                .map(|register| {
                    let part = |at: usize| {
                        let column = batch.column(keys + 3 * register + at).as_primitive::<Int64Type>();
                        arrow::array::Array::is_valid(column, row).then(|| column.value(row))
                    };
                    Some(RegisterReading { event_us: part(0)?, order: part(1)?, value: part(2)? })
                })
                .collect()
        })
        .collect();
    (batch, readings)
}

fn read_windows(batch: &RecordBatch, out: &mut Vec<WindowMeta>) {
    let number = |at: usize, row: usize| batch.column(at).as_primitive::<UInt64Type>().value(row);
    for row in 0..batch.num_rows() {
        out.push(WindowMeta {
            start_us: batch.column(0).as_primitive::<Int64Type>().value(row),
            messages: number(1, row),
            version: number(2, row) as u32,
            dirty: number(3, row) != 0,
        });
    }
}

fn read_sources(batch: &RecordBatch, out: &mut Vec<(i64, OffsetRange)>) {
    let long = |at: usize, row: usize| batch.column(at).as_primitive::<Int64Type>().value(row);
    for row in 0..batch.num_rows() {
        let topic = batch.column(1).as_string::<i32>().value(row);
        let partition = batch.column(2).as_primitive::<Int32Type>().value(row);
        let range = OffsetRange {
            partition: TopicPartition::new(topic, partition),
            first: long(3, row),
            last: long(4, row),
            messages: batch.column(5).as_primitive::<UInt64Type>().value(row),
        };
        out.push((long(0, row), range));
    }
}

fn read_seen(batch: &RecordBatch, out: &mut Vec<SeenMessage>) {
    let number = |at: usize, row: usize| u128::from(batch.column(at).as_primitive::<UInt64Type>().value(row));
    for row in 0..batch.num_rows() {
        out.push(SeenMessage {
            bucket_us: batch.column(0).as_primitive::<Int64Type>().value(row),
            hash: number(1, row) << 64 | number(2, row),
        });
    }
}
