//! OpenTelemetry: traces and metrics to a collector, as protobuf over HTTP.
//!
//! In: [`TrackEvent`]s and [`Metrics`]. Out: POST requests to `/v1/traces` and `/v1/metrics` below an endpoint.
//! Never makes the caller wait. Start at [`OtlpExporter::observe`]. docs/decisions/0017-open-telemetry.md has the reasons.
//!
//! Source: OpenTelemetry Protocol 1.x, section OTLP/HTTP, binary Protobuf encoding.

mod messages;
mod metrics;
mod spans;
#[cfg(test)]
mod tests;
mod values;

use std::time::Duration;

use parking_lot::Mutex;
use prost::Message;
use turnstile_values::Secret;

use crate::event::TrackEvent;
use crate::metrics::Metrics;
use crate::outbox::{HttpOutbox, OUTBOX_RETRIES, OutboxCounts, OutboxError, OutboxSettings};

use spans::FlowSpans;
pub use values::OtlpResource;

/// How often metrics are sent unless the caller wants otherwise.
pub const OTLP_METRICS_INTERVAL: Duration = Duration::from_secs(10);
/// Requests of either kind that may wait for a collector that is away; the oldest go first.
pub const OTLP_CAPACITY: usize = 256;
const OTLP_CAPACITY_BYTES: usize = 8 << 20;

/// Where telemetry goes.
#[derive(Debug, Clone)]
pub struct OtlpSettings {
    /// The collector, such as `http://localhost:4318`; the paths of the signals are added.
    pub endpoint: Secret,
    /// Such as `authorization`.
    pub headers: Vec<(String, Secret)>,
}

/// Sends spans and metrics of one run.
#[derive(Debug)]
pub struct OtlpExporter {
    resource: OtlpResource,
    spans: Mutex<FlowSpans>,
    traces: HttpOutbox,
    metrics: HttpOutbox,
}

impl OtlpExporter {
    /// Starts sending on `runtime`.
    ///
    /// # Errors
    /// The endpoint or a header is not one. Whether the collector answers is not tried here.
    pub fn start(
        settings: &OtlpSettings,
        resource: OtlpResource,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Self, OutboxError> {
        let outbox = |name, path: &str| {
            let settings = OutboxSettings {
                name,
                url: Secret::new(format!("{}{path}", settings.endpoint.expose().trim_end_matches('/'))),
                headers: settings.headers.clone(),
                content_type: "application/x-protobuf",
                capacity: OTLP_CAPACITY,
                capacity_bytes: OTLP_CAPACITY_BYTES,
                retries: OUTBOX_RETRIES,
            };
            HttpOutbox::start(settings, runtime)
        };
        let traces = outbox("the OpenTelemetry endpoint for traces", "/v1/traces")?;
        let metrics = outbox("the OpenTelemetry endpoint for metrics", "/v1/metrics")?;
        Ok(Self { spans: Mutex::new(FlowSpans::new(resource.clone())), resource, traces, metrics })
    }

    /// Sends the spans that an event at `at_us` (microseconds since the epoch, UTC) ends. Never waits.
    pub fn observe(&self, at_us: i64, event: &TrackEvent) {
        if let Some(request) = self.spans.lock().observe(at_us, event) {
            self.traces.push(request.encode_to_vec());
        }
    }

    /// Sends the metrics' values at `now_us`; to be called every [`OTLP_METRICS_INTERVAL`]. Never waits.
    pub fn send_metrics(&self, now_us: i64, metrics: &Metrics) {
        let families = metrics.families(now_us);
        let request = metrics::request(&self.resource, &families, metrics.started_at_us(), now_us);
        self.metrics.push(request.encode_to_vec());
    }

    /// What became of the requests so far: traces, metrics.
    pub fn counts(&self) -> (OutboxCounts, OutboxCounts) {
        (self.traces.counts(), self.metrics.counts())
    }

    /// Sends what waits, for at most `within` for both together. Returns the final counts.
    pub async fn close(self, within: Duration) -> (OutboxCounts, OutboxCounts) {
        tokio::join!(self.traces.close(within), self.metrics.close(within))
    }
}
