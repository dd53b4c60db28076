//! The made-up values of the overview, and what the others share.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use turnstile_console::data::*;
use turnstile_message::TopicPartition;

use super::demo_data::counters;

pub(crate) const PIPELINE: &str = "mta-turnstile";
pub(crate) const WINDOW_US: i64 = 300_000_000;
pub(crate) const MINUTE_US: i64 = 60_000_000;

pub(crate) fn instant(us: i64) -> String {
    DateTime::from_timestamp_micros(us).map_or_else(String::new, |at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

pub(crate) fn wave(at: i64, period: i64) -> f64 {
    (at as f64 / period as f64 * std::f64::consts::TAU).sin()
}

pub(crate) fn holder(now_us: i64) -> WatermarkHolder {
    WatermarkHolder {
        partition: TopicPartition::new(PIPELINE, 3),
        max_event_us: Some(now_us - 4 * MINUTE_US),
        since_us: Some(now_us - 2 * MINUTE_US),
        idle_at_us: Some(now_us + 21_000_000),
    }
}

pub(crate) fn overview(version: u64, started_us: i64, newest_us: i64, now_us: i64) -> PipelineOverview {
    let history = |base: f64, swing: f64| {
        let point = |back: i64| HistoryPoint {
            at_us: now_us - back * 2_000_000,
            value: (base + swing * wave(version as i64 - back, 17) + swing * 0.4 * wave(version as i64 - back, 5))
                .max(0.0)
                .round(),
        };
        (0..90).rev().map(point).collect::<Vec<_>>()
    };
    let (rate, lag) = (history(12_340.0, 1_800.0), history(2_100.0, 1_700.0));
    PipelineOverview {
        activity: PipelineActivity::Running { since_us: started_us, process: "batch-2, process 4711".to_owned() },
        throughput: Some(ThroughputSummary {
            messages_per_second: rate.last().map_or(0.0, |point| point.value),
            bytes_per_second: Some(1.9e6),
            history: rate,
        }),
        lag: Some(LagSummary {
            records: lag.last().map(|point| point.value as u64),
            seconds: Some(1.4),
            catch_up_seconds: Some(3.0),
            history: lag,
        }),
        watermark_us: Some(newest_us - 4 * MINUTE_US),
        holder: Some(holder(now_us)),
        open_windows: Some(2),
        next_close: Some(NextClose { start_us: newest_us - WINDOW_US, end_us: newest_us }),
        memory: Some(MemoryUse {
            state_bytes: (212 << 20) + version * 4096,
            limit_bytes: Some(1 << 30),
            spilled_bytes: Some(0),
            process_bytes: Some(418 << 20),
        }),
        counters: counters(version),
        imbalance: None,
        last_commit: Some(CommitSummary {
            seq: 2_817 + version,
            at_us: now_us - 800_000,
            took: Some(Duration::from_millis(84)),
        }),
        files: (2..9).map(|at| recent_file(at, newest_us)).collect(),
        notes: notes(now_us),
        targets: Some(targets(version, now_us)),
    }
}

fn recent_file(at: i64, newest_us: i64) -> RecentFile {
    let start_us = newest_us - at * WINDOW_US;
    RecentFile {
        name: file_name(start_us, 1),
        url: Some("https://storage.example/lake/file".to_owned()),
        at_us: start_us + WINDOW_US + 5 * MINUTE_US,
        rows: 4_120 + at as u64 * 13,
        bytes: 61_300 + at as u64 * 401,
        window_start_us: Some(start_us),
    }
}

pub(crate) fn file_name(start_us: i64, version: u32) -> String {
    let time =
        |us: i64, format: &str| DateTime::from_timestamp_micros(us).unwrap_or_default().format(format).to_string();
    let suffix = if version > 1 { format!("_v{version}") } else { String::new() };
    let (date, from, to) =
        (time(start_us, "%Y-%m-%d"), time(start_us, "%Y%m%dT%H%M%SZ"), time(start_us + WINDOW_US, "%Y%m%dT%H%M%SZ"));
    format!("window_date={date}/{PIPELINE}_{from}_{to}{suffix}.csv.gz")
}

fn notes(now_us: i64) -> Vec<ConsoleNote> {
    let note = |back: i64, severity, text: &str, hint: Option<&str>, resolved: Option<i64>| ConsoleNote {
        at_us: now_us - back * MINUTE_US,
        severity,
        text: text.to_owned(),
        hint: hint.map(str::to_owned),
        resolved_at_us: resolved.map(|back| now_us - back * MINUTE_US),
    };
    vec![
        note(
            3,
            NoteSeverity::Warning,
            "Deliveries to postgres fail: connection refused (127.0.0.1:5432).",
            Some("Start PostgreSQL; the next load tries again."),
            None,
        ),
        note(9, NoteSeverity::Warning, "Alert lag_over: 120,000 messages behind, more than 100,000.", None, Some(7)),
        note(
            21,
            NoteSeverity::Error,
            "Publishing a file failed and was tried again: the store answered 503.",
            None,
            Some(21),
        ),
        note(47, NoteSeverity::Info, "Resumed at commit 2,817; 12 partitions assigned in 240 ms.", None, None),
    ]
}

fn targets(version: u64, now_us: i64) -> Vec<TargetOverview> {
    let embedded = TargetOverview {
        name: "embedded".to_owned(),
        seq: Some(2_810 + version),
        commits_behind: Some(0),
        loaded_at_us: Some(now_us - 22_000_000),
        took: Some(Duration::from_millis(412)),
        failing: None,
        next_at_us: Some(now_us + 38_000_000),
        tests_failed: 0,
    };
    let failing = Some("connection refused (127.0.0.1:5432)".to_owned());
    vec![
        embedded.clone(),
        TargetOverview {
            name: "postgres".to_owned(),
            seq: Some(2_610),
            commits_behind: Some(200 + version),
            loaded_at_us: Some(now_us - 4 * MINUTE_US),
            failing,
            ..embedded
        },
    ]
}
