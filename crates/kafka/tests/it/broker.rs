//! The broker under test, and topics and records on it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{ClientConfig, config::FromClientConfig};
use turnstile_kafka::{ClientSettings, NewTopicPlan, Producer, ProducerLimits, ProducerRecord, TopicAdmin};
use turnstile_message::{MessageBatch, TopicPartition};

pub(crate) fn servers() -> String {
    turnstile_testkit::kafka()
}

pub(crate) fn settings() -> ClientSettings {
    ClientSettings::from_servers(&servers()).unwrap().with_connect_timeout(Duration::from_secs(15))
}

/// A topic of this test's own.
pub(crate) struct Topic(pub(crate) String);

impl Topic {
    pub(crate) fn new(story: &str, partitions: i32) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{story}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let plan = NewTopicPlan { topic: name.clone(), partitions, replication: 1, config: Vec::new() };
        TopicAdmin::open(&settings()).unwrap().create(&plan).unwrap();
        Self(name)
    }

    pub(crate) fn partition(&self, number: i32) -> TopicPartition {
        TopicPartition::new(self.0.as_str(), number)
    }

    /// Writes to partition 0, and to others with [`Topic::write_to`]; null and empty payloads as given.
    pub(crate) fn write(&self, records: &[(Option<&str>, Option<&str>)]) {
        self.write_to(0, records);
    }

    pub(crate) fn write_to(&self, partition: i32, records: &[(Option<&str>, Option<&str>)]) {
        let producer = plain_producer(&[]);
        for (key, value) in records {
            let mut record = BaseRecord::<str, str>::to(&self.0).partition(partition);
            (record.key, record.payload) = (*key, *value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(Duration::from_secs(30)).unwrap();
    }

    pub(crate) fn write_numbers(&self, partition: i32, numbers: std::ops::Range<u32>) {
        let texts: Vec<String> = numbers.map(|n| n.to_string()).collect();
        let records: Vec<_> = texts.iter().map(|text| (None, Some(text.as_str()))).collect();
        self.write_to(partition, &records);
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let _ = TopicAdmin::open(&settings()).map(|topics| topics.delete(&self.0));
    }
}

/// A producer that can do what the room's own does not: null values, chosen partitions, transactions.
pub(crate) fn plain_producer(more: &[(&str, &str)]) -> ThreadedProducer<DefaultProducerContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers()).set("acks", "all");
    for (key, value) in more {
        config.set(*key, *value);
    }
    ThreadedProducer::from_config(&config).unwrap()
}

pub(crate) fn producer(limits: ProducerLimits) -> Producer {
    Producer::open(&settings(), limits).unwrap()
}

pub(crate) fn record(key: &str, value: &str) -> ProducerRecord {
    ProducerRecord { key: key.into(), keyed: true, value: value.into(), ..ProducerRecord::default() }
}

pub(crate) fn values(batch: &MessageBatch) -> Vec<String> {
    (0..batch.len()).map(|row| String::from_utf8(batch.values.get(row).unwrap().to_vec()).unwrap()).collect()
}
