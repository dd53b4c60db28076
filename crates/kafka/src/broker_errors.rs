//! Broker-side errors of fetches that librdkafka retries, and when they end reading.

use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use turnstile_message::TopicPartition;

use crate::error::BrokerReason;

/// How long a broker may answer a partition's fetches with a broker-side error (a slow disk, a server error) before
/// that ends reading. librdkafka retries meanwhile.
const BROKER_ERRORS_FOR: Duration = Duration::from_secs(60);

pub(crate) struct QueuedError {
    pub(crate) code: RDKafkaErrorCode,
    pub(crate) at: Option<(TopicPartition, i64)>,
    pub(crate) reason: BrokerReason,
}

/// Broker-side errors that librdkafka retries: since when each partition has been stuck on one.
#[derive(Default)]
pub(crate) struct BrokerErrors(Vec<(TopicPartition, i64, Instant)>);

impl BrokerErrors {
    pub(crate) fn is_transient(&mut self, error: &QueuedError, now: Instant) -> bool {
        let Some((partition, position)) = error.at.as_ref().filter(|_| is_broker_side(error.code)) else {
            return false;
        };
        tracing::debug!(%partition, position, reason = %error.reason, "a fetch failed and is tried again");
        match self.0.iter_mut().find(|(known, ..)| known == partition) {
            Some((_, at, since)) if at == position => now.duration_since(*since) < BROKER_ERRORS_FOR,
            Some((_, at, since)) => {
                (*at, *since) = (*position, now);
                true
            }
            None => {
                self.0.push((partition.clone(), *position, now));
                true
            }
        }
    }
}

/// Whether this is a broker-side error that often passes. A corrupt batch is not: it stays.
fn is_broker_side(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::Unknown
            | Code::RequestTimedOut
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::NetworkException
            | Code::KafkaStorageError
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::FetchSessionIdNotFound
            | Code::InvalidFetchSessionEpoch
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_side_error_is_retried_for_a_minute_and_a_corrupt_batch_is_not() {
        let error = |code, position| QueuedError {
            code,
            at: Some((TopicPartition::new("t", 0), position)),
            reason: code.into(),
        };
        let (began, mut broker_errors) = (Instant::now(), BrokerErrors::default());
        let unknown = |position| error(RDKafkaErrorCode::Unknown, position);
        assert!(broker_errors.is_transient(&unknown(5), began));
        assert!(broker_errors.is_transient(&unknown(5), began + BROKER_ERRORS_FOR / 2));
        assert!(!broker_errors.is_transient(&unknown(5), began + BROKER_ERRORS_FOR), "it has been stuck for too long");
        assert!(broker_errors.is_transient(&unknown(6), began + BROKER_ERRORS_FOR), "it has moved since");
        assert!(!broker_errors.is_transient(&error(RDKafkaErrorCode::BadMessage, 6), began));
        assert!(!broker_errors.is_transient(&error(RDKafkaErrorCode::InvalidMessage, 6), began));
    }
}
