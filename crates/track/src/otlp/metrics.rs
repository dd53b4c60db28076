//! Metrics as OTLP messages: the families that Prometheus gets, under the same names.
//!
//! A receiver that passes them on to Prometheus adds `_total` to counters; names end in the unit already.

use crate::metrics::{CounterStart, MetricFamily, MetricHistogram, MetricKind, MetricPoint, MetricValue};

use super::messages::{
    CUMULATIVE, Gauge, Histogram, HistogramDataPoint, Metric, MetricData, MetricsRequest, NumberDataPoint, PointNumber,
    ResourceMetrics, ScopeMetrics, Sum,
};
use super::values::{OtlpResource, nanos, text};

/// When counts began and when they were read.
#[derive(Debug, Clone, Copy)]
struct PointTimes {
    start: u64,
    now: u64,
}

/// The request for `/v1/metrics`. Times are microseconds since the epoch, UTC.
pub(super) fn request(
    resource: &OtlpResource,
    families: &[MetricFamily],
    started_at_us: i64,
    now_us: i64,
) -> MetricsRequest {
    let metrics = families.iter().map(|family| metric(family, started_at_us, now_us)).collect();
    let scope = ScopeMetrics { scope: Some(resource.scope()), metrics };
    let resource = Some(resource.message());
    MetricsRequest { resource_metrics: vec![ResourceMetrics { resource, scope_metrics: vec![scope] }] }
}

fn metric(family: &MetricFamily, started_at_us: i64, now_us: i64) -> Metric {
    let info = family.info;
    let start = match info.start {
        CounterStart::Process => nanos(started_at_us),
        // The ledger's counts began with the pipeline, whose moment is not known here: 0 is OTLP's word for unknown.
        CounterStart::Ledger => 0,
    };
    let times = PointTimes { start, now: nanos(now_us) };
    let temporality = CUMULATIVE;
    let numbers = || family.points.iter().filter_map(|point| number_point(point, times)).collect();
    let (name, data) = match info.kind {
        MetricKind::Counter => {
            let sum = Sum { data_points: numbers(), aggregation_temporality: temporality, is_monotonic: true };
            (info.name.to_owned(), MetricData::Sum(sum))
        }
        MetricKind::Gauge => (info.name.to_owned(), MetricData::Gauge(Gauge { data_points: numbers() })),
        MetricKind::Info => (format!("{}_info", info.name), MetricData::Gauge(Gauge { data_points: numbers() })),
        MetricKind::Histogram => {
            let data_points = family.points.iter().filter_map(|point| histogram_point(point, times)).collect();
            (
                info.name.to_owned(),
                MetricData::Histogram(Histogram { data_points, aggregation_temporality: temporality }),
            )
        }
    };
    // Units by UCUM, as OpenTelemetry wants them.
    let unit = match info.unit {
        "seconds" => "s",
        "bytes" => "By",
        _ => "1",
    };
    Metric { name, description: info.help.to_owned(), unit: unit.to_owned(), data: Some(data) }
}

fn number_point(point: &MetricPoint, times: PointTimes) -> Option<NumberDataPoint> {
    let value = match &point.value {
        MetricValue::Unsigned(count) => PointNumber::AsInt(i64::try_from(*count).unwrap_or(i64::MAX)),
        MetricValue::Float(value) => PointNumber::AsDouble(*value),
        MetricValue::Distribution(_) => return None,
    };
    Some(NumberDataPoint {
        attributes: point.labels.iter().map(|(name, value)| text(name, value)).collect(),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        value: Some(value),
    })
}

fn histogram_point(point: &MetricPoint, times: PointTimes) -> Option<HistogramDataPoint> {
    let MetricValue::Distribution(MetricHistogram { sum, count, buckets }) = &point.value else { return None };
    Some(HistogramDataPoint {
        attributes: point.labels.iter().map(|(name, value)| text(name, value)).collect(),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        count: *count,
        sum: Some(*sum),
        bucket_counts: buckets.iter().map(|(_, count)| *count).collect(),
        explicit_bounds: buckets.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite()).collect(),
    })
}
