//! Turns a flow's events into lineage: one run of the pipeline's job, and one short run for each load.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use crate::event::{CommitReport, FileContent, LoadReport, TrackEvent};

use super::dataset::LineageDataset;
use super::event::{LineageEvent, LineageEventType};
use super::facet::{self, Facets};

/// Files that one event lists; more are counted only.
pub const MAX_LINEAGE_FILES: usize = 100;
/// Partitions whose offsets one event lists, over all topics.
pub const MAX_LINEAGE_PARTITIONS: usize = 1_000;
const MAX_TARGETS: usize = 32;

/// What a pipeline reads and writes.
#[derive(Debug, Clone)]
pub struct LineageJob {
    /// Of its jobs, such as `turnstile` or the team's name.
    pub namespace: String,
    /// The pipeline's name, which is the job's.
    pub pipeline: String,
    /// turnstile's version.
    pub version: String,
    /// The pipeline's query.
    pub sql: Option<String>,
    /// The topics that it reads.
    pub topics: Vec<LineageDataset>,
    /// The folder of its files.
    pub lake: LineageDataset,
    /// The tables that loads write, by target (`embedded`, `postgres`, `bigquery`).
    pub tables: BTreeMap<String, Vec<LineageDataset>>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineageEnd {
    /// As it should.
    Complete,
    /// With this error, in one line.
    Failed(String),
    /// It was asked to end, and did.
    Aborted,
}

/// Lineage of one run. A function of its calls, but for the ids of loads' runs, which are drawn.
#[derive(Debug)]
pub struct LineageRun {
    job: LineageJob,
    run: Uuid,
    nominal_start_us: i64,
    interval_us: i64,
    reported_at_us: i64,
    totals: RunTotals,
    /// Targets whose last load failed: further failures are the same one.
    failing: BTreeSet<String>,
}

/// What the run has read and published.
#[derive(Debug, Default)]
struct RunTotals {
    /// Messages and bytes read, committed or not.
    messages: u64,
    read_bytes: u64,
    rows: u64,
    bytes: u64,
    files: u64,
    /// First and next offset by topic and partition.
    offsets: BTreeMap<(String, i32), (Option<i64>, i64)>,
    /// Since the last event.
    recent: Vec<Value>,
    omitted: u64,
}

impl LineageRun {
    /// The run `run` of `job`, which was due at `nominal_start_us` (its start, unless it was scheduled; microseconds since the
    /// epoch, UTC). While it goes on, it is reported every `interval` in which it commits.
    pub fn new(job: LineageJob, run: Uuid, nominal_start_us: i64, interval: Duration) -> Self {
        let interval_us = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX);
        let totals = RunTotals::default();
        Self {
            job,
            run,
            nominal_start_us,
            interval_us,
            reported_at_us: nominal_start_us,
            totals,
            failing: BTreeSet::new(),
        }
    }

    /// START, when it begins at `at_us`.
    pub fn start(&mut self, at_us: i64) -> LineageEvent {
        self.report(at_us, LineageEventType::Start)
    }

    /// The events that a flow's event gives rise to: RUNNING when the interval is over, START and COMPLETE of a load, START and
    /// FAIL of the first of several loads that fail.
    pub fn observe(&mut self, at_us: i64, event: &TrackEvent) -> Vec<LineageEvent> {
        match event {
            TrackEvent::Committed(commit) => {
                self.totals.add(commit);
                let due = at_us.saturating_sub(self.reported_at_us) >= self.interval_us;
                due.then(|| self.report(at_us, LineageEventType::Running)).into_iter().collect()
            }
            TrackEvent::Status(status) => {
                (self.totals.messages, self.totals.read_bytes) = (status.run_read, status.read_bytes);
                Vec::new()
            }
            TrackEvent::Loaded(load) => {
                self.failing.remove(&load.target);
                self.loaded(load)
            }
            TrackEvent::LoadFailed { target, error } => {
                let is_new = self.failing.len() < MAX_TARGETS && self.failing.insert(target.clone());
                if is_new { self.load_failed(at_us, target, error) } else { Vec::new() }
            }
            _ => Vec::new(),
        }
    }

    /// COMPLETE, FAIL or ABORT, when it ended at `at_us`.
    pub fn end(&mut self, at_us: i64, end: LineageEnd) -> LineageEvent {
        match end {
            LineageEnd::Complete => self.report(at_us, LineageEventType::Complete),
            LineageEnd::Aborted => self.report(at_us, LineageEventType::Abort),
            LineageEnd::Failed(error) => {
                self.report(at_us, LineageEventType::Fail).run_facet("errorMessage", facet::error_message(&error))
            }
        }
    }

