//! Runs past messages through a pipeline again, without its ledger.
//!
//! A window's file names, for each partition, the offsets of the first and last message that are part of it.
//! Between them are all its messages, and others that belong to neighbouring windows: the engine separates them as it
//! did the first time. Nothing is late or ahead of the clock in a replay, because all windows stay open until its end
//! and no clock is read. Messages that were rejected for these reasons are skipped, according to the ledger.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use turnstile_engine::{ClosePolicy, ClosedWindow, Engine, Reason, RestoredState};
use turnstile_kafka::{PartitionReader, ReadLimits, StartAt};
use turnstile_lake::{DeadLetterReader, Published};
use turnstile_message::{BatchBuilder, MessageBatch, OffsetRange, SourcePosition};
use turnstile_pipeline::{AggregateKind, DedupSettings, Pipeline};

use super::context::Context;
use super::fault::{client, engine_failed, ledger_failed, read_failed};
use super::schemas::{SchemaFetcher, open_registry};
use super::spill_folder::spill_space;
use super::worker_task::{BATCH_BYTES, BATCH_ROWS};
use crate::exit::Exit;
use crate::report::Failure;

const WAIT: Duration = Duration::from_millis(100);
/// How long the topic may say nothing before the replay gives up.
const SILENCE: Duration = Duration::from_secs(30);

/// Whether what a window holds depends on messages before it: growth counts from the reading before, and
/// duplicates that may differ in event time can have their first occurrence in an earlier window.
fn needs_history(pipeline: &Pipeline) -> bool {
    let grows = pipeline.query.aggregates.iter().any(|a| !matches!(a.kind, AggregateKind::Function { .. }));
    let stream = &pipeline.stream;
    grows || matches!(&stream.dedup, DedupSettings::Fields(names) if !names.contains(&stream.event_time))
}

/// Messages that a replay leaves out.
#[derive(Debug, Default)]
struct ReplayExclusions {
    positions: HashSet<SourcePosition>,
    /// Files that would name more, and that retention has deleted.
    deleted: Vec<String>,
}

/// The dead letters before the ends of `ranges` that are none by their bytes alone: their time had come to nothing then,
/// or the registry did not know their schema yet.
async fn left_out(context: &Context, ranges: &[OffsetRange]) -> anyhow::Result<ReplayExclusions> {
    let by_circumstance = [Reason::Future, Reason::Late, Reason::Schema].map(Reason::as_str);
    let within = |r: &OffsetRange| ranges.iter().any(|o| o.partition == r.partition && r.first <= o.last);
    let lake = context.lake().await?;
    let mut files = turnstile_lake::dead_letter_files(lake, &context.pipeline().name).await.map_err(ledger_failed)?;
    files.retain(|Published { file, .. }| {
        file.sources.iter().any(within) && by_circumstance.iter().any(|reason| file.counts.contains_key(*reason))
    });
    let mut left_out = ReplayExclusions::default();
    let mut reader = DeadLetterReader::new(lake);
    for published in files {
        let Some(letters) = reader.read(&published).await? else {
            left_out.deleted.push(published.file.name);
            continue;
        };
        let rejected =
            letters.into_iter().filter(|l| by_circumstance.iter().any(|word| l.reason.split(':').next() == Some(word)));
        left_out.positions.extend(rejected.map(|letter| letter.position));
    }
    Ok(left_out)
}

/// The windows that the messages of `ranges` make, but for those that were rejected by circumstance. Files that retention
/// has deleted, and that would name more of those, are named to `on_deleted`.
///
/// They are those of the first time if what the pipeline did then depends on these partitions' messages up to the
/// last one of the ranges alone. Where windows depend on earlier messages, those are read from the partitions'
/// beginning: they may have been deleted since, and a duplicate's first occurrence may lie in another partition.
pub(crate) async fn replay(
    context: &Context,
    ranges: &[OffsetRange],
    on_deleted: impl FnMut(&str),
) -> anyhow::Result<Vec<ClosedWindow>> {
    let (pipeline, plan) = (context.pipeline(), context.plan()?);
    let left_out = left_out(context, ranges).await?;
    left_out.deleted.iter().map(String::as_str).for_each(on_deleted);
    let mut engine =
        Engine::new(plan, RestoredState::default(), 1, spill_space(&pipeline.stream)).map_err(engine_failed)?;
    read_again(context, ranges, needs_history(pipeline), &left_out, &mut engine, ClosePolicy::All).await?;
    let mut closed = Vec::new();
    loop {
        let cut = engine.finish().map_err(engine_failed)?;
        closed.extend(cut.closed);
        if !cut.more {
            return Ok(closed);
        }
        engine.absorb(Vec::new(), &[], ClosePolicy::All);
    }
}

