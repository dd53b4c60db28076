//! Moves a pipeline from one engine to the other, between two commits: no window is missing, and none comes twice.
//!
//! To Spark: the query begins where the messages of the open windows begin; windows that are published are left out when
//! it computes them again. To the embedded engine: the messages of the open windows are read again, into its state. Messages
//! that were counted are not counted again. Source: docs/spark.md, "Moving a pipeline".

use std::time::Duration;

use turnstile_engine::{ClosePolicy, Engine, RestoredState};
use turnstile_lake::{Ledger, Slot};
use turnstile_message::{OffsetRange, PartitionPosition};
use turnstile_spark::{PartitionOffsets, RegistrySchemas, SparkPlan};

use super::binding::{Binding, is_of_spark};
use super::publisher::Publisher;
use super::run::start_of;
use crate::exit::Exit;
use crate::flow::commit::{CommitContext, commit_events, lake_cut};
use crate::flow::committer::Committer;
use crate::flow::context::Context;
use crate::flow::fault::{engine_failed, ledger_failed, refused_by_plan};
use crate::flow::owner;
use crate::flow::replay::{refuse_history, restore_windows};
use crate::flow::restore::{restore_from, restore_state};
use crate::flow::run_options::EngineChoice;
use crate::flow::spill_folder::spill_space;
use crate::flow::start::{ClaimedPipeline, claim};
use crate::report::Failure;

/// What a move did.
#[derive(Debug, Clone)]
pub(crate) struct Migration {
    /// It was there already.
    pub(crate) was_there: bool,
    /// The newest commit.
    pub(crate) seq: u64,
    /// Windows that end up to here are published, microseconds since the epoch.
    pub(crate) published_until_us: Option<i64>,
    /// Messages of open windows that the new engine reads again.
    pub(crate) again: Vec<OffsetRange>,
}

/// Moves the context's pipeline.
///
/// # Errors
/// It runs; it uses what the other engine does not have; topic, lake or ledger cannot be read.
pub(crate) async fn migrate(
    context: &Context,
    to: EngineChoice,
    connect_timeout: Duration,
) -> anyhow::Result<Migration> {
    let pipeline = context.pipeline();
    let lake = context.lake().await?;
    let Some(newest) = Ledger::peek(lake, &pipeline.name).await.map_err(ledger_failed)? else {
        return Err(Failure::new(Exit::Ledger, format!("pipeline {:?} has never run", pipeline.name))
            .hint("there is nothing to move: `turnstile run`, with or without --engine spark, begins it")
            .into());
    };
    owner::refuse_if_alive(&newest, lake.url())?;
    if is_of_spark(&newest) == (to == EngineChoice::Spark) {
        let Slot { seq, published_until_us, .. } = newest;
        return Ok(Migration { was_there: true, seq, published_until_us, again: Vec::new() });
    }
    refuse_history(pipeline)?;
    if to == EngineChoice::Spark {
        SparkPlan::of(pipeline, &RegistrySchemas::new()).map_err(|refused| {
            refused_by_plan(&pipeline.name, &refused).hint("`turnstile check --engine spark` shows the plan")
        })?;
    }
    let settings = context.client_settings()?.with_connect_timeout(connect_timeout);
    let claimed = claim(context, &settings, false, false, |_| Ok(())).await?;
    match to {
        EngineChoice::Spark => to_spark(context, claimed).await,
        EngineChoice::Embedded => to_embedded(context, claimed).await,
    }
}

/// Leaves the messages of the open windows to a query that begins with them.
async fn to_spark(context: &Context, claimed: ClaimedPipeline) -> anyhow::Result<Migration> {
    let ClaimedPipeline { ledger, slot, partitions, topic_ids, .. } = claimed;
    let slot = slot.ok_or_else(|| moved_meanwhile(context))?;
    let spill = spill_space(&context.pipeline().stream);
    let mut engine = Engine::new(context.plan()?, restore_from(&slot), 1, spill).map_err(engine_failed)?;
    restore_state(&mut engine, &ledger, &slot).await?;
    let mut start = start_of(&partitions, Some(&slot));
    let mut again = Vec::new();
    for open in engine.open_sources() {
        let topic = start.entry(open.partition.topic.to_string()).or_default();
        let next = topic.insert(open.partition.partition, open.first).unwrap_or(open.last + 1);
        let messages = (next - open.first).max(0) as u64;
        again.push(OffsetRange { last: next - 1, messages, ..open });
    }
    let mut binding = Binding::new(format!("{:06}", ledger.newest().epoch), start);
    binding.published_before_us = slot.published_until_us;
    let committer = Committer::of(context, ledger, Vec::new());
    let mut publisher = Publisher::new(context, committer, binding, topic_ids, None);
    publisher.commit_binding(true).await?;
    let Slot { seq, published_until_us, .. } = *publisher.newest();
    Ok(Migration { was_there: false, seq, published_until_us, again })
}

