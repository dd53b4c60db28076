//! Whether the zone of the event time may be wrong: the local times of a producer in another zone are whole hours ahead.

use chrono::DateTime;
use tokio::runtime::Handle;
use turnstile_engine::{Inspected, Inspector, half_hours_ahead};
use turnstile_kafka::diagnosis::PartitionRange;
use turnstile_kafka::{KafkaConnection, ReadRecord};
use turnstile_message::{BatchBuilder, SourcePosition};
use turnstile_pipeline::{FieldKind, Pipeline, TimestampFormat};
use turnstile_values::{MILLISECOND_US, SECOND_US};

use super::fault::{client, engine_failed, registry_failed};
use super::owner::now_us;
use super::schemas::open_registry;

/// Partitions whose newest message is read at the most.
const PARTITIONS: usize = 8;

/// Asks about the zone of `pipeline`'s event time, when a newest message of `ranges` is ahead of the clock, or of the moment when
/// it was sent, by whole hours or half hours under it; `None` when none is, or when no message can be decoded.
///
/// # Errors
/// A message, or its schema in the registry, cannot be read.
pub(crate) fn zone_question(
    pipeline: &Pipeline,
    connection: &mut KafkaConnection,
    ranges: &[PartitionRange],
    runtime: &Handle,
) -> anyhow::Result<Option<String>> {
    let schema = &pipeline.source.schema;
    let Some(at) = schema.iter().position(|field| field.name == pipeline.stream.event_time) else { return Ok(None) };
    let FieldKind::Timestamp { format, zone } = &schema[at].kind else { return Ok(None) };
    if matches!(format, TimestampFormat::Epoch(_)) {
        return Ok(None);
    }
    let mut found: Option<(i64, SourcePosition)> = None;
    for record in newest(connection, ranges)? {
        let Some(event_us) = event_time(pipeline, at, &record, runtime)? else { continue };
        let sent_us =
            if record.timestamp_ms < 0 { i64::MAX } else { record.timestamp_ms.saturating_mul(MILLISECOND_US) };
        let ahead_us = event_us.saturating_sub(now_us().min(sent_us));
        let Some(half_hours) = half_hours_ahead(ahead_us / SECOND_US) else { continue };
        if found.as_ref().is_none_or(|(most, _)| half_hours > *most) {
            found = Some((half_hours, record.position));
        }
    }
    Ok(found.map(|(half_hours, position)| {
        let (hours, field) = (half_hours as f64 / 2.0, &pipeline.stream.event_time);
        format!(
            "the newest message, {position}, is {hours} h ahead of the clock: is the zone of {field}, {}, right?",
            zone.name()
        )
    }))
}

/// The newest message of each of the first partitions that have one.
fn newest(connection: &mut KafkaConnection, ranges: &[PartitionRange]) -> anyhow::Result<Vec<ReadRecord>> {
    let mut newest = Vec::new();
    for range in ranges.iter().filter(|range| !range.is_empty()).take(PARTITIONS) {
        let position = SourcePosition { partition: range.partition.clone(), offset: range.latest - 1 };
        newest.extend(connection.fetch_at(&position).map_err(client)?);
    }
    Ok(newest)
}

/// The event time of a message, microseconds since the epoch: of field `at` of the schema.
fn event_time(pipeline: &Pipeline, at: usize, record: &ReadRecord, runtime: &Handle) -> anyhow::Result<Option<i64>> {
    let mut inspector = Inspector::new(pipeline).map_err(engine_failed)?;
    let mut batch = BatchBuilder::default();
    let SourcePosition { partition, offset } = &record.position;
    batch.push(partition, *offset, record.timestamp_ms, record.key.as_deref(), record.value.as_deref());
    let batch = batch.finish();
    for id in inspector.missing_schemas(&batch) {
        let Some(registry) = open_registry(pipeline, runtime)? else { return Ok(None) };
        let schema = registry.schema(id).map_err(registry_failed)?;
        inspector.register_schema(id, schema.as_deref());
    }
    let inspected = inspector.inspect(&batch).map_err(engine_failed)?;
    let Some(Inspected::Fields(fields)) = inspected.into_iter().next() else { return Ok(None) };
    let text = fields.into_iter().nth(at).flatten();
    Ok(text.and_then(|text| DateTime::parse_from_rfc3339(&text).ok()).map(|at| at.timestamp_micros()))
}
