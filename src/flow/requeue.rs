//! Sends dead letters again, with their key, value and timestamp.
//!
//! In: dead letters, and where they go. Out: how many were sent, how many of them the pipeline is certain to reject again, and
//! what a running pipeline made of them. Start at [`requeue`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use turnstile_engine::Reason;
use turnstile_kafka::{KafkaConnection, Producer, ProducerLimits, ProducerRecord};
use turnstile_lake::{DeadLetterReader, Lake, Ledger, OwnedDeadLetter, Published, Slot};
use turnstile_message::{OffsetRange, SourcePosition, TopicPartition};

use super::context::Context;
use super::dead_letters::reason_of;
use super::fault::{client, ledger_failed};
use super::owner::seems_running;
use crate::exit::Exit;
use crate::report::Failure;

/// How long the broker may take to acknowledge all messages.
const FLUSH: Duration = Duration::from_secs(60);

/// How often the ledger is asked whether the messages were read.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Numbers of messages by the reason of their rejection.
pub(crate) type ByReason = BTreeMap<String, u64>;

/// Messages that were sent again.
#[derive(Debug, Default)]
pub(crate) struct Requeued {
    /// How many, by topic and by the reason of their rejection.
    pub(crate) sent: BTreeMap<String, ByReason>,
    /// Where they stand now.
    pub(crate) positions: Vec<SourcePosition>,
}

/// What became of messages that were sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequeueOutcome {
    /// The pipeline does not read the topic, or the broker did not say where the messages stand.
    Unknown,
    /// The pipeline is not running.
    NotRunning,
    /// The pipeline has not read all of them within the time given.
    NotReadYet,
    /// The pipeline has read them all.
    Read {
        /// Those that became dead letters again.
        came_back: ByReason,
        /// All others.
        accepted: u64,
    },
}

/// Reasons that depend on when a message was read, or on the schema registry: the same message may pass the next time.
const BY_CIRCUMSTANCE: [Reason; 2] = [Reason::Future, Reason::Schema];

/// Of `letters`, those that the pipeline rejects again, because its plan is the one that rejected them. With a `topic` that it
/// does not read: none.
///
/// # Errors
/// The ledger cannot be read.
pub(crate) async fn rejected_again(
    context: &Context,
    letters: &[(Published, Vec<OwnedDeadLetter>)],
    topic: Option<&str>,
) -> anyhow::Result<ByReason> {
    let pipeline = context.pipeline();
    let mut again = ByReason::new();
    if topic.is_some_and(|topic| !pipeline.source.topics.contains(topic)) {
        return Ok(again);
    }
    let lake = context.lake().await?;
    let (mut asked, mut unchanged) = (None, false);
    // Files are in the order of their commits; a plan changes with a new epoch only.
    for (file, letters) in letters.iter().rev() {
        if asked != Some(file.epoch) {
            asked = Some(file.epoch);
            let plan = turnstile_lake::plan_hash_at(lake, &pipeline.name, file.seq).await.map_err(ledger_failed)?;
            // What history has taken over it has taken over from the oldest slot on.
            let Some(plan) = plan else { break };
            unchanged = plan == pipeline.plan_hash;
        }
        let certain = |letter: &&OwnedDeadLetter| {
            unchanged && !BY_CIRCUMSTANCE.iter().any(|reason| reason.as_str() == reason_of(letter))
        };
        for letter in letters.iter().filter(certain) {
            *again.entry(reason_of(letter).to_owned()).or_default() += 1;
        }
    }
    Ok(again)
}

