//! Opens what a flow needs: lake, ledger, engine, reader; and finds where to resume.

use std::collections::BTreeMap;
use turnstile_engine::{Engine, fingerprint};
use turnstile_kafka::{ClientError, ClientSettings, KafkaConnection, PartitionReader, ReadLimits, StartAt};
use turnstile_lake::{Ledger, PartitionPosition, Slot, StateRef};
use turnstile_message::{SourcePosition, TopicPartition};
use turnstile_pipeline::TopicSelection;

use super::context::Context;
use super::fault::{client, engine_failed, ledger_failed, open_failed, read_failed};
use super::losses::{range_lost, topic_recreated};
use super::owner;
use super::partition_key::partition_key;
use super::restore::{restore_from, restore_state};
use super::spark::is_of_spark;
use super::spill_folder::spill_space;
use crate::exit::Exit;
use crate::report::Failure;

/// Everything a running flow holds.
pub(crate) struct Started {
    pub(crate) ledger: Ledger,
    pub(crate) engine: Engine,
    pub(crate) reader: PartitionReader,
    pub(crate) connection: KafkaConnection,
    pub(crate) live: Vec<StateRef>,
    pub(crate) partitions: Vec<TopicPartition>,
    pub(crate) topic_ids: BTreeMap<String, String>,
    pub(crate) resumed_at: Option<u64>,
    /// What a person should know of this start: what was accepted as lost, a new plan.
    pub(crate) notes: Vec<String>,
}

/// How to start.
pub(crate) struct StartOptions {
    pub(crate) takeover: bool,
    pub(crate) accept_loss: bool,
    pub(crate) workers: usize,
}

/// Opens everything, in the order in which a failure costs least: settings, broker, lake, ledger.
pub(crate) async fn start(
    context: &Context,
    settings: &ClientSettings,
    options: &StartOptions,
) -> anyhow::Result<Started> {
    let (pipeline, plan) = (context.pipeline(), context.plan()?);
    let ClaimedPipeline { ledger, mut slot, mut connection, partitions, topic_ids } =
        claim(context, settings, options.takeover, options.accept_loss, refuse_spark).await?;
    let resumed_at = slot.as_ref().map(|slot| slot.seq);
    let live = slot.as_ref().map(|slot| slot.state.clone()).unwrap_or_default();
    let mut notes = Vec::new();
    if let Some(slot) = &mut slot {
        notes.extend(new_plan(slot, &pipeline.plan_hash));
        if options.accept_loss {
            notes.extend(forget_lost(slot, &partitions, &topic_ids));
        }
    }
    let known = slot.as_ref().map(|slot| slot.positions.clone()).unwrap_or_default();
    let starts = starts(&mut connection, &partitions, &known, options.accept_loss)?;
    let restore = slot.as_ref().map(restore_from).unwrap_or_default();
    let workers = options.workers.min(partitions.len()).max(1);
    let spill = spill_space(&pipeline.stream);
    let mut engine = Engine::new(plan, restore, workers, spill).map_err(engine_failed)?;
    if let Some(slot) = &slot {
        restore_state(&mut engine, &ledger, slot).await?;
    }
    let limits = ReadLimits { queues: workers, watch_leaders: true, ..ReadLimits::default() };
    let reader = PartitionReader::open(settings, starts, limits).map_err(read_failed)?;
    for (partition, offset) in reader.starts() {
        tracing::debug!(%partition, offset, "assigned");
        engine.add_partition(partition.clone(), *offset);
    }
    Ok(Started { ledger, engine, reader, connection, live, partitions, topic_ids, resumed_at, notes })
}

/// A pipeline that this process owns, with its topics as they are.
pub(crate) struct ClaimedPipeline {
    pub(crate) ledger: Ledger,
    /// The newest commit of the writer before.
    pub(crate) slot: Option<Slot>,
    pub(crate) connection: KafkaConnection,
    pub(crate) partitions: Vec<TopicPartition>,
    pub(crate) topic_ids: BTreeMap<String, String>,
}

