//! Metrics of one pipeline's run, for Prometheus and OpenTelemetry.
//!
//! In: [`TrackEvent`]s, and at a scrape the clock. Out: [`MetricFamily`]s, or the same as OpenMetrics text.
//! Serves nothing itself: HTTP is the caller's. Start at [`Metrics::observe`].
//!
//! Counters of the process begin at 0 with it, as Prometheus expects. Counts of committed messages are the ledger's: they go on
//! after a restart, and are absent until [`Metrics::resume`] or the first commit tells them. Neither ever goes down.

mod catalogue;
mod collect;
pub(crate) mod counts;
mod family;
mod process;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;

use parking_lot::Mutex;
use turnstile_message::Counters;

use crate::event::TrackEvent;

pub use catalogue::METRICS;
pub use collect::MAX_PARTITION_SERIES;
use collect::Scrape;
use counts::FlowCounts;
pub use counts::MAX_LABEL_VALUES;
pub use family::{CounterStart, MetricFamily, MetricHistogram, MetricInfo, MetricKind, MetricPoint, MetricValue};
pub use process::resident_bytes;

/// The `Content-Type` of [`Metrics::encode`]'s text.
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of one pipeline.
#[derive(Debug)]
pub struct Metrics {
    pipeline: String,
    version: String,
    started_at_us: i64,
    counts: Mutex<FlowCounts>,
}

impl Metrics {
    /// Metrics of `pipeline`, run by turnstile `version` since `started_at_us` (microseconds since the epoch, UTC).
    pub fn new(pipeline: impl Into<String>, version: impl Into<String>, started_at_us: i64) -> Self {
        let (pipeline, version) = (pipeline.into(), version.into());
        Self { pipeline, version, started_at_us, counts: Mutex::new(FlowCounts::default()) }
    }

    /// Counts an event that happened at `at_us` (microseconds since the epoch, UTC).
    pub fn observe(&self, at_us: i64, event: &TrackEvent) {
        self.counts.lock().observe(at_us, event);
    }

    /// Serves the counts of the ledger's last commit, which an earlier process made at `committed_at_us` (microseconds since the
    /// epoch, UTC), until this process commits.
    pub fn resume(&self, counters: &Counters, committed_at_us: i64) {
        self.counts.lock().resume(counters, committed_at_us);
    }

    /// Sets how many events or deliveries `listener` has lost since the process began. A smaller number than before is ignored.
    pub fn set_dropped(&self, listener: &str, total: u64) {
        self.counts.lock().set_dropped(listener, total);
    }

    /// When the run began, microseconds since the epoch, UTC.
    pub fn started_at_us(&self) -> i64 {
        self.started_at_us
    }

    /// Every metric that has a value at `now_us` (microseconds since the epoch, UTC), in the order of [`METRICS`].
    pub fn families(&self, now_us: i64) -> Vec<MetricFamily> {
        let process = process::read();
        let counts = self.counts.lock();
        let (pipeline, version) = (self.pipeline.as_str(), self.version.as_str());
        let started_at_us = self.started_at_us;
        Scrape { pipeline, version, started_at_us, now_us, counts: &counts, process }.families()
    }

    /// The same as OpenMetrics text, to be sent with [`METRICS_CONTENT_TYPE`].
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub fn encode(&self, now_us: i64) -> Result<String, fmt::Error> {
        text::encode(self.families(now_us))
    }
}
