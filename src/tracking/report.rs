//! A flow's events as those that track it know them.

use std::collections::BTreeMap;

use turnstile_lake::{FileEntry, FileKind, Slot};
use turnstile_track::{
    CommitPhases, CommitReport, FileContent, FileReport, LoadReport, LogLevel, RetainReport, StatusReport, TrackEvent,
};
use turnstile_values::{SECOND_US, human};
use turnstile_warehouse::LoadRun;

use crate::flow::{CommitEvent, Event, Loaded, PartitionProgress, Status, not_loaded_text};

/// How often the log says that messages could not be processed: a stream that brings them brings them with every commit.
const REJECTIONS_EVERY_US: i64 = 10 * SECOND_US;

/// What the log says of messages that could not be processed.
#[derive(Debug, Default)]
pub(super) struct RejectionLog {
    count: u64,
    logged_at_us: Option<i64>,
}

impl RejectionLog {
    /// Takes in `count` messages of a commit at `at_us`, of which `first` describes the first; a line, if one is due.
    pub(super) fn record(&mut self, at_us: i64, count: u64, first: &str) -> Option<TrackEvent> {
        self.count += count;
        if self.logged_at_us.is_some_and(|logged| at_us - logged < REJECTIONS_EVERY_US) {
            return None;
        }
        self.logged_at_us = Some(at_us);
        let count = human::plural(std::mem::take(&mut self.count), "message");
        let text = format!("{count} could not be processed, of the newest the first: {first}");
        Some(TrackEvent::Log { level: LogLevel::Warning, text })
    }
}

/// What `event` means to trackers, in order; files of the lake at `lake` have addresses below it. Files are part of
/// their commit; of dead letters [`RejectionLog`] tells.
pub(crate) fn track_events(at_us: i64, event: &Event, lake: &str) -> Vec<TrackEvent> {
    let log = |level, text: String| TrackEvent::Log { level, text };
    match event {
        Event::Ready { topics, partitions, resumed_at, counters, took } => vec![TrackEvent::Ready {
            topics: topics.clone(),
            partitions: *partitions,
            resumed_at: *resumed_at,
            counters: counters.clone(),
            took: *took,
        }],
        Event::Published { .. } | Event::DeadLetters { .. } => Vec::new(),
        Event::Committed(commit) => vec![TrackEvent::Committed(commit_report(commit, lake))],
        Event::Retried { cause, .. } => vec![TrackEvent::Retried { action: "commit", cause: cause.clone() }],
        Event::Status(status) => vec![TrackEvent::Status(status_report(status, at_us))],
        Event::Loaded(Loaded::Load(load)) => vec![TrackEvent::Loaded(load_report(&load.run))],
        Event::Loaded(Loaded::Delivery(run)) => vec![TrackEvent::Loaded(load_report(run))],
        Event::NotLoaded { target, error } => vec![
            TrackEvent::LoadFailed { target: target.clone(), error: error.clone() },
            log(LogLevel::Error, not_loaded_text(error)),
        ],
        Event::Maintained(round) => vec![TrackEvent::Retained(RetainReport {
            started_at_us: round.started_at_us,
            ended_at_us: round.ended_at_us,
            windows: round.windows,
            files: round.files,
            bytes: 0,
        })],
        Event::Note(text) => vec![log(LogLevel::Info, text.clone())],
    }
}

fn commit_report(commit: &CommitEvent, lake: &str) -> CommitReport {
    let slot: &Slot = &commit.slot;
    CommitReport {
        seq: slot.seq,
        committed_at_us: slot.committed_at_us,
        took: commit.took(),
        counters: slot.counters.clone(),
        positions: slot.positions.clone(),
        watermark_us: slot.watermark_us,
        open_windows: commit.open_windows,
        state_bytes: slot.state.iter().map(|state| state.bytes).sum(),
        files: slot.publish.iter().map(|file| file_report(file, lake)).collect(),
        phases: Some(CommitPhases {
            read_from_us: commit.read_from_us,
            cut_at_us: commit.cut_at_us,
            closed_at_us: commit.cut_at_us,
            commit_began_at_us: commit.commit_began_at_us,
            published_at_us: commit.published_at_us,
        }),
    }
}

fn file_report(file: &FileEntry, lake: &str) -> FileReport {
    let content = match file.kind {
        FileKind::Window { start_us, end_us, version } => FileContent::Window {
            start_us,
            end_us,
            version,
            messages: file.counts.get("messages").copied().unwrap_or_default(),
        },
        FileKind::DeadLetters => FileContent::DeadLetters(BTreeMap::clone(&file.counts)),
    };
    FileReport {
        name: file.name.clone(),
        url: Some(format!("{}/{}", lake.trim_end_matches('/'), file.name)),
        content,
        rows: file.rows,
        bytes: file.bytes,
        sources: file.sources.clone(),
    }
}

fn status_report(status: &Status, now_us: i64) -> StatusReport {
    let lag = |partition: &PartitionProgress| {
        let lag = partition.end_offset? - partition.next_offset;
        Some((partition.partition.clone(), lag.max(0) as u64))
    };
    StatusReport {
        read: status.read,
        read_bytes: status.read_bytes,
        rate: status.rate,
        brokers_silent: status.lag.is_none(),
        lag: status.partitions.iter().filter_map(lag).collect(),
        watermark_us: status.watermark_us,
        open_windows: status.open_windows,
        state_memory_bytes: status.memory_bytes as u64,
        run_read: status.run.read,
        lag_seconds: status
            .partitions
            .iter()
            .filter_map(|at| Some((at.partition.clone(), at.lag_seconds(now_us)?)))
            .collect(),
    }
}

fn load_report(run: &LoadRun) -> LoadReport {
    LoadReport {
        target: run.target.clone(),
        load: run.load,
        started_at_us: run.started_at_us,
        ended_at_us: run.ended_at_us,
        to_seq: run.to_seq,
        windows: run.windows,
        rows: run.rows_out,
        tests_passed: run.tests_passed,
        tests_failed: run.tests_failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejections_of_many_commits_are_one_line_that_counts_them_all() {
        let mut log = RejectionLog::default();
        let text = |event: Option<TrackEvent>| match event {
            Some(TrackEvent::Log { text, .. }) => text,
            other => panic!("{other:?}"),
        };
        assert!(text(log.record(SECOND_US, 2, "a")).starts_with("2 messages could not be processed"));
        assert!(log.record(2 * SECOND_US, 3, "b").is_none() && log.record(9 * SECOND_US, 1, "c").is_none());
        let line = text(log.record(11 * SECOND_US, 1, "d"));
        assert!(line.starts_with("5 messages could not be processed") && line.ends_with(": d"), "{line}");
    }
}
