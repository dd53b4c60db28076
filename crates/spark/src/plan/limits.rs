//! What of a pipeline does not run on Spark, and what means something else there.

use turnstile_pipeline::{DedupSettings, FailedGroupPolicy, FieldKind, LatePolicy, MessageFormat, Pipeline};

use super::zone::event_zone;

/// What is refused, a sentence each.
pub(super) fn refused(pipeline: &Pipeline) -> Vec<String> {
    let mut refused = Vec::new();
    let (source, stream) = (&pipeline.source, &pipeline.stream);
    match stream.late {
        LatePolicy::Drop | LatePolicy::DeadLetter => {}
        LatePolicy::Correct => refused.push(
            "late = \"correct\": Spark does not open a closed window again; set late = \"drop\" or \"dead-letter\""
                .into(),
        ),
    }
    if stream.failed_groups == FailedGroupPolicy::LeaveOut {
        refused.push(
            "failed_groups = \"leave-out\": a group that fails ends a Spark query; set failed_groups = \"stop\"".into(),
        );
    }
    if stream.watermark_us % 1_000 != 0 {
        refused.push("a watermark of less than a millisecond: Spark counts in milliseconds".into());
    }
    let zone = event_zone(pipeline);
    for at in &pipeline.query.columns {
        let field = &source.schema[*at];
        match &field.kind {
            FieldKind::Timestamp { zone: own, .. } if *own != zone => refused.push(format!(
                "{}: its zone is {own}, and a Spark session has one zone, that of the event time: {zone}",
                field.name
            )),
            _ => {}
        }
    }
    refused
}

/// What may come out differently, a sentence each.
pub(super) fn differences(pipeline: &Pipeline) -> Vec<String> {
    let stream = &pipeline.stream;
    let mut differences = vec![
        "Spark's watermark is the newest event time of all partitions, moved once a batch: with slow partitions more rows are late"
            .to_owned(),
    ];
    if matches!(pipeline.source.format, MessageFormat::Avro | MessageFormat::JsonSchema) {
        differences.push(
            "the query holds the schemas of the registry: it is started again for messages of a new one".to_owned(),
        );
    }
    if stream.idle_us.is_some() || stream.quiet_us.is_some() {
        differences
            .push("[stream] idle and quiet have no effect: no partition holds Spark's watermark back".to_owned());
    }
    if stream.dedup != DedupSettings::Off {
        differences.push(
            "Spark recognises a duplicate as long as its event time is within the watermark of the first one's"
                .to_owned(),
        );
    }
    differences
}
