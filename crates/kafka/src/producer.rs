//! Sends records, and accounts for every one of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};
use turnstile_message::SourcePosition;

use crate::connection::{LEADER_BACKOFF, creation_error};
use crate::delivery::{Accounts, DeliveryContext, DeliveryFailure};
use crate::error::{ClientError, topic_error};
use crate::link::{BrokerLink, LinkContext, LinkState};
use crate::provider::ProducerRecord;
use crate::settings::ClientSettings;

/// Acknowledgements are polled once in this many records: often enough with batches of thousands.
const SERVE_EVERY: u64 = 64;

/// Most batches of acknowledgements that one poll takes.
const SERVE_MOST: usize = 32;

/// Limits and behaviour of a producer. Client keys that the user set take precedence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerLimits {
    /// `none`, `gzip`, `snappy`, `lz4` or `zstd`. Default `lz4`.
    pub compression: String,
    /// How long a record waits for others to share its batch. Default 5 ms.
    pub linger: Duration,
    /// Most records waiting for delivery. Default 50,000: more would not stay in the processor's cache.
    pub queue_messages: usize,
    /// Most payload bytes waiting for delivery, in KiB. Default 64 MiB.
    pub queue_kbytes: usize,
    /// How long a record may wait for its delivery before it counts as failed. Default 2 minutes.
    pub delivery_timeout: Duration,
    /// How many failed deliveries are kept with topic, key and reason; more are only counted. Default 10.
    pub kept_failures: usize,
    /// Whether the broker removes the duplicates that retries cause and keeps the order. Default yes. As in Java, keys
    /// that contradict it (`acks=1`, `retries=0`, more than 5 requests in flight) switch it off.
    pub idempotent: bool,
    /// Whether [`Producer::delivered_prefix`] is kept. One thread may then send, and nothing is taken any more after a
    /// delivery that failed. Default no.
    pub track_prefix: bool,
    /// Whether [`Producer::delivered_positions`] are kept, some 32 bytes a record. Default no.
    pub track_positions: bool,
}

impl Default for ProducerLimits {
    fn default() -> Self {
        Self {
            compression: "lz4".to_owned(),
            linger: Duration::from_millis(5),
            queue_messages: 50_000,
            queue_kbytes: 64 * 1024,
            delivery_timeout: Duration::from_secs(120),
            kept_failures: 10,
            idempotent: true,
            track_prefix: false,
            track_positions: false,
        }
    }
}

/// Counts of a producer: `sent = delivered + failed + outstanding`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProducerStats {
    /// Records taken by [`Producer::send`].
    pub sent: u64,
    /// Records that the broker acknowledged.
    pub delivered: u64,
    /// Records that were given up.
    pub failed: u64,
}

impl ProducerStats {
    /// Records whose outcome is not known yet.
    pub fn outstanding(&self) -> u64 {
        self.sent.saturating_sub(self.delivered + self.failed)
    }
}

/// Why a record was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The queue is full: try again when some records were delivered. Only [`Producer::try_send`] returns it.
    #[error("the producer's queue is full")]
    QueueFull,
    /// The record is larger than the client sends.
    #[error("a message of {bytes} bytes for topic \"{topic}\" is larger than `message.max.bytes` of this client")]
    TooLarge {
        /// The topic.
        topic: String,
        /// Size of key and value.
        bytes: usize,
    },
    /// A record before this one was not delivered, see [`Producer::first_failure`]. Only where the prefix is kept.
    #[error("an earlier message was not delivered")]
    Ended,
    /// The topic or the client: this record was not sent, and the next one will not be either.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Sends records from any number of threads. Sending also polls the acknowledgements that have arrived, so that the
/// memory of a record is freed by the thread that allocated it; reading the counts polls them too.
pub struct Producer {
    // Dropped after all other uses of the link; librdkafka's thread ends with it.
    client: BaseProducer<DeliveryContext>,
    accounts: Arc<Accounts>,
    link: Arc<BrokerLink>,
    settings: ClientSettings,
}