/// Sends `letters` to `topic`, or each to the topic that it came from.
///
/// # Errors
/// A topic does not exist; the broker cannot be reached or did not accept all messages.
pub(crate) fn requeue<'a>(
    context: &Context,
    letters: impl Iterator<Item = &'a OwnedDeadLetter> + Clone,
    topic: Option<&str>,
) -> anyhow::Result<Requeued> {
    let target = |letter: &'a OwnedDeadLetter| topic.unwrap_or(&letter.position.partition.topic).to_owned();
    let mut sent: BTreeMap<String, ByReason> = BTreeMap::new();
    for letter in letters.clone() {
        *sent.entry(target(letter)).or_default().entry(reason_of(letter).to_owned()).or_default() += 1;
    }
    let settings = context.client_settings()?;
    let connection = KafkaConnection::open(&settings).map_err(client)?;
    for topic in sent.keys() {
        // A producer would wait for a topic that does not exist.
        connection.topic_partitions(topic).map_err(client)?;
    }
    let limits = ProducerLimits { track_positions: true, ..ProducerLimits::default() };
    let producer = Producer::open(&settings, limits).map_err(client)?;
    let mut count: u64 = 0;
    for letter in letters {
        let record = ProducerRecord::resent(letter.key.as_deref(), letter.value.as_deref(), letter.timestamp_ms);
        producer
            .send(&target(letter), &record)
            .map_err(|e| Failure::new(Exit::Source, format!("{} was not resent", letter.position)).cause(e))?;
        count += 1;
    }
    let stats = producer.finish(FLUSH);
    if let Some(failure) = producer.failures().first() {
        let topics: Vec<&str> = sent.keys().map(String::as_str).collect();
        let fact = format!("{} of {count} messages did not reach {}", stats.failed, topics.join(", "));
        return Err(Failure::new(Exit::Source, fact).cause(failure.reason.clone()).into());
    }
    Ok(Requeued { sent, positions: producer.delivered_positions() })
}

/// Waits until the running pipeline has read the messages at `positions`, for at most `wait`, and tells what became of them.
///
/// # Errors
/// The ledger or a dead-letter file cannot be read.
pub(crate) async fn requeue_outcome(
    context: &Context,
    positions: &[SourcePosition],
    wait: Duration,
) -> anyhow::Result<RequeueOutcome> {
    let (pipeline, until) = (context.pipeline(), Instant::now() + wait);
    // A broker that is not asked to acknowledge (`acks=0`) gives no offsets.
    if !positions.iter().all(|at| at.offset >= 0 && pipeline.source.topics.contains(&at.partition.topic)) {
        return Ok(RequeueOutcome::Unknown);
    }
    let lake = context.lake().await?;
    loop {
        let newest = Ledger::peek(lake, &pipeline.name).await.map_err(ledger_failed)?;
        let read = newest.as_ref().is_some_and(|newest| has_read(newest, positions));
        if !read && !newest.as_ref().is_some_and(seems_running) {
            return Ok(RequeueOutcome::NotRunning);
        }
        if read && let Some(came_back) = came_back(lake, &pipeline.name, positions).await? {
            let accepted = positions.len() as u64 - came_back.values().sum::<u64>();
            return Ok(RequeueOutcome::Read { came_back, accepted });
        }
        if Instant::now() >= until || context.shutdown().is_cancelled() {
            return Ok(RequeueOutcome::NotReadYet);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Whether the commit `newest` covers all of `positions`.
fn has_read(newest: &Slot, positions: &[SourcePosition]) -> bool {
    let next: HashMap<&TopicPartition, i64> = newest.positions.iter().map(|p| (&p.partition, p.next_offset)).collect();
    positions.iter().all(|at| next.get(&at.partition).is_some_and(|next| *next > at.offset))
}

/// Those of `positions` that are dead letters, by reason; `None` while a file that is committed is not in its place.
async fn came_back(lake: &Lake, pipeline: &str, positions: &[SourcePosition]) -> anyhow::Result<Option<ByReason>> {
    let resent: HashSet<&SourcePosition> = positions.iter().collect();
    let mut first: HashMap<&TopicPartition, i64> = HashMap::new();
    for at in positions {
        first.entry(&at.partition).and_modify(|first| *first = at.offset.min(*first)).or_insert(at.offset);
    }
    let of_resent = |file: &&Published| {
        let reaches = |range: &OffsetRange| first.get(&range.partition).is_some_and(|first| range.last >= *first);
        file.file.sources.iter().any(reaches)
    };
    let files = turnstile_lake::dead_letter_files(lake, pipeline).await.map_err(ledger_failed)?;
    let (mut came_back, mut reader) = (ByReason::new(), DeadLetterReader::new(lake));
    for file in files.iter().filter(of_resent) {
        let Some(letters) = reader.read(file).await? else { return Ok(None) };
        for letter in letters.iter().filter(|letter| resent.contains(&letter.position)) {
            *came_back.entry(reason_of(letter).to_owned()).or_default() += 1;
        }
    }
    Ok(Some(came_back))
}
