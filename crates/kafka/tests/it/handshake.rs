//! A broker that goes away and comes back behind TLS: what hangs up in a handshake is no refusal.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use turnstile_kafka::{
    ClientSettings, NewTopicPlan, PartitionReader, Producer, ProducerLimits, ReadLimits, StartAt, TopicAdmin,
};
use turnstile_message::TopicPartition;
use turnstile_testkit::servers::{SecuredKafka, SecuredListener};

use crate::broker::{record, values};

/// Accepts connections at `address` and closes them for the given time; returns how many there were.
fn hang_up(address: &str, time: Duration) -> u32 {
    let listener = TcpListener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let (began, mut calls) = (Instant::now(), 0);
    while began.elapsed() < time {
        match listener.accept() {
            Ok(_) => calls += 1,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    calls
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn reading_goes_on_after_a_broker_that_hung_up_in_tls_handshakes() {
    let mut broker = SecuredKafka::start(&turnstile_testkit::kafka_home()).unwrap();
    let open = ClientSettings::from_servers(&broker.at(SecuredListener::Plaintext)).unwrap();
    let plan = NewTopicPlan { topic: "t".to_owned(), partitions: 1, replication: 1, config: Vec::new() };
    TopicAdmin::open(&open).unwrap().create(&plan).unwrap();
    let write = |value: &str| {
        let producer = Producer::open(&open, ProducerLimits::default()).unwrap();
        producer.send("t", &record("k", value)).unwrap();
        assert_eq!(producer.close(Duration::from_secs(60)).0.delivered, 1);
    };
    write("before");

    let address = broker.at(SecuredListener::Tls);
    let ca = broker.certificates().authority.display().to_string();
    let keys = [("bootstrap.servers", address.as_str()), ("security.protocol", "SSL"), ("ssl.ca.location", &ca)];
    let settings = ClientSettings::from_map(keys, "test").unwrap();
    let positions = vec![(TopicPartition::new("t", 0), StartAt::Earliest)];
    let mut reader = PartitionReader::open(&settings, positions, ReadLimits::default()).unwrap();
    let mut queue = reader.split().pop().unwrap();

    // The reader is asked all the time, as a running flow asks it: an error would end the flow.
    let (enough, read) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let reading = std::thread::spawn({
        let (enough, read) = (enough.clone(), read.clone());
        move || {
            let mut all = Vec::new();
            while !enough.load(Ordering::Relaxed) && all.len() < 2 {
                all.extend(values(&queue.next(10, 1 << 20, Duration::from_millis(50))?));
                read.store(all.len() as u32, Ordering::Relaxed);
            }
            Ok::<_, turnstile_kafka::ReadError>(all)
        }
    });
    let until = |wanted: u32| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while read.load(Ordering::Relaxed) < wanted && Instant::now() < deadline && !reading.is_finished() {
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until(1);
    broker.server_mut().kill9().unwrap();
    assert!(hang_up(&address, Duration::from_secs(6)) > 0, "the client called while the broker was away");
    broker.server_mut().restart().unwrap();
    write("after");
    until(2);
    enough.store(true, Ordering::Relaxed);
    assert_eq!(reading.join().unwrap().unwrap(), ["before", "after"]);
}
