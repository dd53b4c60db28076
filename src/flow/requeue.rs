//! Sends dead letters again, with their key, value and timestamp.
//!
//! In: dead letters, and where they go. Out: how many were sent, and how many of them the pipeline is certain to reject again.
//! Start at [`requeue`].

use std::collections::BTreeMap;
use std::time::Duration;

use turnstile_engine::Reason;
use turnstile_kafka::{KafkaConnection, Producer, ProducerLimits, ProducerRecord};
use turnstile_lake::{OwnedDeadLetter, Published};

use super::context::Context;
use super::dead_letters::reason_of;
use super::fault::{client, ledger_failed};
use crate::exit::Exit;
use crate::report::Failure;

/// How long the broker may take to acknowledge all messages.
const FLUSH: Duration = Duration::from_secs(60);

/// Numbers of messages by the reason of their rejection.
pub(crate) type ByReason = BTreeMap<String, u64>;

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

/// Sends `letters` to `topic`, or each to the topic that it came from. The messages sent, by topic and reason.
///
/// # Errors
/// A topic does not exist; the broker cannot be reached or did not accept all messages.
pub(crate) fn requeue<'a>(
    context: &Context,
    letters: impl Iterator<Item = &'a OwnedDeadLetter> + Clone,
    topic: Option<&str>,
) -> anyhow::Result<BTreeMap<String, ByReason>> {
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
    let producer = Producer::open(&settings, ProducerLimits::default()).map_err(client)?;
    let mut count: u64 = 0;
    for letter in letters {
        let record = ProducerRecord::resent(letter.key.as_deref(), letter.value.as_deref(), letter.timestamp_ms);
        producer
            .send(&target(letter), &record)
            .map_err(|e| Failure::new(Exit::Source, format!("{} was not resent", letter.position)).cause(e))?;
        count += 1;
    }
    let (stats, failures) = producer.close(FLUSH);
    if let Some(failure) = failures.first() {
        let topics: Vec<&str> = sent.keys().map(String::as_str).collect();
        let fact = format!("{} of {count} messages did not reach {}", stats.failed, topics.join(", "));
        return Err(Failure::new(Exit::Source, fact).cause(failure.reason.clone()).into());
    }
    Ok(sent)
}
