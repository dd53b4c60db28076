//! Sends dead letters to the pipeline's `dead_letter_topic`.
//!
//! In: the dead letters of a cut. Out: records in the topic, before the cut is committed: after a crash in between
//! they are sent twice, but never lost.

use std::time::Duration;

use turnstile_engine::DeadLetter;
use turnstile_kafka::{ClientSettings, KafkaConnection, Producer, ProducerLimits, ProducerRecord};

use super::fault::client;
use crate::exit::Exit;
use crate::report::Failure;

/// Largest dead letter that its topic is asked to take.
const MESSAGE_BYTES: &str = "67108864";
/// How long dead letters may take into their topic.
const FLUSH: Duration = Duration::from_secs(30);

/// A topic for dead letters, open.
pub(crate) struct DeadLetterTopic {
    topic: String,
    producer: Producer,
}

impl DeadLetterTopic {
    /// Opens `topic`, which must exist.
    pub(crate) fn open(topic: &str, connection: &KafkaConnection, settings: &ClientSettings) -> anyhow::Result<Self> {
        connection.topic_partitions(topic).map_err(client)?;
        // A message that is too large for this client's default may be what is wrong with it.
        let settings = settings.clone().with("message.max.bytes", MESSAGE_BYTES, "dead_letter_topic");
        let settings = settings.map_err(|e| client(e.into()))?;
        let producer = Producer::open(&settings, ProducerLimits::default()).map_err(client)?;
        Ok(Self { topic: topic.to_owned(), producer })
    }

    /// Sends `letters` and waits until the brokers have them all.
    pub(crate) fn send(&self, letters: &[DeadLetter]) -> anyhow::Result<()> {
        if letters.is_empty() {
            return Ok(());
        }
        for letter in letters {
            self.producer.send(&self.topic, &record(letter)).map_err(|error| self.failure(error.into()))?;
        }
        let stats = self.producer.flush(FLUSH);
        if stats.failed == 0 && stats.outstanding() == 0 {
            return Ok(());
        }
        let reason = self.producer.failures().first().map(|failure| failure.reason.clone());
        Err(self.failure(reason.unwrap_or_else(|| "the broker did not answer".into()).into()))
    }

    fn failure(&self, cause: anyhow::Error) -> anyhow::Error {
        Failure::new(Exit::Source, format!("dead letters did not reach topic {:?}", self.topic))
            .cause(cause)
            .hint("nothing was committed or lost; correct the topic, or leave `dead_letter_topic` out: the lake keeps them too")
            .into()
    }
}

/// A dead letter as its topic gets it: the message as it was, and in headers where it stood and what is wrong with it.
fn record(letter: &DeadLetter) -> ProducerRecord {
    let (at, rejection) = (&letter.position, &letter.rejection);
    let record = ProducerRecord::resent(letter.key.as_deref(), letter.value.as_deref(), letter.timestamp_ms)
        .with_header("turnstile.topic", &*at.partition.topic)
        .with_header("turnstile.partition", at.partition.partition.to_string())
        .with_header("turnstile.offset", at.offset.to_string())
        .with_header("turnstile.reason", format!("{}: {}", rejection.reason, rejection.detail));
    match &rejection.field {
        Some(field) => record.with_header("turnstile.field", field),
        None => record,
    }
}
