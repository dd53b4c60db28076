//! The state of a pipeline at a glance, and its partitions.

use std::collections::HashMap;
use std::time::Duration;

use turnstile_console::data::{
    CommitSummary, MemoryUse, NextClose, PartitionOverview, PartitionRow, PipelineActivity, PipelineOverview,
    RecentFile, TargetOverview,
};
use turnstile_engine::OpenWindowSummary;
use turnstile_lake::{Catalog, Extent, Slot};
use turnstile_message::{Counters, TopicPartition};
use turnstile_track::resident_bytes;
use turnstile_warehouse::{EMBEDDED, LoadRun, LoadRunState};

use super::live_view::{LiveState, LiveView};
use crate::flow::{CommitEvent, Context, PartitionProgress, seems_running};

/// A ledger that this process does not write is its last commit's: what it says of the process that wrote it.
fn activity_of(slot: &Slot) -> PipelineActivity {
    let process = format!("{}, process {}", slot.writer.host, slot.writer.pid);
    match (slot.released, seems_running(slot)) {
        (true, _) => PipelineActivity::Stopped { at_us: slot.committed_at_us },
        (false, true) => PipelineActivity::Running { since_us: slot.claimed_at_us, process },
        (false, false) => PipelineActivity::Crashed { seen_at_us: slot.committed_at_us },
    }
}

/// The overview: of a flow that `live` follows, with `open` windows; of the ledger alone otherwise. `runs`: of the warehouse.
pub(super) fn overview(
    context: Option<&Context>,
    catalog: Option<&Catalog>,
    live: Option<&LiveView>,
    open: &[OpenWindowSummary],
    runs: &[LoadRun],
) -> PipelineOverview {
    let slot = catalog.map(Catalog::newest);
    let counters = slot.map(|slot| slot.counters.clone()).unwrap_or_default();
    let ledger = PipelineOverview {
        activity: slot.map_or(PipelineActivity::NeverRun, activity_of),
        watermark_us: slot.and_then(|slot| slot.watermark_us),
        imbalance: counters.imbalance(&Counters::default()),
        counters,
        last_commit: slot.map(|slot| CommitSummary { seq: slot.seq, at_us: slot.committed_at_us, took: None }),
        targets: context.map(|context| targets(context, runs, slot)),
        next_close: open.first().map(|window| NextClose { start_us: window.start_us, end_us: window.end_us }),
        ..PipelineOverview::default()
    };
    let Some(live) = live else { return ledger };
    let process = format!("process {}", std::process::id());
    live.read(|live| PipelineOverview {
        activity: live.activity(&process),
        throughput: live.throughput(),
        lag: live.lag(),
        watermark_us: live.status.as_ref().and_then(|(_, status)| status.watermark_us).or(ledger.watermark_us),
        holder: live.holder(),
        open_windows: live.status.as_ref().map(|(_, status)| status.open_windows as u64),
        memory: context.and_then(|context| memory(context, live)),
        last_commit: ledger.last_commit.map(|commit| CommitSummary { took: took(live, commit.seq), ..commit }),
        notes: live.notes.iter().cloned().collect(),
        ..ledger
    })
}

fn took(live: &LiveState, seq: u64) -> Option<Duration> {
    live.commit.as_ref().filter(|commit| commit.slot.seq == seq).map(CommitEvent::took)
}

fn memory(context: &Context, live: &LiveState) -> Option<MemoryUse> {
    let commit = live.commit.as_ref()?;
    Some(MemoryUse {
        state_bytes: commit.memory_bytes as u64,
        limit_bytes: Some(context.pipeline().stream.memory_bytes),
        spilled_bytes: None,
        process_bytes: resident_bytes(),
    })
}

/// The file of a window's version that commit published at `at_us`.
pub(super) fn recent_file(extent: &Extent, at_us: i64) -> RecentFile {
    RecentFile {
        name: extent.object.name.to_string(),
        url: None,
        at_us,
        rows: extent.rows,
        bytes: extent.object.bytes,
        window_start_us: Some(extent.start_us),
    }
}

/// The newest run of each target, with the last that succeeded.
fn targets(context: &Context, runs: &[LoadRun], slot: Option<&Slot>) -> Vec<TargetOverview> {
    let never = |name: &str| TargetOverview {
        name: name.to_owned(),
        seq: None,
        commits_behind: None,
        loaded_at_us: None,
        took: None,
        failing: None,
        next_at_us: None,
        tests_failed: 0,
    };
    let mut targets: Vec<TargetOverview> = Vec::new();
    if context.pipeline().warehouse.as_ref().is_some_and(|warehouse| warehouse.models.is_some()) {
        targets.push(never(EMBEDDED));
    }
    for run in runs {
        let at = targets.iter().position(|target| target.name == run.target).unwrap_or_else(|| {
            targets.push(never(&run.target));
            targets.len() - 1
        });
        let target = &mut targets[at];
        match run.state {
            LoadRunState::Succeeded => {
                target.seq = Some(run.to_seq);
                target.loaded_at_us = Some(run.ended_at_us);
                target.took = Some(Duration::from_micros((run.ended_at_us - run.started_at_us).max(0) as u64));
                target.failing = None;
                target.tests_failed = run.tests_failed;
            }
            LoadRunState::Failed => target.failing = run.error.clone(),
        }
    }
    for target in &mut targets {
        target.commits_behind = slot.zip(target.seq).map(|(slot, seq)| slot.seq.saturating_sub(seq));
    }
    targets
}

/// The partitions of the newest commit `slot`, with what a running flow knows of them.
pub(super) fn partitions(context: Option<&Context>, slot: &Slot, live: Option<&LiveView>) -> PartitionOverview {
    let stream = context.map(|context| &context.pipeline().stream);
    let (at_us, progress, holder) = live
        .map(|live| {
            live.read(|live| {
                let (at_us, partitions) =
                    live.status.as_ref().map(|(at, status)| (*at, status.partitions.clone())).unwrap_or_default();
                (at_us, partitions, live.holder())
            })
        })
        .unwrap_or_default();
    let progress: HashMap<&TopicPartition, &PartitionProgress> =
        progress.iter().map(|progress| (&progress.partition, progress)).collect();
    let row = |position: &turnstile_message::PartitionPosition| {
        let now = progress.get(&position.partition);
        let held = holder.as_ref().filter(|holder| holder.partition == position.partition);
        let next_offset = now.map_or(position.next_offset, |now| now.next_offset.max(position.next_offset));
        let end_offset = now.and_then(|now| now.end_offset);
        PartitionRow {
            partition: position.partition.clone(),
            next_offset,
            end_offset,
            lag_records: end_offset.map(|end| (end - next_offset).max(0) as u64),
            lag_seconds: now.and_then(|now| now.lag_seconds(at_us)),
            max_event_us: now.and_then(|now| now.event_us).or(position.max_event_us),
            idle: position.idle,
            holds_watermark: held.is_some(),
            holds_since_us: held.and_then(|holder| holder.since_us),
        }
    };
    PartitionOverview {
        partitions: slot.positions.iter().map(row).collect(),
        watermark_us: slot.watermark_us,
        watermark_delay_us: stream.map(|stream| stream.watermark_us),
        idle_after_us: stream.and_then(|stream| stream.idle_us),
        broker_error: live.is_none().then(|| "the pipeline does not run in this process".to_owned()),
    }
}
