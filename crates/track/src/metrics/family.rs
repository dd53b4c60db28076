//! Values of one metric at one moment: what the encoders of Prometheus and OpenTelemetry share.

/// What kind of metric it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows. Served with the suffix `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution. Served as `_bucket`, `_sum` and `_count`.
    Histogram,
    /// Constant text, in labels. Served with the suffix `_info` and the value 1.
    Info,
}

/// Where a counter begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterStart {
    /// At 0 when the process starts. Also what gauges and histograms have, where it means nothing.
    Process,
    /// At 0 when the pipeline began: the value is the ledger's, and a restart does not reset it.
    Ledger,
}

/// What a metric is called and means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricInfo {
    /// The family's name, with its unit and without the suffixes of [`MetricKind`].
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// `seconds`, `bytes`, or nothing for counts. The name ends in it.
    pub unit: &'static str,
    /// Names of its labels, in the order in which they are served.
    pub labels: &'static [&'static str],
    /// Where it begins, if it is a counter.
    pub start: CounterStart,
    /// What it means, in one sentence.
    pub help: &'static str,
}

impl MetricInfo {
    /// The names of the samples that a scrape has of it.
    pub fn sample_names(&self) -> Vec<String> {
        let suffixes: &[&str] = match self.kind {
            MetricKind::Counter => &["_total"],
            MetricKind::Gauge => &[""],
            MetricKind::Histogram => &["_bucket", "_sum", "_count"],
            MetricKind::Info => &["_info"],
        };
        suffixes.iter().map(|suffix| format!("{}{suffix}", self.name)).collect()
    }
}

/// One metric with all of its points.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricFamily {
    /// What it is.
    pub info: &'static MetricInfo,
    /// One for each set of labels.
    pub points: Vec<MetricPoint>,
}

/// One value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricPoint {
    /// Names and values, in the order of [`MetricInfo::labels`].
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: MetricValue,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricValue {
    /// A count.
    Unsigned(u64),
    /// A measurement.
    Float(f64),
    /// A distribution.
    Distribution(MetricHistogram),
}

/// Observations in buckets.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricHistogram {
    /// Sum of all observations.
    pub sum: f64,
    /// Number of all observations.
    pub count: u64,
    /// Upper bounds (included) with the observations in each bucket alone; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
}

impl MetricHistogram {
    /// Without observations. `bounds` rise; an infinite one is added.
    pub fn new(bounds: &[f64]) -> Self {
        let buckets = bounds.iter().copied().chain([f64::INFINITY]).map(|bound| (bound, 0)).collect();
        Self { sum: 0.0, count: 0, buckets }
    }

    /// Adds an observation. Negative ones, which only a clock that was set back yields, count as 0.
    pub fn observe(&mut self, value: f64) {
        let value = if value.is_finite() { value.max(0.0) } else { return };
        self.sum += value;
        self.count += 1;
        if let Some((_, count)) = self.buckets.iter_mut().find(|(bound, _)| value <= *bound) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let mut histogram = MetricHistogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 7.0, -3.0, f64::NAN] {
            histogram.observe(value);
        }
        assert_eq!(histogram.buckets.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [3, 1, 1]);
        assert_eq!((histogram.count, histogram.sum), (5, 10.0));
    }
}
