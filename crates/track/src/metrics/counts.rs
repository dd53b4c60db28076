//! What metrics remember of the events of a flow.

use std::collections::BTreeMap;

use turnstile_message::{Counters, TopicPartition};

use crate::event::{CommitReport, FileContent, LoadReport, LogLevel, StatusReport, TrackEvent};

use super::family::MetricHistogram;

/// Reasons of dead letters, targets, actions and listeners that have series; what comes later is counted as [`OTHER`].
pub const MAX_LABEL_VALUES: usize = 24;
/// The label of what exceeds a limit.
pub(super) const OTHER: &str = "other";

/// Upper bounds for steps of a commit, in seconds.
const COMMIT_BOUNDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Upper bounds for what includes waiting for stragglers, and for loads: up to a day.
const LONG_BOUNDS: [f64; 13] =
    [0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 600.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0];

/// What files are counted under.
pub(super) const FILE_KINDS: [&str; 3] = ["window", "correction", "dead_letters"];
pub(super) const LEVELS: [&str; 3] = ["info", "warning", "error"];

/// Everything that events changed.
#[derive(Debug)]
pub(super) struct FlowCounts {
    pub(super) partitions: usize,
    pub(super) read_messages: RunCounter,
    pub(super) read_bytes: RunCounter,
    pub(super) lag_records: Vec<(TopicPartition, u64)>,
    pub(super) lag_seconds: Vec<(TopicPartition, f64)>,
    pub(super) watermark_us: Option<i64>,
    pub(super) open_windows: usize,
    pub(super) memory_bytes: Option<u64>,
    pub(super) committed: Option<CommittedCounts>,
    pub(super) commit_seconds: MetricHistogram,
    pub(super) close_to_file: MetricHistogram,
    pub(super) end_to_file: MetricHistogram,
    /// By [`FILE_KINDS`].
    pub(super) files: [FileCounts; 3],
    pub(super) dead_letters: BTreeMap<String, u64>,
    pub(super) loads: BTreeMap<String, LoadCounts>,
    pub(super) retries: BTreeMap<String, u64>,
    /// By [`LEVELS`].
    pub(super) log_lines: [u64; 3],
    pub(super) dropped: BTreeMap<String, u64>,
}

/// What the last commit reported.
#[derive(Debug)]
pub(super) struct CommittedCounts {
    /// The largest seen of each: a counter that is served never goes down.
    pub(super) served: Counters,
    /// `read` less the sum of its terms.
    pub(super) difference: f64,
    /// Unknown until this process commits.
    pub(super) state_bytes: Option<u64>,
    pub(super) at_us: i64,
}

/// Files of one kind.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FileCounts {
    pub(super) files: u64,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// Loads of one target.
#[derive(Debug)]
pub(super) struct LoadCounts {
    pub(super) ended_at_us: Option<i64>,
    pub(super) duration: MetricHistogram,
    pub(super) rows: u64,
    pub(super) failures: u64,
    pub(super) failed_tests: u64,
}

impl Default for LoadCounts {
    fn default() -> Self {
        let duration = MetricHistogram::new(&LONG_BOUNDS);
        Self { ended_at_us: None, duration, rows: 0, failures: 0, failed_tests: 0 }
    }
}

/// A counter of the process, fed by a count that begins at 0 with every run in it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RunCounter {
    earlier_runs: u64,
    this_run: u64,
}

impl RunCounter {
    fn set(&mut self, count: u64) {
        if count < self.this_run {
            self.earlier_runs += self.this_run;
        }
        self.this_run = count;
    }

    pub(super) fn total(self) -> u64 {
        self.earlier_runs + self.this_run
    }
}

impl Default for FlowCounts {
    fn default() -> Self {
        Self {
            partitions: 0,
            read_messages: RunCounter::default(),
            read_bytes: RunCounter::default(),
            lag_records: Vec::new(),
            lag_seconds: Vec::new(),
            watermark_us: None,
            open_windows: 0,
            memory_bytes: None,
            committed: None,
            commit_seconds: MetricHistogram::new(&COMMIT_BOUNDS),
            close_to_file: MetricHistogram::new(&COMMIT_BOUNDS),
            end_to_file: MetricHistogram::new(&LONG_BOUNDS),
            files: [FileCounts::default(); 3],
            dead_letters: BTreeMap::new(),
            loads: BTreeMap::new(),
            retries: BTreeMap::new(),
            log_lines: [0; 3],
            dropped: BTreeMap::new(),
        }
    }
}

