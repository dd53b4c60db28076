//! Events of a small run, for tests of several modules.

use std::collections::BTreeMap;
use std::time::Duration;

use turnstile_message::{Counters, OffsetRange, PartitionPosition, TopicPartition};

use crate::event::{
    CommitPhases, CommitReport, FileContent, FileReport, LoadReport, LogLevel, StatusReport, TrackEvent,
};

/// 2026-08-01T08:00:00Z.
pub(crate) const EIGHT_US: i64 = 1_785_571_200_000_000;
pub(crate) const SECOND_US: i64 = 1_000_000;

pub(crate) fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("mta-turnstile", number)
}

pub(crate) fn ready() -> TrackEvent {
    TrackEvent::Ready {
        topics: "mta-turnstile".into(),
        partitions: 2,
        resumed_at: None,
        counters: Default::default(),
        took: Duration::from_secs(1),
    }
}

pub(crate) fn status() -> StatusReport {
    StatusReport {
        read: 1_000,
        read_bytes: 64_000,
        brokers_silent: false,
        rate: 500.0,
        lag: vec![(partition(0), 7), (partition(1), 0)],
        watermark_us: Some(EIGHT_US),
        open_windows: 2,
        state_memory_bytes: 4_096,
        run_read: 1_000,
        lag_seconds: vec![(partition(0), 1.5), (partition(1), 0.0)],
    }
}

/// Commit `seq`, a second after eight for each number: one window of 600 messages, a correction, and three dead letters.
pub(crate) fn commit(seq: u64) -> CommitReport {
    let at_us = EIGHT_US + seq as i64 * SECOND_US;
    let counters = Counters {
        read: 1_000 * seq,
        aggregated: 990 * seq,
        duplicate: 4 * seq,
        late: 2 * seq,
        dead_lettered: 3 * seq,
        tombstones: seq,
        corrections: 5 * seq,
        ..Counters::default()
    };
    let sources = vec![OffsetRange { partition: partition(0), first: 0, last: 599, messages: 600 }];
    let window = |version| FileContent::Window {
        start_us: EIGHT_US - 600 * SECOND_US,
        end_us: EIGHT_US - 300 * SECOND_US,
        version,
        messages: 600,
    };
    let file = |name: &str, content, rows, bytes| FileReport {
        name: name.into(),
        url: Some(format!("file:///lake/{name}")),
        content,
        rows,
        bytes,
        sources: sources.clone(),
    };
    let reasons = BTreeMap::from([("csv".to_owned(), 3), ("late".to_owned(), 2)]);
    CommitReport {
        seq,
        committed_at_us: at_us,
        took: Duration::from_millis(80),
        counters,
        positions: vec![PartitionPosition::new(partition(0), 600)],
        watermark_us: Some(EIGHT_US),
        open_windows: 2,
        state_bytes: 2_048,
        files: vec![
            file("window_date=2026-08-01/0750.csv.gz", window(1), 40, 900),
            file("window_date=2026-08-01/0750_v2.csv.gz", window(2), 40, 901),
            file("_dead_letters/1.jsonl.gz", FileContent::DeadLetters(reasons), 5, 300),
        ],
        phases: Some(CommitPhases {
            read_from_us: at_us - SECOND_US,
            cut_at_us: at_us - 50_000,
            closed_at_us: at_us - 50_000,
            commit_began_at_us: at_us - 20_000,
            published_at_us: at_us + 30_000,
        }),
    }
}

pub(crate) fn load(target: &str, to_seq: u64) -> LoadReport {
    LoadReport {
        target: target.into(),
        load: 4,
        started_at_us: EIGHT_US + 2 * SECOND_US,
        ended_at_us: EIGHT_US + 3 * SECOND_US,
        to_seq,
        windows: 1,
        rows: 40,
        tests_passed: 9,
        tests_failed: 1,
    }
}

/// A run in which everything happens once.
pub(crate) fn all() -> Vec<(i64, TrackEvent)> {
    let log = TrackEvent::Log { level: LogLevel::Warning, text: "a quiet partition".into() };
    let failed = TrackEvent::LoadFailed { target: "postgres".into(), error: "connection refused".into() };
    let events = [
        ready(),
        TrackEvent::Status(status()),
        TrackEvent::Retried { action: "commit", cause: "503".into() },
        TrackEvent::Committed(commit(1)),
        TrackEvent::Loaded(load("embedded", 1)),
        failed,
        log,
    ];
    events.into_iter().enumerate().map(|(at, event)| (EIGHT_US + at as i64 * SECOND_US, event)).collect()
}
