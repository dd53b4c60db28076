//! The delivery status of the records that a producer sent.
//!
//! In: librdkafka's delivery reports. Out: counts, the first failures, and how many of the records sent first are all
//! delivered.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard};
use rdkafka::Statistics;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use turnstile_message::{SourcePosition, TopicPartition};

use crate::error::BrokerReason;
use crate::link::LinkContext;

/// A record that was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("message with key {} was not delivered to topic \"{topic}\"", key.as_deref().unwrap_or("none"))]
pub struct DeliveryFailure {
    /// Its topic.
    pub topic: String,
    /// Its key, as text.
    pub key: Option<String>,
    /// Why.
    #[source]
    pub reason: BrokerReason,
}

impl DeliveryFailure {
    /// Replaces a general reason by the specific one: the client's fatal error, or why no broker took the record while it
    /// waited.
    pub(crate) fn specify(&mut self, fatal: Option<RDKafkaErrorCode>, unreachable: Option<String>) {
        use RDKafkaErrorCode::{Fatal, MessageTimedOut, PurgeInflight, PurgeQueue};
        let specific = match self.reason {
            BrokerReason::Code(Fatal) => fatal.map(BrokerReason::Code),
            BrokerReason::Code(MessageTimedOut | PurgeInflight | PurgeQueue) => unreachable.map(BrokerReason::Text),
            _ => None,
        };
        if let Some(reason) = specific {
            self.reason = reason;
        }
    }
}

/// The outcomes of the records.
pub(crate) struct Accounts {
    pub(crate) sent: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) failed: AtomicU64,
    keep: usize,
    kept: Mutex<Vec<DeliveryFailure>>,
    /// Number and value's bytes of the largest record that failed.
    pub(crate) largest: Mutex<Option<(u64, usize)>>,
    pub(crate) prefix: Option<Mutex<DeliveredPrefix>>,
    pub(crate) positions: Option<Mutex<Vec<SourcePosition>>>,
    /// The prefix has come to its end: whatever is sent from now on would have to be sent again.
    pub(crate) ended: AtomicBool,
    /// The first topic that this client may not write to.
    pub(crate) refused: OnceLock<(String, RDKafkaErrorCode)>,
}

impl Accounts {
    pub(crate) fn new(keep: usize, track_prefix: bool, track_positions: bool) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            sent: zero(),
            delivered: zero(),
            failed: zero(),
            keep,
            kept: Mutex::new(Vec::new()),
            largest: Mutex::new(None),
            prefix: track_prefix.then(Mutex::default),
            positions: track_positions.then(Mutex::default),
            ended: AtomicBool::new(false),
            refused: OnceLock::new(),
        }
    }

    pub(crate) fn prefix(&self) -> Option<MutexGuard<'_, DeliveredPrefix>> {
        self.prefix.as_ref().map(|prefix| prefix.lock())
    }

    pub(crate) fn kept(&self) -> MutexGuard<'_, Vec<DeliveryFailure>> {
        self.kept.lock()
    }
}

/// Which records have been delivered, by the order in which they were sent. Partitions acknowledge independently, so
/// what is delivered has holes; their number is bounded by the producer's queue.
#[derive(Debug, Default)]
pub(crate) struct DeliveredPrefix {
    /// All records before this one are delivered.
    pub(crate) delivered: u64,
    /// Whether each record from there on is.
    beyond: VecDeque<bool>,
    /// The first record that failed: what lies beyond it is of no interest.
    pub(crate) end: Option<(u64, DeliveryFailure)>,
}

impl DeliveredPrefix {
    fn fail(&mut self, number: u64, failure: &DeliveryFailure) {
        if self.end.as_ref().is_none_or(|(end, _)| number < *end) {
            self.end = Some((number, failure.clone()));
        }
    }

