//! How fast a reader gives batches, and nothing is done with them.
//!
//! `cargo run --release -p turnstile-kafka --example read_speed -- HOST:PORT TOPIC [QUEUES]`

use std::time::{Duration, Instant};

use turnstile_kafka::{ClientSettings, KafkaConnection, PartitionReader, ReadLimits, StartAt};
use turnstile_message::TopicPartition;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [servers, topic] = args.get(1..3).ok_or("usage: read_speed HOST:PORT TOPIC [QUEUES]")? else { unreachable!() };
    let queues = args.get(3).map_or(Ok(1), |text| text.parse())?;
    let settings = ClientSettings::from_servers(servers)?;
    let connection = KafkaConnection::open(&settings)?;
    let ids = connection.topic_partitions(topic)?;
    let partitions: Vec<_> = ids.into_iter().map(|id| TopicPartition::new(topic.as_str(), id)).collect();
    let ends: Vec<_> = connection.watermarks(&partitions)?.into_iter().map(|(_, high)| high).collect();
    let ends: Vec<_> = partitions.iter().cloned().zip(ends).collect();

    let started = Instant::now();
    let positions = partitions.into_iter().map(|partition| (partition, StartAt::Earliest)).collect();
    let mut reader = PartitionReader::open(&settings, positions, ReadLimits { queues, ..ReadLimits::default() })?;
    let opened = started.elapsed();
    let threads: Vec<_> = reader
        .split()
        .into_iter()
        .map(|mut queue| {
            let ends = ends.clone();
            std::thread::spawn(move || {
                let (mut messages, mut bytes) = (0, 0);
                while queue.positions().iter().any(|(p, next)| ends.iter().any(|(q, end)| p == q && next < end)) {
                    let batch = queue.next(8192, 4 << 20, Duration::from_millis(100))?;
                    messages += batch.len();
                    bytes += batch.payload_bytes();
                }
                Ok::<_, turnstile_kafka::ReadError>((messages, bytes))
            })
        })
        .collect();
    let (mut messages, mut bytes) = (0, 0);
    for thread in threads {
        let (m, b) = thread.join().map_err(|_| "a reading thread panicked")??;
        messages += m;
        bytes += b;
    }
    let took = started.elapsed().as_secs_f64();
    println!(
        "{messages} messages, {bytes} bytes in {took:.2} s: {:.0}/s; opened in {:.0} ms",
        messages as f64 / took,
        opened.as_secs_f64() * 1000.0
    );
    Ok(())
}