impl FlowCounts {
    pub(super) fn observe(&mut self, at_us: i64, event: &TrackEvent) {
        match event {
            TrackEvent::Ready { partitions, .. } => self.partitions = *partitions,
            TrackEvent::Status(status) => self.status(status),
            TrackEvent::Committed(commit) => self.commit(at_us, commit),
            TrackEvent::Loaded(load) => self.load(load),
            TrackEvent::LoadFailed { target, .. } => bounded(&mut self.loads, target).failures += 1,
            TrackEvent::Retried { action, .. } => *bounded(&mut self.retries, action) += 1,
            TrackEvent::Log { level, .. } => {
                self.log_lines[match level {
                    LogLevel::Info => 0,
                    LogLevel::Warning => 1,
                    LogLevel::Error => 2,
                }] += 1;
            }
            TrackEvent::Retained(_) | TrackEvent::Moved(_) => {}
        }
    }

    /// `total` is what the listener has lost since it began.
    pub(super) fn set_dropped(&mut self, listener: &str, total: u64) {
        let served = bounded(&mut self.dropped, listener);
        *served = (*served).max(total);
    }

    /// What the ledger's last commit counted, made at `at_us` by an earlier process. Ignored once this one has committed.
    pub(super) fn resume(&mut self, counters: &Counters, at_us: i64) {
        self.committed.get_or_insert_with(|| CommittedCounts {
            served: largest(Counters::default(), counters),
            difference: difference(counters),
            state_bytes: None,
            at_us,
        });
    }

    fn status(&mut self, status: &StatusReport) {
        self.read_messages.set(status.run_read);
        self.read_bytes.set(status.read_bytes);
        self.lag_records.clone_from(&status.lag);
        self.lag_seconds.clone_from(&status.lag_seconds);
        self.watermark_us = status.watermark_us.or(self.watermark_us);
        self.open_windows = status.open_windows;
        self.memory_bytes = Some(status.state_memory_bytes);
    }

    fn commit(&mut self, at_us: i64, commit: &CommitReport) {
        let published_at_us = commit.phases.map_or(at_us, |phases| phases.published_at_us);
        let took_us = i64::try_from(commit.took.as_micros()).unwrap_or(i64::MAX);
        let closed_at_us = commit.phases.map_or(published_at_us.saturating_sub(took_us), |phases| phases.closed_at_us);
        self.commit_seconds.observe(commit.took.as_secs_f64());
        self.watermark_us = commit.watermark_us.or(self.watermark_us);
        self.open_windows = commit.open_windows;
        self.committed = Some(CommittedCounts {
            served: largest(self.committed.take().map(|before| before.served).unwrap_or_default(), &commit.counters),
            difference: difference(&commit.counters),
            state_bytes: Some(commit.state_bytes),
            at_us: commit.committed_at_us,
        });
        for file in &commit.files {
            let kind = match &file.content {
                FileContent::Window { end_us, version: 1, .. } => {
                    self.close_to_file.observe(seconds_between(closed_at_us, published_at_us));
                    self.end_to_file.observe(seconds_between(*end_us, published_at_us));
                    0
                }
                FileContent::Window { .. } => 1,
                FileContent::DeadLetters(reasons) => {
                    for (reason, count) in reasons {
                        *bounded(&mut self.dead_letters, reason) += count;
                    }
                    2
                }
            };
            let counts = &mut self.files[kind];
            counts.files += 1;
            counts.rows += file.rows;
            counts.bytes += file.bytes;
        }
    }

    fn load(&mut self, load: &LoadReport) {
        let counts = bounded(&mut self.loads, &load.target);
        counts.ended_at_us = Some(load.ended_at_us);
        counts.duration.observe(seconds_between(load.started_at_us, load.ended_at_us));
        counts.rows += load.rows;
        counts.failed_tests = load.tests_failed;
    }
}

/// Seconds from one instant to another, both in microseconds since the epoch.
pub(super) fn seconds_between(from_us: i64, to_us: i64) -> f64 {
    to_us.saturating_sub(from_us) as f64 / 1e6
}

/// The value of `name`, or of [`OTHER`] once there are [`MAX_LABEL_VALUES`].
fn bounded<'a, V: Default>(map: &'a mut BTreeMap<String, V>, name: &str) -> &'a mut V {
    let name = if map.len() < MAX_LABEL_VALUES || map.contains_key(name) { name } else { OTHER };
    map.entry(name.to_owned()).or_default()
}

fn largest(before: Counters, now: &Counters) -> Counters {
    Counters {
        read: before.read.max(now.read),
        aggregated: before.aggregated.max(now.aggregated),
        filtered: before.filtered.max(now.filtered),
        duplicate: before.duplicate.max(now.duplicate),
        late: before.late.max(now.late),
        dead_lettered: before.dead_lettered.max(now.dead_lettered),
        tombstones: before.tombstones.max(now.tombstones),
        corrections: before.corrections.max(now.corrections),
        ..Counters::default()
    }
}

/// `read` less the sum of its terms: 0 when the identity holds.
pub(crate) fn difference(counters: &Counters) -> f64 {
    let sum: u128 = counters.terms().iter().map(|(_, term)| u128::from(*term)).sum();
    match u128::from(counters.read).checked_sub(sum) {
        Some(lost) => lost as f64,
        None => -((sum - u128::from(counters.read)) as f64),
    }
}
