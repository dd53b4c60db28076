//! The zone of a Spark session.

use chrono_tz::Tz;
use turnstile_pipeline::{FieldKind, Pipeline};

/// The zone of the event time, which is the session's.
pub(super) fn event_zone(pipeline: &Pipeline) -> Tz {
    let query = &pipeline.query;
    match &pipeline.source.schema[query.columns[query.event_time]].kind {
        FieldKind::Timestamp { zone, .. } => *zone,
        _ => Tz::UTC,
    }
}
