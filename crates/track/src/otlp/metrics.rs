//! Metrics as OTLP messages: the families that Prometheus gets, under the same names.
//!
//! A receiver that passes them on to Prometheus adds `_total` to counters; names end in the unit already.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};

use crate::metrics::{CounterStart, MetricFamily, MetricHistogram, MetricKind, MetricPoint, MetricValue};

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
) -> ExportMetricsServiceRequest {
    let metrics = families.iter().map(|family| metric(family, started_at_us, now_us)).collect();
    let scope = ScopeMetrics { scope: Some(resource.scope()), metrics, ..ScopeMetrics::default() };
    let resource = Some(resource.message());
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource, scope_metrics: vec![scope], ..ResourceMetrics::default() }],
    }
}

fn metric(family: &MetricFamily, started_at_us: i64, now_us: i64) -> Metric {
    let info = family.info;
    let start = match info.start {
        CounterStart::Process => nanos(started_at_us),
        // The ledger's counts began with the pipeline, whose moment is not known here: 0 is OTLP's word for unknown.
        CounterStart::Ledger => 0,
    };
    let times = PointTimes { start, now: nanos(now_us) };
    let temporality = AggregationTemporality::Cumulative as i32;
    let numbers = || family.points.iter().filter_map(|point| number_point(point, times)).collect();
    let (name, data) = match info.kind {
        MetricKind::Counter => {
            let sum = Sum { data_points: numbers(), aggregation_temporality: temporality, is_monotonic: true };
            (info.name.to_owned(), Data::Sum(sum))
        }
        MetricKind::Gauge => (info.name.to_owned(), Data::Gauge(Gauge { data_points: numbers() })),
        MetricKind::Info => (format!("{}_info", info.name), Data::Gauge(Gauge { data_points: numbers() })),
        MetricKind::Histogram => {
            let data_points = family.points.iter().filter_map(|point| histogram_point(point, times)).collect();
            (info.name.to_owned(), Data::Histogram(Histogram { data_points, aggregation_temporality: temporality }))
        }
    };
    // Units by UCUM, as OpenTelemetry wants them.
    let unit = match info.unit {
        "seconds" => "s",
        "bytes" => "By",
        _ => "1",
    };
    Metric { name, description: info.help.to_owned(), unit: unit.to_owned(), data: Some(data), ..Metric::default() }
}

fn number_point(point: &MetricPoint, times: PointTimes) -> Option<NumberDataPoint> {
    let value = match &point.value {
        MetricValue::Unsigned(count) => Value::AsInt(i64::try_from(*count).unwrap_or(i64::MAX)),
        MetricValue::Float(value) => Value::AsDouble(*value),
        MetricValue::Distribution(_) => return None,
    };
    Some(NumberDataPoint {
        attributes: point.labels.iter().map(|(name, value)| text(name, value)).collect(),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        value: Some(value),
        ..NumberDataPoint::default()
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
        ..HistogramDataPoint::default()
    })
}
