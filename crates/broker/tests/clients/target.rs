//! The broker under test, and the clients' calls in short form.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use turnstile_broker::{Broker, BrokerSettings};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The variable that names another broker to ask than an embedded one a test.
pub(crate) const ON: &str = "TURNSTILE_CLIENTS_ON";

/// A broker to ask.
pub(crate) struct Target {
    pub(crate) bootstrap: String,
    _embedded: Option<(Broker, tempfile::TempDir)>,
}

impl Target {
    pub(crate) fn new() -> Self {
        if let Ok(bootstrap) = std::env::var(ON) {
            return Self { bootstrap, _embedded: None };
        }
        let dir = tempfile::tempdir().unwrap();
        let broker =
            Broker::start(BrokerSettings { dir: Some(dir.path().into()), ..BrokerSettings::default() }).unwrap();
        Self { bootstrap: broker.address().to_string(), _embedded: Some((broker, dir)) }
    }

    /// Settings of any client.
    pub(crate) fn client(&self) -> ClientConfig {
        client(&self.bootstrap)
    }

    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    /// A new topic.
    pub(crate) fn topic(&self, partitions: i32, config: &[(&str, &str)]) -> String {
        let name = fresh("topic");
        make_topic(&self.admin(), &name, partitions, config).unwrap();
        name
    }

    pub(crate) fn sender(&self, config: &[(&str, &str)]) -> Sender {
        Sender::new(&self.bootstrap, config)
    }

    /// A consumer that reads `partitions` of `topic` from `offset` on, without a group's help.
    pub(crate) fn reader(&self, topic: &str, partitions: i32, offset: Offset, config: &[(&str, &str)]) -> BaseConsumer {
        reader(&self.bootstrap, topic, partitions, offset, config)
    }
}

pub(crate) fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("topic.metadata.refresh.interval.ms", "500");
    config
}

/// A name that no earlier test used, also not on a broker that keeps its topics.
pub(crate) fn fresh(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    format!("{what}-{now}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn make_topic(
    admin: &AdminClient<DefaultClientContext>,
    name: &str,
    partitions: i32,
    config: &[(&str, &str)],
) -> Result<(), RDKafkaErrorCode> {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in config {
        topic = topic.set(key, value);
    }
    let made = block_on(admin.create_topics([&topic], &options())).unwrap();
    made.into_iter().next().unwrap().map(|_| ()).map_err(|(_, code)| code)
}

pub(crate) fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

pub(crate) fn reader(
    bootstrap: &str,
    topic: &str,
    partitions: i32,
    offset: Offset,
    config: &[(&str, &str)],
) -> BaseConsumer {
    let mut settings = client(bootstrap);
    settings.set("group.id", fresh("reader")).set("enable.auto.commit", "false");
    settings.set("auto.offset.reset", "error").set("fetch.queue.backoff.ms", "10");
    for (key, value) in config {
        settings.set(*key, *value);
    }
    let consumer: BaseConsumer = settings.create().unwrap();
    let mut list = TopicPartitionList::new();
    (0..partitions).for_each(|partition| list.add_partition_offset(topic, partition, offset).unwrap());
    consumer.assign(&list).unwrap();
    consumer
}

/// Reads `count` messages, or panics after a while.
pub(crate) fn read(consumer: &BaseConsumer, count: usize) -> Vec<OwnedMessage> {
    let deadline = Instant::now() + PATIENCE;
    let mut out = Vec::with_capacity(count);
    while out.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} messages came", out.len());
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => out.push(message.detach()),
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    out
}

/// Polls until an error comes.
pub(crate) fn read_error(consumer: &BaseConsumer) -> KafkaError {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no error came");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Err(error)) => return error,
            Some(Ok(message)) => panic!("offset {} came instead of an error", message.offset()),
            None => {}
        }
    }
}

pub(crate) fn values(messages: &[OwnedMessage]) -> Vec<String> {
    messages.iter().map(|message| String::from_utf8(message.payload().unwrap().to_vec()).unwrap()).collect()
}

/// Waits until `what` holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A producer that notes what became of each message.
pub(crate) struct Sender(BaseProducer<Delivered>);

/// Partition and offset of a message delivered, or why it was not.
type Outcome = Result<(i32, i64), RDKafkaErrorCode>;

#[derive(Default)]
pub(crate) struct Delivered(Mutex<Vec<Outcome>>);

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let outcome = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap()),
        };
        self.0.lock().push(outcome);
    }
}

impl Sender {
    pub(crate) fn new(bootstrap: &str, config: &[(&str, &str)]) -> Self {
        let mut settings = client(bootstrap);
        settings.set("linger.ms", "5").set("message.timeout.ms", "20000");
        for (key, value) in config {
            settings.set(*key, *value);
        }
        Self(settings.create_with_context(Delivered::default()).unwrap())
    }

    pub(crate) fn try_send(&self, record: BaseRecord<'_, [u8], [u8]>) -> KafkaResult<()> {
        self.0.send(record).map_err(|(error, _)| error)
    }

    pub(crate) fn send(&self, topic: &str, partition: i32, value: &[u8]) {
        self.try_send(BaseRecord::to(topic).partition(partition).payload(value)).unwrap();
    }

    pub(crate) fn send_at(&self, topic: &str, timestamp: i64, value: &[u8]) {
        self.try_send(BaseRecord::to(topic).partition(0).payload(value).timestamp(timestamp)).unwrap();
    }

    /// Sends `"0"`, `"1"`, … to partition 0 and waits until all are there.
    pub(crate) fn count_to(&self, topic: &str, count: usize) {
        (0..count).for_each(|n| self.send(topic, 0, n.to_string().as_bytes()));
        assert!(self.delivered().iter().all(Result::is_ok));
    }

    /// Waits for all messages; says what became of each since the last call.
    pub(crate) fn delivered(&self) -> Vec<Outcome> {
        self.0.flush(PATIENCE).unwrap();
        std::mem::take(&mut *self.0.context().0.lock())
    }
}