    fn report(&mut self, at_us: i64, kind: LineageEventType) -> LineageEvent {
        self.reported_at_us = at_us;
        let mut event = LineageEvent::new(at_us, kind, self.run, (&self.job.namespace, &self.job.pipeline))
            .run_facet("nominalTime", facet::nominal_time(self.nominal_start_us))
            .run_facet("processing_engine", facet::processing_engine(&self.job.version))
            .job_facet("jobType", facet::job_type("STREAMING", "JOB"));
        if let Some(sql) = &self.job.sql {
            event = event.job_facet("sql", facet::sql(sql));
        }
        for topic in &self.job.topics {
            event = event.input(topic, self.totals.of_topic(&topic.name, self.job.topics.len() == 1));
        }
        event.output(&self.job.lake, self.totals.of_lake())
    }

    fn loaded(&self, load: &LoadReport) -> Vec<LineageEvent> {
        let run = Uuid::new_v4();
        let start = self.load_event(load.started_at_us, LineageEventType::Start, run, &load.target, None);
        let end = self.load_event(load.ended_at_us, LineageEventType::Complete, run, &load.target, Some(load.rows));
        vec![start, end]
    }

    fn load_failed(&self, at_us: i64, target: &str, error: &str) -> Vec<LineageEvent> {
        let run = Uuid::new_v4();
        let start = self.load_event(at_us, LineageEventType::Start, run, target, None);
        let end = self.load_event(at_us, LineageEventType::Fail, run, target, None);
        vec![start, end.run_facet("errorMessage", facet::error_message(error))]
    }

    /// An event of a load's run: from the lake's folder to the target's tables. `rows` are those of all tables together, so
    /// they are stated only where there is one table.
    fn load_event(
        &self,
        at_us: i64,
        kind: LineageEventType,
        run: Uuid,
        target: &str,
        rows: Option<u64>,
    ) -> LineageEvent {
        let LineageJob { namespace, pipeline, .. } = &self.job;
        let name = format!("{pipeline}.load.{target}");
        let mut event = LineageEvent::new(at_us, kind, run, (namespace, &name))
            .run_facet("parent", facet::parent(self.run, namespace, pipeline))
            .run_facet("processing_engine", facet::processing_engine(&self.job.version))
            .job_facet("jobType", facet::job_type("BATCH", "TASK"))
            .input(&self.job.lake, Facets::new());
        let tables = self.job.tables.get(target).map(Vec::as_slice).unwrap_or_default();
        for table in tables {
            let mut facets = Facets::new();
            if let (Some(rows), [_]) = (rows, tables) {
                facets.insert("outputStatistics".into(), facet::output_statistics(rows, None, None));
            }
            event = event.output(table, facets);
        }
        event
    }
}

impl RunTotals {
    fn add(&mut self, commit: &CommitReport) {
        for position in &commit.positions {
            let key = (position.partition.topic.to_string(), position.partition.partition);
            if self.offsets.len() < MAX_LINEAGE_PARTITIONS || self.offsets.contains_key(&key) {
                self.offsets.entry(key).or_insert((None, 0)).1 = position.next_offset;
            }
        }
        for file in &commit.files {
            for range in &file.sources {
                let key = (range.partition.topic.to_string(), range.partition.partition);
                if let Some((first, _)) = self.offsets.get_mut(&key) {
                    *first = Some(first.map_or(range.first, |known| known.min(range.first)));
                }
            }
            self.bytes += file.bytes;
            self.files += 1;
            if matches!(file.content, FileContent::Window { .. }) {
                self.rows += file.rows;
            }
            match self.recent.len() < MAX_LINEAGE_FILES {
                true => self.recent.push(facet::file(&file.name, file.rows, file.bytes, &file.sources)),
                false => self.omitted += 1,
            }
        }
    }

    /// Messages are counted for all topics together, so they are stated only where there is one.
    fn of_topic(&self, topic: &str, is_only: bool) -> Facets {
        let own = self.offsets.iter().filter(|((of, _), _)| of == topic);
        let partitions: Vec<_> = own.map(|((_, partition), (first, next))| (*partition, *first, *next)).collect();
        let mut facets = Facets::new();
        if is_only {
            facets.insert("inputStatistics".into(), facet::input_statistics(self.messages, self.read_bytes));
        }
        if !partitions.is_empty() {
            facets.insert("turnstile_offsets".into(), facet::offsets(&partitions));
        }
        facets
    }

    fn of_lake(&mut self) -> Facets {
        let mut facets = Facets::new();
        let statistics = facet::output_statistics(self.rows, Some(self.bytes), Some(self.files));
        facets.insert("outputStatistics".into(), statistics);
        if !self.recent.is_empty() {
            facets.insert("turnstile_files".into(), facet::files(&self.recent, self.omitted));
        }
        self.recent.clear();
        self.omitted = 0;
        facets
    }
}
