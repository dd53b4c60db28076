//! The metrics' values at one moment.

use turnstile_message::TopicPartition;

use super::catalogue as is;
use super::counts::{FILE_KINDS, FlowCounts, LEVELS, OTHER, seconds_between};
use super::family::{MetricFamily, MetricInfo, MetricPoint, MetricValue};
use super::process::ProcessUse;

/// Partitions that have their own series of lag; those beyond share one whose topic and partition are `other`.
pub const MAX_PARTITION_SERIES: usize = 1_000;

/// What a scrape is made from.
pub(super) struct Scrape<'a> {
    pub(super) pipeline: &'a str,
    pub(super) version: &'a str,
    pub(super) started_at_us: i64,
    pub(super) now_us: i64,
    pub(super) counts: &'a FlowCounts,
    pub(super) process: ProcessUse,
}

type Points = Vec<MetricPoint>;

impl Scrape<'_> {
    /// Every family that has a value, in the order of the catalogue.
    pub(super) fn families(&self) -> Vec<MetricFamily> {
        let families = [self.run(), self.messages(), self.time_and_state(), self.files(), self.loads(), self.process()];
        let points = families.into_iter().flatten().filter(|(_, points)| !points.is_empty());
        let mut families: Vec<_> = points.map(|(info, points)| MetricFamily { info, points }).collect();
        families.sort_by_key(|family| is::METRICS.iter().position(|info| *info == family.info));
        families
    }

    fn run(&self) -> Vec<(&'static MetricInfo, Points)> {
        let version = vec![("version", self.version.to_owned())];
        let build = vec![MetricPoint { labels: version, value: MetricValue::Unsigned(1) }];
        let counts = self.counts;
        let lines = LEVELS.iter().zip(counts.log_lines).map(|(level, count)| self.labelled("level", level, count));
        let retries = counts.retries.iter().map(|(action, count)| self.labelled("action", action, *count));
        let dropped = counts.dropped.iter().map(|(listener, count)| self.labelled("listener", listener, *count));
        vec![
            (&is::BUILD, build),
            (&is::RUN_START, self.float(Some(seconds(self.started_at_us)))),
            (&is::PARTITIONS, self.count(counts.partitions as u64)),
            (&is::LOG_LINES, lines.collect()),
            (&is::RETRIES, retries.collect()),
            (&is::DROPPED, dropped.collect()),
        ]
    }

    fn messages(&self) -> Vec<(&'static MetricInfo, Points)> {
        let counts = self.counts;
        let mut families = vec![
            (&is::READ_MESSAGES, self.count(counts.read_messages.total())),
            (&is::READ_BYTES, self.count(counts.read_bytes.total())),
            (&is::LAG_RECORDS, self.lag_records()),
            (&is::LAG_SECONDS, self.lag_seconds()),
        ];
        // Until they are known, the ledger's counts are left out. A 0 would look like a counter that was
        // reset, and the first commit like all of the pipeline's messages at once.
        if let Some(committed) = &counts.committed {
            let fates = committed.served.terms();
            families.extend([
                (&is::COMMITTED, self.count(committed.served.read)),
                (&is::FATES, fates.iter().map(|(fate, count)| self.labelled("fate", fate, *count)).collect()),
                (&is::CORRECTIONS, self.count(committed.served.corrections)),
                (&is::CONSERVATION, self.float(Some(committed.difference))),
            ]);
        }
        families
    }

    fn time_and_state(&self) -> Vec<(&'static MetricInfo, Points)> {
        let counts = self.counts;
        let delay = counts.watermark_us.map(|watermark_us| seconds_between(watermark_us, self.now_us));
        let committed = counts.committed.as_ref();
        let places = [("memory", counts.memory_bytes), ("committed", committed.and_then(|commit| commit.state_bytes))];
        let state = places.iter().filter_map(|(place, bytes)| Some(self.labelled("place", place, (*bytes)?)));
        vec![
            (&is::WATERMARK, self.float(counts.watermark_us.map(seconds))),
            (&is::WATERMARK_DELAY, self.float(delay)),
            (&is::OPEN_WINDOWS, self.count(counts.open_windows as u64)),
            (&is::STATE, state.collect()),
            (&is::COMMIT_SECONDS, self.point(MetricValue::Distribution(counts.commit_seconds.clone()))),
            (&is::LAST_COMMIT, self.float(committed.map(|commit| seconds(commit.at_us)))),
        ]
    }

    fn files(&self) -> Vec<(&'static MetricInfo, Points)> {
        let counts = self.counts;
        let kinds = || FILE_KINDS.iter().zip(counts.files);
        let reasons = counts.dead_letters.iter().map(|(reason, count)| self.labelled("reason", reason, *count));
        vec![
            (&is::CLOSE_TO_FILE, self.point(MetricValue::Distribution(counts.close_to_file.clone()))),
            (&is::END_TO_FILE, self.point(MetricValue::Distribution(counts.end_to_file.clone()))),
            (&is::FILES, kinds().map(|(kind, counts)| self.labelled("kind", kind, counts.files)).collect()),
            (&is::FILE_ROWS, kinds().map(|(kind, counts)| self.labelled("kind", kind, counts.rows)).collect()),
            (&is::FILE_BYTES, kinds().map(|(kind, counts)| self.labelled("kind", kind, counts.bytes)).collect()),
            (&is::DEAD_LETTERS, reasons.collect()),
        ]
    }

    fn loads(&self) -> Vec<(&'static MetricInfo, Points)> {
        let loads = &self.counts.loads;
        let ended = || loads.iter().filter_map(|(target, load)| Some((target, load, load.ended_at_us?)));
        let of = |target: &str, value| self.with_labels(&[("target", target)], value);
        let age = |at_us| MetricValue::Float(seconds_between(at_us, self.now_us).max(0.0));
        let durations = loads.iter().map(|(t, load)| of(t, MetricValue::Distribution(load.duration.clone())));
        vec![
            (&is::LOAD_AGE, ended().map(|(target, _, at_us)| of(target, age(at_us))).collect()),
            (&is::LOAD_SECONDS, durations.collect()),
            (&is::LOAD_ROWS, loads.iter().map(|(t, load)| of(t, MetricValue::Unsigned(load.rows))).collect()),
            (&is::LOAD_FAILURES, loads.iter().map(|(t, load)| of(t, MetricValue::Unsigned(load.failures))).collect()),
            (&is::FAILED_TESTS, ended().map(|(t, load, _)| of(t, MetricValue::Unsigned(load.failed_tests))).collect()),
        ]
    }

    fn process(&self) -> Vec<(&'static MetricInfo, Points)> {
        let bare = |value: Option<MetricValue>| value.map(|value| MetricPoint { labels: Vec::new(), value });
        vec![
            (&is::CPU, bare(self.process.cpu_seconds.map(MetricValue::Float)).into_iter().collect()),
            (&is::MEMORY, bare(self.process.resident_bytes.map(MetricValue::Unsigned)).into_iter().collect()),
            (&is::OPEN_FILES, bare(self.process.open_files.map(MetricValue::Unsigned)).into_iter().collect()),
        ]
    }

    fn lag_records(&self) -> Points {
        let lag = &self.counts.lag_records;
        let own = lag.iter().take(MAX_PARTITION_SERIES);
        let mut points: Points =
            own.map(|(at, records)| self.of_partition(at, MetricValue::Unsigned(*records))).collect();
        if let Some(rest) = lag.get(MAX_PARTITION_SERIES..).filter(|rest| !rest.is_empty()) {
            let sum = rest.iter().fold(0u64, |sum, (_, records)| sum.saturating_add(*records));
            points.push(self.of_other_partitions(MetricValue::Unsigned(sum)));
        }
        points
    }

    fn lag_seconds(&self) -> Points {
        let lag = &self.counts.lag_seconds;
        let own = lag.iter().take(MAX_PARTITION_SERIES);
        let mut points: Points = own.map(|(at, age)| self.of_partition(at, MetricValue::Float(*age))).collect();
        if let Some(rest) = lag.get(MAX_PARTITION_SERIES..).filter(|rest| !rest.is_empty()) {
            let oldest = rest.iter().fold(0.0f64, |oldest, (_, age)| oldest.max(*age));
            points.push(self.of_other_partitions(MetricValue::Float(oldest)));
        }
        points
    }

    fn of_partition(&self, at: &TopicPartition, value: MetricValue) -> MetricPoint {
        self.with_labels(&[("topic", &at.topic), ("partition", &at.partition.to_string())], value)
    }

    fn of_other_partitions(&self, value: MetricValue) -> MetricPoint {
        self.with_labels(&[("topic", OTHER), ("partition", OTHER)], value)
    }

    fn labelled(&self, name: &'static str, label: &str, count: u64) -> MetricPoint {
        self.with_labels(&[(name, label)], MetricValue::Unsigned(count))
    }

    fn with_labels(&self, labels: &[(&'static str, &str)], value: MetricValue) -> MetricPoint {
        let labels = [("pipeline", self.pipeline)].into_iter().chain(labels.iter().copied());
        MetricPoint { labels: labels.map(|(name, value)| (name, value.to_owned())).collect(), value }
    }

    fn point(&self, value: MetricValue) -> Points {
        vec![self.with_labels(&[], value)]
    }

    fn count(&self, count: u64) -> Points {
        self.point(MetricValue::Unsigned(count))
    }

    fn float(&self, value: Option<f64>) -> Points {
        value.into_iter().flat_map(|value| self.point(MetricValue::Float(value))).collect()
    }
}

fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}