/// Reads the messages of the query's open windows into the state of an engine.
async fn to_embedded(context: &Context, claimed: ClaimedPipeline) -> anyhow::Result<Migration> {
    let pipeline = context.pipeline();
    let ClaimedPipeline { ledger, slot, topic_ids, .. } = claimed;
    let slot = slot.ok_or_else(|| moved_meanwhile(context))?;
    let reference = Binding::reference(&slot).ok_or_else(|| moved_meanwhile(context))?;
    let bytes = ledger.read_state(reference).await.map_err(ledger_failed)?;
    let binding = Binding::decode(&bytes).map_err(|error| Failure::of(Exit::Ledger, error))?;
    if binding.running.is_some() {
        return Err(Failure::new(Exit::Ledger, format!("the query of pipeline {:?} may still run", pipeline.name))
            .cause(anyhow::anyhow!("the last run left it on the cluster, or was killed"))
            .hint("`turnstile run --engine spark --until-end` publishes what it finished, and stops it; then move it")
            .into());
    }
    let again = ranges(binding.open_from(), &slot);
    let restored = RestoredState {
        published_until_us: binding.closed_until_us.max(binding.published_before_us).max(slot.published_until_us),
        ..RestoredState::default()
    };
    let spill = spill_space(&pipeline.stream);
    let mut engine = Engine::new(context.plan()?, restored, 1, spill).map_err(engine_failed)?;
    for position in &slot.positions {
        let range = again.iter().find(|range| range.partition == position.partition);
        engine.add_partition(position.partition.clone(), range.map_or(position.next_offset, |range| range.first));
    }
    if !again.is_empty() {
        restore_windows(context, &again, &mut engine).await?;
    }
    let mut committer = Committer::of(context, ledger, Vec::new());
    loop {
        let mut cut = engine.finish().map_err(engine_failed)?;
        let more = cut.more;
        // All that was read again was counted when it was read first.
        cut.counters = slot.counters.clone();
        (cut.dead_letters, cut.excluded) = (Vec::new(), Vec::new());
        let commit_context = CommitContext {
            pipeline,
            live: committer.live(),
            topic_ids: &topic_ids,
            newest: committer.newest(),
            quiet_closed_at_us: None,
            released: !more,
        };
        let commit = lake_cut(cut, &commit_context)?;
        let news = commit_events(&commit, "");
        committer.commit(commit).await?;
        news.into_iter().for_each(|event| context.events().emit(event));
        if !more {
            break;
        }
        engine.absorb(Vec::new(), &[], ClosePolicy::Passed);
    }
    let Slot { seq, published_until_us, .. } = *committer.newest();
    Ok(Migration { was_there: false, seq, published_until_us, again })
}

fn moved_meanwhile(context: &Context) -> Failure {
    Failure::new(Exit::Fenced, format!("pipeline {:?} was moved by another process", context.pipeline().name))
}

/// The messages from `begin` to the positions of `slot`.
fn ranges(begin: &PartitionOffsets, slot: &Slot) -> Vec<OffsetRange> {
    let range = |position: &PartitionPosition| {
        let partition = &position.partition;
        let first =
            begin.get(&*partition.topic).and_then(|topic| topic.get(&partition.partition)).copied().unwrap_or(0);
        let (first, last) = (first.max(0), position.next_offset - 1);
        let messages = (last - first + 1).max(0) as u64;
        (messages > 0).then(|| OffsetRange { partition: partition.clone(), first, last, messages })
    };
    slot.positions.iter().filter_map(range).collect()
}