    fn deliver(&mut self, number: u64) {
        if self.end.as_ref().is_some_and(|(end, _)| number >= *end) {
            return;
        }
        let Some(at) = number.checked_sub(self.delivered).map(|at| at as usize) else { return };
        if self.beyond.len() <= at {
            self.beyond.resize(at + 1, false);
        }
        self.beyond[at] = true;
        while self.beyond.front() == Some(&true) {
            self.beyond.pop_front();
            self.delivered += 1;
        }
    }
}

pub(crate) struct DeliveryContext {
    pub(crate) link: LinkContext,
    pub(crate) accounts: Arc<Accounts>,
}

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.link.log(level, facility, line);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.link.error(error, reason);
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        match result {
            Ok(record) => {
                self.link.0.note_answer();
                if let Some(positions) = &self.accounts.positions {
                    let partition = TopicPartition::new(record.topic(), record.partition());
                    positions.lock().push(SourcePosition { partition, offset: record.offset() });
                }
                if let Some(mut prefix) = self.accounts.prefix() {
                    prefix.deliver(number as u64);
                }
                self.accounts.delivered.fetch_add(1, Ordering::Release);
            }
            Err((error, record)) => {
                let key = record.key().map(|key| String::from_utf8_lossy(key).into_owned());
                let reason = error.rdkafka_error_code().map_or_else(|| error.clone().into(), BrokerReason::Code);
                let failure = DeliveryFailure { topic: record.topic().to_owned(), key, reason };
                if let Some(mut prefix) = self.accounts.prefix() {
                    prefix.fail(number as u64, &failure);
                    self.accounts.ended.store(true, Ordering::Relaxed);
                }
                let bytes = record.payload().map_or(0, <[u8]>::len);
                let mut largest = self.accounts.largest.lock();
                if largest.is_none_or(|(_, most)| most < bytes) {
                    *largest = Some((number as u64, bytes));
                }
                drop(largest);
                use RDKafkaErrorCode::{ClusterAuthorizationFailed, TopicAuthorizationFailed};
                if let Some(code @ (TopicAuthorizationFailed | ClusterAuthorizationFailed)) = error.rdkafka_error_code()
                {
                    // Only the first one counts.
                    let _ = self.accounts.refused.set((record.topic().to_owned(), code));
                }
                let mut kept = self.accounts.kept();
                if kept.len() < self.accounts.keep {
                    kept.push(failure);
                }
                drop(kept);
                self.accounts.failed.fetch_add(1, Ordering::Release);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_waited_in_vain_fails_for_the_reason_of_the_connection() {
        use RDKafkaErrorCode::{Fatal, InvalidProducerEpoch, MessageSizeTooLarge, PurgeQueue};
        let unreachable = || Some("Failed to resolve 'x.invalid:9092'".to_owned());
        for (code, unreachable, expected) in [
            (PurgeQueue, unreachable(), "Failed to resolve 'x.invalid:9092'".into()),
            (PurgeQueue, None, BrokerReason::Code(PurgeQueue)),
            (Fatal, unreachable(), BrokerReason::Code(InvalidProducerEpoch)),
            (MessageSizeTooLarge, unreachable(), BrokerReason::Code(MessageSizeTooLarge)),
        ] {
            let mut failure = DeliveryFailure { topic: "t".into(), key: None, reason: code.into() };
            failure.specify(Some(InvalidProducerEpoch), unreachable);
            assert_eq!(failure.reason, expected);
        }
    }

    #[test]
    fn the_prefix_ends_at_the_first_record_that_is_not_delivered() {
        let mut prefix = DeliveredPrefix::default();
        for (number, delivered) in [(1, 0), (3, 0), (0, 2), (2, 4), (6, 4), (4, 5)] {
            prefix.deliver(number);
            assert_eq!(prefix.delivered, delivered, "after {number}");
        }
        assert_eq!(prefix.beyond, [false, true]);
        let failure = DeliveryFailure { topic: "t".into(), key: None, reason: "too large".into() };
        prefix.fail(9, &failure);
        prefix.fail(7, &failure);
        prefix.deliver(8);
        prefix.deliver(5);
        assert_eq!((prefix.delivered, prefix.beyond.len()), (7, 0), "what follows a failure is not kept");
    }
}
