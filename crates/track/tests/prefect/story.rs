//! A run of a pipeline by its events.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use turnstile_message::{Counters, OffsetRange, TopicPartition};
use turnstile_track::{
    CommitReport, FileContent, FileReport, FlowStart, LoadReport, LogLevel, PrefectSettings, TrackEvent, TrackNames,
    TrackerBuilder,
};

/// How long a test waits for a condition.
const LIMIT: Duration = Duration::from_secs(120);
pub(crate) const SECOND_US: i64 = 1_000_000;

pub(crate) fn start(pipeline: &str) -> FlowStart {
    FlowStart {
        pipeline: pipeline.into(),
        host: "here".into(),
        pid: 7,
        parameters: BTreeMap::from([("topic".into(), "mta".into())]),
        moves: None,
        names: TrackNames::default(),
    }
}

pub(crate) fn builder(pipeline: &str) -> TrackerBuilder {
    TrackerBuilder::new(start(pipeline))
}

/// Settings that do not make a test wait for the budget.
pub(crate) fn settings(api: &str, spool: &Path) -> PrefectSettings {
    let mut settings = PrefectSettings::new(api, spool);
    settings.requests_per_minute = 60_000;
    settings.poll = Duration::from_millis(200);
    settings.drain = LIMIT;
    settings
}

pub(crate) fn ready() -> TrackEvent {
    let (topics, took, counters) = ("mta".into(), Duration::ZERO, Counters::default());
    TrackEvent::Ready { topics, partitions: 3, resumed_at: None, took, counters }
}

pub(crate) fn log(text: impl Into<String>) -> TrackEvent {
    TrackEvent::Log { level: LogLevel::Info, text: text.into() }
}

pub(crate) fn window(number: i64) -> FileReport {
    let start_us = number * 300 * SECOND_US;
    FileReport {
        name: format!("w{number}.csv.gz"),
        url: Some(format!("https://lake.example.com/w{number}.csv.gz")),
        content: FileContent::Window { start_us, end_us: start_us + 300 * SECOND_US, version: 1, messages: 10 },
        rows: 5,
        bytes: 100,
        sources: vec![OffsetRange { partition: TopicPartition::new("mta", 0), first: 5, last: 9, messages: 5 }],
    }
}

/// A commit that ended at `at_us`, half a second after its cut.
pub(crate) fn commit(seq: u64, files: Vec<FileReport>, at_us: i64) -> TrackEvent {
    TrackEvent::Committed(CommitReport {
        seq,
        committed_at_us: at_us - 200_000,
        took: Duration::from_millis(500),
        counters: Counters { read: seq * 10, aggregated: seq * 10 - 1, late: 1, ..Counters::default() },
        files,
        ..CommitReport::default()
    })
}

pub(crate) fn load(to_seq: u64, at_us: i64) -> TrackEvent {
    TrackEvent::Loaded(LoadReport {
        target: "embedded".into(),
        load: 1,
        started_at_us: at_us - SECOND_US,
        ended_at_us: at_us,
        to_seq,
        windows: 2,
        rows: 10,
        tests_passed: 4,
        tests_failed: 0,
    })
}

pub(crate) fn now_us() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64
}

/// A name that no other test uses.
pub(crate) fn unique(name: &str) -> String {
    format!("{name}-{}", &uuid::Uuid::new_v4().to_string()[..8])
}

/// Waits until `check` gives something.
pub(crate) fn wait_for<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(begin.elapsed() < LIMIT, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}
