//! What of a pipeline does not run on Spark, and what means something else there.

use turnstile_pipeline::{
    DedupSettings, FailedGroupPolicy, FieldKind, LatePolicy, MessageFormat, Pipeline, TimestampFormat,
};

use super::zone::event_zone;

/// What is refused, a sentence each.
pub(super) fn refused(pipeline: &Pipeline) -> Vec<String> {
    let mut refused = Vec::new();
    let (source, stream) = (&pipeline.source, &pipeline.stream);
    if source.format != MessageFormat::Csv {
        refused.push(format!("messages of format = \"{}\" are not read on Spark yet: csv is", source.format.as_str()));
    }
    match stream.late {
        LatePolicy::Drop => {}
        LatePolicy::DeadLetter => {
            refused.push(
                "late = \"dead-letter\": Spark counts late rows and does not keep them; set late = \"drop\"".into(),
            );
        }
        LatePolicy::Correct => {
            refused.push("late = \"correct\": Spark does not open a closed window again; set late = \"drop\"".into());
        }
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
            FieldKind::Timestamp { format: TimestampFormat::Iso, .. } => {
                refused.push(format!(
                    "{}: format = \"iso\" is not read on Spark yet: patterns and epoch-… are",
                    field.name
                ));
            }
            FieldKind::Decimal { .. } => {
                refused.push(format!("{}: a decimal field is not read exactly on Spark yet", field.name));
            }
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
