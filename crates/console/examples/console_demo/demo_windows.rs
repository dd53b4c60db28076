//! Made-up windows and partitions.

use turnstile_console::data::*;
use turnstile_message::{FailedGroup, FailedWindow, OffsetRange, TopicPartition};

use super::demo_tables::station_rows;
use super::demo_values::{MINUTE_US, PIPELINE, WINDOW_US, file_name, holder, wave};

fn condition(at: u64) -> WindowCondition {
    match at {
        0 | 1 => WindowCondition::Open,
        _ if at > 4_000 => WindowCondition::Retired,
        _ if at % 11 == 5 => WindowCondition::Corrected,
        _ => WindowCondition::Closed,
    }
}

fn listing(at: u64, newest_us: i64) -> WindowListing {
    let start_us = newest_us - at as i64 * WINDOW_US;
    let condition = condition(at);
    let version = match condition {
        WindowCondition::Open => 0,
        WindowCondition::Corrected => 2,
        _ => 1,
    };
    let closed = version > 0;
    let messages = (31_000.0 + 12_000.0 * wave(at as i64, 23)) as u64;
    WindowListing {
        start_us,
        end_us: start_us + WINDOW_US,
        condition,
        version,
        rows: closed.then_some(4_120 + at % 97),
        messages: Some(if closed { messages } else { messages / (3 - at) }),
        late: closed.then_some(at % 7),
        duplicates: closed.then_some(at % 5 * 3),
        file: closed.then(|| file_name(start_us, version)),
        bytes: closed.then_some(61_300 + at % 997),
        published_at_us: closed.then_some(start_us + WINDOW_US + 5 * MINUTE_US + 230_000),
    }
}

pub(crate) fn window_page(selection: WindowSelection, total: u64, newest_us: i64) -> WindowPage {
    let fits = |at: &u64| selection.condition.is_none_or(|wanted| condition(*at) == wanted);
    let corrected = (2..total.min(4_001)).filter(|at| condition(*at) == WindowCondition::Corrected).count() as u64;
    let retired = total.saturating_sub(4_001);
    let counts =
        WindowCounts { open: total.min(2), corrected, retired, closed: total.saturating_sub(2 + corrected + retired) };
    let chosen: Vec<u64> = match selection.condition {
        None => (selection.offset..total).take(selection.limit).collect(),
        Some(_) => (0..total).filter(fits).skip(selection.offset as usize).take(selection.limit).collect(),
    };
    WindowPage {
        windows: chosen.into_iter().map(|at| listing(at, newest_us)).collect(),
        counts,
        next_close_us: Some(newest_us),
        watermark_us: Some(newest_us - 4 * MINUTE_US),
    }
}

pub(crate) fn window_detail(at: u64, newest_us: i64) -> WindowDetail {
    let window = listing(at, newest_us);
    let file = |version: u32| WindowFile {
        version,
        name: file_name(window.start_us, version),
        url: Some("https://storage.example/lake/file".to_owned()),
        bytes: 61_300,
        rows: 4_120,
        sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
        seq: Some(2_700 + u64::from(version)),
        published_at_us: window.published_at_us.map(|us| us + i64::from(version - 1) * 9 * MINUTE_US),
        retired: version < window.version,
        sources: (0..4).map(|partition| range(partition, at)).collect(),
    };
    let open = (window.version == 0).then(|| OpenReason {
        watermark_us: Some(newest_us - 4 * MINUTE_US),
        holder: Some(holder(newest_us + 3 * MINUTE_US)),
        note: None,
    });
    let failed = FailedWindow {
        start_us: window.start_us,
        end_us: window.end_us,
        version: 1,
        groups: 1,
        shown: vec![FailedGroup {
            key: "STATION=<b>FULTON ST</b>".to_owned(),
            reason: "sum(ENTRIES) does not fit 64 bits".to_owned(),
        }],
        messages: 31_000,
        sources: vec![range(0, at)],
    };
    WindowDetail {
        files: (1..=window.version).map(file).collect(),
        preview: (window.version > 0).then(|| station_rows(newest_us - at as i64 * WINDOW_US, 1)),
        corrections: Some(u64::from(window.version > 1) * 3),
        failed: if at == 3 { vec![failed] } else { Vec::new() },
        open,
        neighbours: (Some(window.start_us - WINDOW_US), (at > 0).then_some(window.start_us + WINDOW_US)),
        window,
    }
}

fn range(partition: i32, at: u64) -> OffsetRange {
    let first = 1_204_000 - at as i64 * 8_000;
    OffsetRange { partition: TopicPartition::new(PIPELINE, partition), first, last: first + 8_401, messages: 7_750 }
}

pub(crate) fn partitions(version: u64, now_us: i64) -> PartitionOverview {
    let row = |number: i32| {
        let lag = [0, 12, 840, 2_100, 0, 31][number as usize % 6] * (1 + version % 3);
        let next_offset = 1_204_000 + i64::from(number) * 977 + version as i64 * 500;
        PartitionRow {
            partition: TopicPartition::new(PIPELINE, number),
            next_offset,
            end_offset: Some(next_offset + lag as i64),
            lag_records: Some(lag),
            lag_seconds: Some(lag as f64 / 1_500.0),
            max_event_us: Some(now_us - if number == 3 { 4 * MINUTE_US } else { 20_000_000 }),
            idle: number == 4,
            holds_watermark: number == 3,
            holds_since_us: (number == 3).then_some(now_us - 2 * MINUTE_US),
        }
    };
    PartitionOverview {
        partitions: (0..12).map(row).collect(),
        watermark_us: Some(now_us - 9 * MINUTE_US),
        watermark_delay_us: Some(WINDOW_US),
        idle_after_us: Some(30_000_000),
        broker_error: None,
    }
}
