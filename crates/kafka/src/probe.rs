//! Asks a broker for metadata when no messages arrive and the link is in doubt.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

use crate::link::BrokerLink;

/// How often a broker is asked while the link is in doubt, and how long it may take to answer.
const EVERY: Duration = Duration::from_secs(2);
const WAIT: Duration = Duration::from_millis(200);

/// When a broker was last asked.
pub(crate) struct Probe(Instant);

impl Probe {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    /// Asks about `topic` when the link is in doubt and it is time to; the result is recorded in the link.
    pub(crate) fn probe_if_due<C: ConsumerContext>(
        &mut self,
        link: &BrokerLink,
        consumer: &BaseConsumer<C>,
        topic: &str,
    ) {
        if link.is_suspect() && self.0.elapsed() > EVERY {
            self.0 = Instant::now();
            link.record_probe(consumer.fetch_metadata(Some(topic), WAIT));
        }
    }
}