impl Producer {
    /// A producer with these settings; connects in the background. Ask a [`crate::KafkaConnection`] for the topic first: it
    /// waits for the broker and returns what is wrong.
    ///
    /// # Errors
    /// `Settings` when librdkafka does not take the settings together.
    pub fn open(settings: &ClientSettings, limits: ProducerLimits) -> Result<Self, ClientError> {
        settings.check().map_err(ClientError::Settings)?;
        let linger = limits.linger.as_millis().to_string();
        let timeout = limits.delivery_timeout.as_millis().max(1).to_string();
        let (messages, kbytes) = (limits.queue_messages.max(1).to_string(), limits.queue_kbytes.max(1).to_string());
        let contradiction = settings.against_idempotence();
        if let Some((key, origin)) = contradiction.filter(|_| limits.idempotent) {
            tracing::warn!("{origin}: `{key}` switches enable.idempotence off: retries may send a message twice");
        }
        let idempotent = limits.idempotent && contradiction.is_none();
        let defaults = [
            ("enable.idempotence", if idempotent { "true" } else { "false" }),
            ("compression.type", limits.compression.as_str()),
            ("linger.ms", &linger),
            ("message.timeout.ms", &timeout),
            ("queue.buffering.max.messages", &messages),
            ("queue.buffering.max.kbytes", &kbytes),
            ("batch.num.messages", "100000"),
            ("reconnect.backoff.max.ms", "2000"),
            LEADER_BACKOFF,
            // Java's choice of partition for a key, so that both clients keep a key in one partition.
            ("partitioner", "murmur2_random"),
        ];
        let forced = [
            // Every record is accounted for: without reports of success all of them would count as failed.
            ("delivery.report.only.error", "false"),
        ];
        let config = settings.config(&defaults, &forced);
        let link = Arc::new(BrokerLink::new(settings.servers()));
        let accounts = Arc::new(Accounts::new(limits.kept_failures, limits.track_prefix, limits.track_positions));
        let context = DeliveryContext { link: LinkContext(link.clone()), accounts: accounts.clone() };
        let client =
            BaseProducer::from_config_and_context(&config, context).map_err(|e| creation_error(settings, &e))?;
        Ok(Self { client, accounts, link, settings: settings.clone() })
    }

    /// Of the records that failed the largest: its number, as that of [`Producer::first_failure`], and its value's bytes.
    pub fn largest_failure(&self) -> Option<(u64, usize)> {
        *self.accounts.largest.lock()
    }

    /// Queues one record, waiting while the queue is full: at most as long as the oldest record waits for its delivery.
    ///
    /// # Errors
    /// The record was not taken; see [`SendError`]. `Stopped` when the settings' stop flag is set while it waits.
    pub fn send(&self, topic: &str, record: &ProducerRecord) -> Result<(), SendError> {
        loop {
            match self.try_send(topic, record) {
                Err(SendError::QueueFull) if self.settings.stopped() => return Err(ClientError::Stopped.into()),
                // Deliveries make room; a poll that waits for them takes its whole timeout even when some have come.
                Err(SendError::QueueFull) => self.settings.pause(Duration::from_millis(1)),
                taken => return taken,
            }
        }
    }

    /// Queues one record, or says at once that the queue is full.
    ///
    /// # Errors
    /// The record was not taken; see [`SendError`].
    pub fn try_send(&self, topic: &str, record: &ProducerRecord) -> Result<(), SendError> {
        // The next record would be refused like the one before; an endless stream of refusals is of no use.
        if let Some((_, code)) = self.accounts.refused.get().filter(|(refused, _)| refused == topic)
            && let Some(error) = topic_error(*code, topic)
        {
            return Err(error.into());
        }
        if self.accounts.ended.load(Ordering::Relaxed) {
            return Err(SendError::Ended);
        }
        // The number is only looked at where the prefix is kept, and there one thread sends.
        let number = self.accounts.sent.load(Ordering::Relaxed) as usize;
        let mut out = BaseRecord::<[u8], [u8], usize>::with_opaque_to(topic, number);
        (out.key, out.payload, out.timestamp) = (record.key(), record.value(), record.timestamp_ms);
        if !record.headers.is_empty() {
            let add = |all: OwnedHeaders, (key, text): &(&str, String)| all.insert(Header { key, value: Some(text) });
            out.headers = Some(record.headers.iter().fold(OwnedHeaders::new_with_capacity(record.headers.len()), add));
        }
        match self.client.send(out) {
            Ok(()) => {
                if self.accounts.sent.fetch_add(1, Ordering::Relaxed).is_multiple_of(SERVE_EVERY) {
                    self.client.poll(Duration::ZERO);
                }
                Ok(())
            }
            Err((error, _)) => {
                self.poll_events();
                Err(self.to_send_error(error, topic, record))
            }
        }
    }