/// Gives `engine` the messages of `ranges`, but for those that were rejected by circumstance; windows behind its watermark are
/// due then.
///
/// # Errors
/// The messages or the ledger cannot be read; `Config`: what windows hold depends on messages before the ranges.
pub(super) async fn restore_windows(
    context: &Context,
    ranges: &[OffsetRange],
    engine: &mut Engine,
) -> anyhow::Result<()> {
    refuse_history(context.pipeline())?;
    let left_out = left_out(context, ranges).await?;
    read_again(context, ranges, false, &left_out, engine, ClosePolicy::Passed).await
}

/// Refuses a pipeline in which what a window holds depends on messages before its own.
///
/// # Errors
/// That.
pub(super) fn refuse_history(pipeline: &Pipeline) -> anyhow::Result<()> {
    if !needs_history(pipeline) {
        return Ok(());
    }
    let fact = "this pipeline cannot be moved: what a window holds depends on messages long before it";
    Err(Failure::new(Exit::Config, fact)
        .hint("dedup by fields has to include the event time; increase, resets and jumps have their readings here")
        .into())
}

async fn read_again(
    context: &Context,
    ranges: &[OffsetRange],
    from_the_beginning: bool,
    left_out: &ReplayExclusions,
    engine: &mut Engine,
    close: ClosePolicy,
) -> anyhow::Result<()> {
    let (pipeline, shutdown) = (context.pipeline(), context.shutdown());
    let settings = context.client_settings()?;
    let start = |range: &OffsetRange| if from_the_beginning { StartAt::Earliest } else { StartAt::Offset(range.first) };
    let starts = ranges.iter().map(|range| (range.partition.clone(), start(range))).collect();
    let mut reader = PartitionReader::open(&settings, starts, ReadLimits::default()).map_err(read_failed)?;
    let mut worker = engine.worker();
    let mut schemas = open_registry(pipeline, context.runtime())?.map(SchemaFetcher::new);
    let mut queues = reader.split();
    let queue = queues.first_mut().ok_or_else(|| Failure::new(Exit::Failed, "there is nothing to replay"))?;
    let mut heard_at = Instant::now();
    loop {
        if shutdown.is_cancelled() {
            return Err(client(turnstile_kafka::ClientError::Stopped));
        }
        let all = queue.next(BATCH_ROWS, BATCH_BYTES, WAIT).map_err(read_failed)?;
        if !all.is_empty() {
            heard_at = Instant::now();
        } else if heard_at.elapsed() >= SILENCE {
            let servers = settings.servers().to_owned();
            let reason = "the messages to replay did not arrive".into();
            return Err(client(turnstile_kafka::ClientError::Unreachable { servers, waited: SILENCE, reason }));
        }
        let batch = within(&all, ranges, left_out);
        if !batch.is_empty() {
            let batch = match &mut schemas {
                Some(schemas) => schemas.resolve(batch, &mut worker, shutdown).await?,
                None => batch,
            };
            worker.push(&batch, None).map_err(engine_failed)?;
        }
        let done = |r: &OffsetRange| queue.positions().iter().any(|(p, next)| *p == r.partition && *next > r.last);
        if ranges.iter().all(done) {
            break;
        }
    }
    let part = worker.take().map_err(engine_failed)?;
    engine.absorb(vec![part], &[], close);
    Ok(())
}

/// The messages of `batch` that lie within `ranges` and are not left out.
fn within(batch: &MessageBatch, ranges: &[OffsetRange], left_out: &ReplayExclusions) -> MessageBatch {
    let mut kept = BatchBuilder::with_capacity(batch.len(), batch.payload_bytes());
    for run in &batch.runs {
        let Some(range) = ranges.iter().find(|r| r.partition == run.partition) else { continue };
        for row in run.rows.clone().filter(|row| batch.offsets[*row] <= range.last) {
            let position = SourcePosition { partition: run.partition.clone(), offset: batch.offsets[row] };
            if left_out.positions.contains(&position) {
                continue;
            }
            let (key, value) = (batch.keys.get(row), batch.values.get(row));
            kept.push(&run.partition, batch.offsets[row], batch.timestamps_ms[row], key, value);
        }
    }
    kept.finish()
}
