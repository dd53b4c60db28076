//! How fast the broker takes and gives messages through librdkafka, on disk.
//!
//! `cargo run --release -p turnstile-broker --example broker_rates -- [messages] [codec] [fsync]`
//! Prints messages a second in and out, for 130-byte messages in 4 partitions. Client and broker share
//! the machine, so this is what both together reach.

// Only here: librdkafka's batch call, which the safe binding does not offer.
#![allow(unsafe_code)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_message_destroy, rd_kafka_queue_destroy, rd_kafka_queue_get_consumer,
    rd_kafka_resp_err_t,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use turnstile_broker::{Broker, BrokerSettings, Fsync};

const PARTITIONS: i32 = 4;
const MESSAGE_BYTES: usize = 130;
const TOPIC: &str = "rates";

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let count: u64 = args.next().map_or(Ok(5_000_000), |text| text.parse())?;
    let codec = args.next().unwrap_or_else(|| "lz4".into());
    let fsync = match args.next().as_deref() {
        Some("never") => Fsync::Never,
        Some("every-batch") => Fsync::EveryBatch,
        _ => Fsync::Interval(Duration::from_secs(1)),
    };
    let dir = tempfile::tempdir()?;
    let settings = BrokerSettings { dir: Some(PathBuf::from(dir.path())), fsync, ..BrokerSettings::default() };
    let began = Instant::now();
    let broker = Broker::start(settings.clone())?;
    println!("start, empty folder: {:.1} ms", began.elapsed().as_secs_f64() * 1e3);

    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", broker.address().to_string());
    let admin: AdminClient<DefaultClientContext> = client.create()?;
    let topic = NewTopic::new(TOPIC, PARTITIONS, TopicReplication::Fixed(1));
    futures::executor::block_on(admin.create_topics([&topic], &AdminOptions::new()))?;

    println!("in:  {} ({codec}, {fsync:?})", produce(&client, &codec, count)?);
    println!("out: {}, polled one by one", consume(&client, count, poll)?);
    println!("out: {}, in batches", consume(&client, count, take_batches)?);
    println!("peak memory, clients included: {} MiB", peak_mib().unwrap_or(0));

    let began = Instant::now();
    broker.stop();
    println!("stop: {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    let began = Instant::now();
    let broker = Broker::start(settings)?;
    println!("start with {count} messages: {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    broker.stop();
    Ok(())
}

fn produce(client: &ClientConfig, codec: &str, count: u64) -> Result<String, Failure> {
    let mut client = client.clone();
    client.set("compression.codec", codec).set("linger.ms", "20").set("enable.idempotence", "true");
    client.set("queue.buffering.max.messages", "500000").set("batch.size", "1000000");
    let producer: BaseProducer = client.create()?;
    let began = Instant::now();
    let mut value = [0; MESSAGE_BYTES];
    for n in 0..count {
        fill(&mut value, n);
        let partition = (n / 64 % PARTITIONS as u64) as i32;
        loop {
            match producer.send(BaseRecord::<[u8], [u8]>::to(TOPIC).partition(partition).payload(&value)) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    producer.poll(Duration::from_millis(5));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
        if n % 10_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(120))?;
    Ok(rate(count, began))
}

/// Text that compresses about as well as readings do: mostly the same fields, numbers that change.
fn fill(value: &mut [u8; MESSAGE_BYTES], n: u64) {
    const FIELDS: &[u8; MESSAGE_BYTES] = b"A002,R051,02-00-00,59 ST,NQR456W,BMT,2026-08-01,08:00:00,REGULAR,0000000000,0000000000,00000000000000000000,2026-08-01 08:00:00.00";
    value.copy_from_slice(FIELDS);
    for (start, mut digits) in [(65, n * 7), (76, n * 13), (87, n.wrapping_mul(0x9e37_79b9_7f4a_7c15))] {
        for at in (start..start + 10).rev() {
            value[at] = b'0' + (digits % 10) as u8;
            digits /= 10;
        }
    }
}

/// Reads `count` messages by `read`, from the beginning.
fn consume(
    client: &ClientConfig,
    count: u64,
    read: fn(&BaseConsumer, u64) -> Result<(), Failure>,
) -> Result<String, Failure> {
    let mut client = client.clone();
    client.set("group.id", "rates").set("enable.auto.commit", "false").set("check.crcs", "false");
    // Its default of 1000 makes librdkafka sleep while the broker waits.
    client.set("fetch.queue.backoff.ms", "10").set("queued.max.messages.kbytes", "262144");
    client.set("fetch.message.max.bytes", "4194304");
    let consumer: BaseConsumer = client.create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(TOPIC, partition, Offset::Beginning)?;
    }
    let began = Instant::now();
    consumer.assign(&list)?;
    read(&consumer, count)?;
    Ok(rate(count, began))
}

fn poll(consumer: &BaseConsumer, count: u64) -> Result<(), Failure> {
    let mut got = 0;
    while got < count {
        if let Some(message) = consumer.poll(Duration::from_secs(10)) {
            message?;
            got += 1;
        }
    }
    Ok(())
}

fn take_batches(consumer: &BaseConsumer, count: u64) -> Result<(), Failure> {
    let mut batch = vec![std::ptr::null_mut(); 8192];
    let mut got = 0;
    // SAFETY: the queue is the consumer's own and given back before the consumer goes; of `batch` only
    // what the call filled is read, and each message is destroyed once.
    unsafe {
        let queue = rd_kafka_queue_get_consumer(consumer.client().native_ptr());
        while got < count {
            let filled = rd_kafka_consume_batch_queue(queue, 100, batch.as_mut_ptr(), batch.len());
            for message in &batch[..usize::try_from(filled).unwrap_or(0)] {
                got += u64::from((**message).err == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
                rd_kafka_message_destroy(*message);
            }
        }
        rd_kafka_queue_destroy(queue);
    }
    Ok(())
}

/// Messages a second, and what the broker's threads spent on them as far as they still run.
fn rate(count: u64, began: Instant) -> String {
    let rate = count as f64 / began.elapsed().as_secs_f64();
    let cpu = broker_cpu_secs().unwrap_or(0.0) / (count as f64 / 1e6);
    format!("{rate:>9.0} messages/s, broker {cpu:.2} CPU s per million")
}

fn broker_cpu_secs() -> Option<f64> {
    const TICKS_PER_SEC: f64 = 100.0;
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let stat = std::fs::read_to_string(task.ok()?.path().join("stat")).unwrap_or_default();
        if let Some((_, rest)) = stat.split_once("(broker-client) ") {
            let spent = rest.split_whitespace().skip(11).take(2);
            ticks += spent.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
        }
    }
    Some(ticks as f64 / TICKS_PER_SEC)
}

fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}
