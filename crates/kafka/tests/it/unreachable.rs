//! No broker at the address: the error, and when it comes.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use turnstile_kafka::{
    ClientError, ClientSettings, KafkaConnection, LinkState, PartitionReader, Producer, ProducerLimits, ReadError,
    ReadLimits, StartAt,
};
use turnstile_message::TopicPartition;
use turnstile_values::human;

use crate::broker::record;

/// A port at which nothing listens.
fn no_broker() -> ClientSettings {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    ClientSettings::from_servers(&format!("127.0.0.1:{port}")).unwrap()
}

#[test]
fn a_reader_gives_up_after_the_named_time_with_the_client_s_reason() {
    let settings = no_broker().with_connect_timeout(Duration::from_millis(1500));
    let started = Instant::now();
    let error =
        PartitionReader::open(&settings, vec![(TopicPartition::new("t", 0), StartAt::Earliest)], ReadLimits::default())
            .err()
            .unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let ReadError::Client(ClientError::Unreachable { servers, reason, .. }) = &error else { panic!("{error}") };
    assert!(servers.starts_with("127.0.0.1:"));
    assert!(reason.to_string().contains("Connection refused"), "{reason}");
}

#[test]
fn waiting_ends_at_shutdown() {
    let shutdown = CancellationToken::new();
    let connection = KafkaConnection::open(&no_broker().with_shutdown(shutdown.clone())).unwrap();
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        shutdown.cancel();
    });
    let started = Instant::now();
    assert!(matches!(connection.topic_partitions("t"), Err(ClientError::Stopped)));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(matches!(connection.state(), LinkState::Down { .. } | LinkState::Connecting));
    stopper.join().unwrap();
}

#[test]
fn messages_that_cannot_be_delivered_are_counted_and_the_first_are_named() {
    let limits = ProducerLimits {
        delivery_timeout: Duration::from_millis(500),
        kept_failures: 2,
        idempotent: false,
        ..ProducerLimits::default()
    };
    let producer = Producer::open(&no_broker(), limits).unwrap();
    for i in 0..5 {
        producer.send("lost", &record(&format!("k{i}"), "v")).unwrap();
    }
    let (stats, failures) = producer.close(Duration::from_secs(20));
    assert_eq!((stats.sent, stats.delivered, stats.failed, stats.outstanding()), (5, 0, 5, 0));
    assert_eq!(failures.len(), 2);
    let failure = human::error(&failures[0]);
    assert!(failure.starts_with("message with key k0 was not delivered to topic \"lost\": "), "{failure}");
}

#[test]
fn a_message_larger_than_the_client_sends_is_refused_with_its_size() {
    let producer = Producer::open(&no_broker(), ProducerLimits::default()).unwrap();
    let error = producer.send("t", &record("k", &"x".repeat(2_000_000))).unwrap_err();
    assert!(error.to_string().starts_with("a message of 2000001 bytes for topic \"t\""), "{error}");
}
