//! OpenMetrics text.
//!
//! Source: OpenMetrics 1.0. The crate `prometheus-client` writes the text; values come from a snapshot rather than from its
//! own counters, since several are the ledger's, and OpenTelemetry gets the same snapshot.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::family::{MetricFamily, MetricInfo, MetricKind, MetricPoint, MetricValue};

/// The families as text, which ends with `# EOF`.
///
/// # Errors
/// Never in practice: writing to a string does not fail.
pub(super) fn encode(families: Vec<MetricFamily>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(FamilyCollector(families)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct FamilyCollector(Vec<MetricFamily>);

impl Collector for FamilyCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in self.0.iter().filter(|family| !family.points.is_empty()) {
            let info = family.info;
            let unit = unit_of(info);
            // The encoder writes the unit behind the name.
            let name = match &unit {
                Some(_) => {
                    info.name.strip_suffix(info.unit).and_then(|name| name.strip_suffix('_')).unwrap_or(info.name)
                }
                None => info.name,
            };
            let mut metric = encoder.encode_descriptor(name, info.help, unit.as_ref(), type_of(info.kind))?;
            for point in &family.points {
                encode_point(&mut metric, info.kind, point)?;
            }
        }
        Ok(())
    }
}

fn encode_point(metric: &mut MetricEncoder<'_>, kind: MetricKind, point: &MetricPoint) -> fmt::Result {
    let labels: Vec<(&str, &str)> = point.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
    if kind == MetricKind::Info {
        return metric.encode_info(&labels);
    }
    let mut metric = metric.encode_family(&labels)?;
    match (&point.value, kind) {
        (MetricValue::Unsigned(value), MetricKind::Counter) => metric.encode_counter::<NoLabelSet, _, f64>(value, None),
        (MetricValue::Float(value), MetricKind::Counter) => metric.encode_counter::<NoLabelSet, _, f64>(value, None),
        (MetricValue::Unsigned(value), _) => metric.encode_gauge(value),
        (MetricValue::Float(value), _) => metric.encode_gauge(value),
        (MetricValue::Distribution(h), _) => metric.encode_histogram::<NoLabelSet>(h.sum, h.count, &h.buckets, None),
    }
}

fn unit_of(info: &MetricInfo) -> Option<Unit> {
    match info.unit {
        "seconds" => Some(Unit::Seconds),
        "bytes" => Some(Unit::Bytes),
        _ => None,
    }
}

fn type_of(kind: MetricKind) -> MetricType {
    match kind {
        MetricKind::Counter => MetricType::Counter,
        MetricKind::Gauge => MetricType::Gauge,
        MetricKind::Histogram => MetricType::Histogram,
        MetricKind::Info => MetricType::Info,
    }
}