/// Connects to the brokers and claims the pipeline, in the order in which a failure costs least. `refuse` says which newest
/// commits are another engine's.
pub(crate) async fn claim(
    context: &Context,
    settings: &ClientSettings,
    takeover: bool,
    accept_loss: bool,
    refuse: impl FnOnce(&Slot) -> anyhow::Result<()>,
) -> anyhow::Result<ClaimedPipeline> {
    let (pipeline, plan) = (context.pipeline(), context.plan()?);
    let connection = KafkaConnection::open(settings).map_err(client)?;
    let partitions = partitions_of(&connection, &pipeline.source.topics, accept_loss)?;
    tracing::debug!(servers = settings.servers(), partitions = partitions.len(), "connected to the brokers");
    let lake = context.lake().await?;
    let newest = Ledger::peek(lake, &pipeline.name).await.map_err(ledger_failed)?;
    if let Some(newest) = &newest {
        if !takeover {
            owner::refuse_if_alive(newest, lake.url())?;
        }
        refuse(newest)?;
    }
    // Before this process claims the pipeline: a key that it cannot have is no reason to fence another one.
    partition_key(pipeline, newest.as_ref())?;
    let opened = Ledger::open(lake, &pipeline.name, &pipeline.plan_hash, owner::this_process());
    let opened = opened.await.map_err(|error| open_failed(error, &plan))?;
    let ledger = opened.ledger;
    let slot = opened.recovered.map(|recovered| recovered.slot);
    let resumed_at = slot.as_ref().map(|slot| slot.seq);
    tracing::debug!(url = lake.url(), epoch = ledger.newest().epoch, ?resumed_at, "claimed the ledger");
    // Offsets and state must come from the same slot: another writer may have committed since the peek.
    let topic_ids = topic_ids(&connection, &partitions, slot.as_ref(), accept_loss)?;
    Ok(ClaimedPipeline { ledger, slot, connection, partitions, topic_ids })
}

/// Refuses a pipeline whose open windows are on a cluster.
fn refuse_spark(newest: &Slot) -> anyhow::Result<()> {
    if !is_of_spark(newest) {
        return Ok(());
    }
    Err(Failure::new(Exit::Ledger, format!("pipeline {:?} runs on Spark", newest.pipeline))
        .cause(anyhow::anyhow!("the open windows of commit {} are those of a query on a cluster", newest.seq))
        .hint("run it with --engine spark, or move it: `turnstile migrate PIPELINE.toml --to embedded`")
        .into())
}

/// The names of a pipeline's topics: those that it names, or those that match now.
pub(crate) fn topic_names(connection: &KafkaConnection, topics: &TopicSelection) -> Result<Vec<String>, ClientError> {
    Ok(match topics {
        TopicSelection::Named(names) => names.clone(),
        matching => connection.topics()?.into_iter().filter(|name| matching.contains(name)).collect(),
    })
}

/// All partitions of a pipeline's topics, topic by topic.
pub(crate) fn partitions(connection: &KafkaConnection, topics: &TopicSelection) -> anyhow::Result<Vec<TopicPartition>> {
    partitions_of(connection, topics, false)
}

/// The same; of a list, `without_missing` leaves topics out that do not exist, as a pattern does.
fn partitions_of(
    connection: &KafkaConnection,
    topics: &TopicSelection,
    without_missing: bool,
) -> anyhow::Result<Vec<TopicPartition>> {
    let names = topic_names(connection, topics).map_err(client)?;
    if names.is_empty() {
        return Err(Failure::new(Exit::SourceData, format!("no topic matches {:?}", topics.to_string()))
            .hint("the whole name must match; `turnstile topic list` shows the names that this user may see")
            .into());
    }
    let mut partitions = Vec::new();
    for topic in &names {
        let ids = match connection.topic_partitions(topic) {
            Err(ClientError::TopicMissing { .. }) if without_missing && names.len() > 1 => continue,
            ids => ids.map_err(client)?,
        };
        partitions.extend(ids.into_iter().map(|id| TopicPartition::new(topic.as_str(), id)));
    }
    Ok(partitions)
}

/// The topics' ids, which have to be those that the ledger knows: a topic that was recreated may be longer than the
/// old one, and nothing else would tell.
fn topic_ids(
    connection: &KafkaConnection,
    partitions: &[TopicPartition],
    slot: Option<&Slot>,
    accept_loss: bool,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut names: Vec<&str> = partitions.iter().map(|p| &*p.topic).collect();
    names.dedup();
    let ids = connection.topic_ids(&names).map_err(client)?;
    let known = slot.map(|slot| &slot.topic_ids);
    for (topic, is) in &ids {
        if let Some(was) = known.and_then(|known| known.get(topic)).filter(|was| *was != is && !accept_loss) {
            let positions = slot.map(|slot| slot.positions.as_slice()).unwrap_or_default();
            let next = positions.iter().map(|p| (&p.partition, p.next_offset));
            return Err(topic_recreated(topic, was, is, next).into());
        }
    }
    Ok(ids)
}