    /// Polls the acknowledgements and errors that have arrived; each call of librdkafka returns one batch's.
    fn poll_events(&self) {
        for _ in 0..SERVE_MOST {
            self.client.poll(Duration::ZERO);
        }
    }

    /// Waits until every record's outcome is known or the time is up, and returns the counts.
    pub fn flush(&self, timeout: Duration) -> ProducerStats {
        // An error only means that the time is up, which the counts show too.
        let _ = self.client.flush(timeout);
        self.stats()
    }

    /// Flushes, gives up what is left when the time is up (it counts as failed), and returns the final account.
    pub fn close(self, timeout: Duration) -> (ProducerStats, Vec<DeliveryFailure>) {
        self.finish(timeout);
        (self.stats(), self.failures())
    }

    /// [`Producer::close`] without consuming the producer: every record's outcome is known afterwards.
    pub fn finish(&self, timeout: Duration) -> ProducerStats {
        if self.flush(timeout).outstanding() > 0 {
            self.client.purge(PurgeConfig::default().queue().inflight());
            self.flush(Duration::from_secs(5));
        }
        self.stats()
    }

    /// The counts now.
    pub fn stats(&self) -> ProducerStats {
        self.poll_events();
        // Outcomes are read before `sent`, so that records sent meanwhile show as outstanding and never as less than none.
        let delivered = self.accounts.delivered.load(Ordering::Acquire);
        let failed = self.accounts.failed.load(Ordering::Acquire);
        ProducerStats { sent: self.accounts.sent.load(Ordering::Acquire), delivered, failed }
    }

    /// How many of the records sent first have all been delivered: a record that failed ends it for good. 0 unless
    /// [`ProducerLimits::track_prefix`] is set.
    pub fn delivered_prefix(&self) -> u64 {
        self.accounts.prefix().map_or(0, |prefix| prefix.delivered)
    }

    /// Where the delivered records stand in their topics, in the order of their acknowledgements. Empty unless
    /// [`ProducerLimits::track_positions`] is set.
    pub fn delivered_positions(&self) -> Vec<SourcePosition> {
        self.accounts.positions.as_ref().map_or_else(Vec::new, |positions| positions.lock().clone())
    }

    /// The first record in the order of sending that was not delivered, with its number from 0; `None` unless
    /// [`ProducerLimits::track_prefix`] is set. Final once every record's outcome is known.
    pub fn first_failure(&self) -> Option<(u64, DeliveryFailure)> {
        let (number, mut failure) = self.accounts.prefix()?.end.clone()?;
        self.specify(&mut failure);
        Some((number, failure))
    }

    /// Gives the failure the specific reason that the client knows.
    fn specify(&self, failure: &mut DeliveryFailure) {
        let fatal = self.client.client().fatal_error().map(|(code, _)| code);
        failure.specify(fatal, self.link.is_suspect().then(|| self.link.reason()));
    }

    /// Whether [`Producer::delivered_prefix`] is kept.
    pub(crate) fn tracks_prefix(&self) -> bool {
        self.accounts.prefix.is_some()
    }

    /// The first failed deliveries, as many as [`ProducerLimits::kept_failures`] says.
    pub fn failures(&self) -> Vec<DeliveryFailure> {
        let mut kept = self.accounts.kept().clone();
        kept.iter_mut().for_each(|failure| self.specify(failure));
        kept
    }

    /// Whether brokers can be reached, as far as this client knows.
    pub fn state(&self) -> LinkState {
        self.poll_events();
        self.link.state()
    }

    fn to_send_error(&self, error: KafkaError, topic: &str, record: &ProducerRecord) -> SendError {
        let code = error.rdkafka_error_code();
        match code {
            Some(RDKafkaErrorCode::QueueFull) => SendError::QueueFull,
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => SendError::TooLarge {
                topic: topic.to_owned(),
                bytes: record.value.len() + record.key().map_or(0, <[u8]>::len),
            },
            _ => {
                let fatal = self.client.client().fatal_error();
                let code = fatal.as_ref().map(|(code, _)| *code).or(code);
                let client = code.and_then(|code| topic_error(code, topic)).unwrap_or_else(|| {
                    let reason = fatal.map_or_else(|| error.into(), |(_, reason)| reason.into());
                    ClientError::Failed { action: format!("send to topic \"{topic}\""), reason }
                });
                SendError::Client(client)
            }
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let left = self.stats().outstanding();
        if left > 0 {
            tracing::error!(messages = left, "the producer was dropped before these messages were delivered");
        }
    }
}