/// Takes positions out of `slot` that lead nowhere: of partitions that are gone, and of topics that are others now, which
/// are then read from their beginning. Says what becomes of each.
fn forget_lost(slot: &mut Slot, partitions: &[TopicPartition], is: &BTreeMap<String, String>) -> Vec<String> {
    let mut notes = Vec::new();
    let was = &slot.topic_ids;
    slot.positions.retain(|position| {
        let (partition, next) = (&position.partition, position.next_offset);
        let ids = (was.get(&*partition.topic), is.get(&*partition.topic));
        if !partitions.contains(partition) {
            notes.push(format!("{partition} from {next} is lost and accepted: the partition no longer exists"));
            return false;
        }
        if matches!(ids, (Some(was), Some(is)) if was != is) {
            notes.push(format!(
                "{partition} from {next} is lost and accepted: the topic was recreated and is read from its beginning"
            ));
            return false;
        }
        true
    });
    notes
}

/// Where to begin in each partition: where the ledger says, and at the beginning of those it does not know.
fn starts(
    connection: &mut KafkaConnection,
    partitions: &[TopicPartition],
    known: &[PartitionPosition],
    accept_loss: bool,
) -> anyhow::Result<Vec<(TopicPartition, StartAt)>> {
    let ranges = connection.watermarks(partitions).map_err(client)?;
    if let Some(missing) = known.iter().find(|p| !partitions.contains(&p.partition)) {
        let (partition, next) = (&missing.partition, missing.next_offset);
        return Err(Failure::new(Exit::SourceData, format!("{partition} cannot be read further: it no longer exists"))
            .cause(anyhow::anyhow!("its unread messages are lost: {partition} from {next}"))
            .hint("to continue with the other partitions, start with --accept-loss")
            .into());
    }
    let mut starts = Vec::with_capacity(partitions.len());
    for (partition, (earliest, latest)) in partitions.iter().zip(ranges) {
        let Some(position) = known.iter().find(|p| p.partition == *partition) else {
            starts.push((partition.clone(), StartAt::Earliest));
            continue;
        };
        let next = position.next_offset;
        let last = SourcePosition { partition: partition.clone(), offset: next - 1 };
        if next > latest || !same_record(connection, position, earliest)? {
            let cause = if next > latest {
                format!("the next message to read is {next}, but the partition ends at {latest}")
            } else {
                format!("the message at {last} is not the one that was read before")
            };
            let fact = format!("{partition} cannot be read further: the topic was recreated");
            return Err(Failure::new(Exit::SourceData, fact)
                .cause(anyhow::anyhow!(cause))
                .hint("give the pipeline a new name, so that it reads the new topic from its beginning")
                .into());
        }
        if next < earliest && !accept_loss {
            return Err(range_lost(partition, next, earliest)
                .hint("to continue with what is left, start with --accept-loss")
                .into());
        }
        let start = if next < earliest { StartAt::Earliest } else { StartAt::Offset(next) };
        starts.push((partition.clone(), start));
    }
    Ok(starts)
}

/// Whether the last record read is still the one that the ledger remembers. A record that was deleted
/// or compacted away since cannot be compared and is taken to be.
fn same_record(connection: &mut KafkaConnection, position: &PartitionPosition, earliest: i64) -> anyhow::Result<bool> {
    let Some(expected) = position.fingerprint else { return Ok(true) };
    let last = position.next_offset - 1;
    if last < earliest {
        return Ok(true);
    }
    let at = SourcePosition { partition: position.partition.clone(), offset: last };
    let found = connection.read_one(&at).map_err(client)?;
    Ok(found.filter(|record| record.position.offset == last).is_none_or(|record| {
        fingerprint(last, record.timestamp_ms, record.key.as_deref(), record.value.as_deref()) == expected
    }))
}

/// The plan is another one than that of the last commit. The ledger takes a new plan only while no state is kept.
fn new_plan(slot: &Slot, plan_hash: &str) -> Option<String> {
    (slot.plan_hash != plan_hash).then(|| {
        format!(
            "the plan has changed since commit {} (schema, time rules or query): no window was open, so this run uses the new one",
            slot.seq
        )
    })
}
