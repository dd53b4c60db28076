//! What only the embedded broker promises: its folder, its limits, its refusals.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::executor::block_on;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use turnstile_broker::{Broker, BrokerError, BrokerSettings, Fsync};

use crate::target::{PATIENCE, Sender, client, eventually, make_topic, options, read, reader, values};

fn on_disk(dir: &Path) -> BrokerSettings {
    BrokerSettings { dir: Some(dir.to_owned()), ..BrokerSettings::default() }
}

fn start(settings: BrokerSettings) -> (Broker, String) {
    let broker = Broker::start(settings).unwrap();
    let bootstrap = broker.address().to_string();
    (broker, bootstrap)
}

fn make(bootstrap: &str, topic: &str, config: &[(&str, &str)]) {
    make_topic(&client(bootstrap).create().unwrap(), topic, 1, config).unwrap();
}

/// The newest segment file of the only topic.
fn newest_segment(dir: &Path) -> PathBuf {
    let topic = fs::read_dir(dir.join("topics")).unwrap().next().unwrap().unwrap().path();
    let files = fs::read_dir(topic.join("0")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == "log")).max().unwrap()
}

#[test]
fn messages_topics_and_committed_offsets_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    for fsync in [Fsync::Never, Fsync::Interval(Duration::from_millis(5)), Fsync::EveryBatch] {
        let settings = BrokerSettings { fsync, ..on_disk(dir.path()) };
        let (broker, bootstrap) = start(settings.clone());
        make(&bootstrap, "t", &[("retention.ms", "-1")]);
        Sender::new(&bootstrap, &[]).count_to("t", 500);
        let consumer = reader(&bootstrap, "t", 1, Offset::Beginning, &[("group.id", "g")]);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("t", 0, Offset::Offset(300)).unwrap();
        consumer.commit(&list, CommitMode::Sync).unwrap();
        drop(consumer);
        broker.stop();
        let (broker, bootstrap) = start(settings);
        let consumer = reader(&bootstrap, "t", 1, Offset::Beginning, &[("group.id", "g")]);
        assert_eq!(values(&read(&consumer, 500)), (0..500).map(|n| n.to_string()).collect::<Vec<_>>());
        let committed = consumer.committed_offsets(list, PATIENCE).unwrap();
        assert_eq!(committed.elements()[0].offset(), Offset::Offset(300));
        let admin = client(&bootstrap).create().unwrap();
        let admin: &rdkafka::admin::AdminClient<_> = &admin;
        block_on(admin.delete_topics(&["t"], &options())).unwrap()[0].as_ref().unwrap();
        broker.stop();
    }
}

#[test]
fn a_crash_loses_nothing_that_was_acknowledged_and_a_torn_end_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, bootstrap) = start(on_disk(dir.path()));
    make(&bootstrap, "t", &[("segment.bytes", "20000")]);
    Sender::new(&bootstrap, &[("batch.num.messages", "100")]).count_to("t", 5_000);
    broker.crash();
    let mut torn = fs::OpenOptions::new().append(true).open(newest_segment(dir.path())).unwrap();
    torn.write_all(&[7; 1_000]).unwrap();
    let (broker, bootstrap) = start(on_disk(dir.path()));
    Sender::new(&bootstrap, &[]).count_to("t", 1);
    let messages = read(&reader(&bootstrap, "t", 1, Offset::Beginning, &[]), 5_001);
    let expected: Vec<_> = (0..5_000).chain([0]).map(|n| n.to_string()).collect();
    assert_eq!(values(&messages), expected);
    assert!(messages.iter().map(|message| message.offset()).eq(0..5_001));
    broker.stop();
}

#[test]
fn a_client_goes_on_by_itself_when_the_broker_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, bootstrap) = start(on_disk(dir.path()));
    make(&bootstrap, "t", &[]);
    let sender = Sender::new(&bootstrap, &[("enable.idempotence", "true"), ("reconnect.backoff.max.ms", "200")]);
    let consumer = reader(&bootstrap, "t", 1, Offset::Beginning, &[("reconnect.backoff.max.ms", "200")]);
    sender.count_to("t", 100);
    assert_eq!(read(&consumer, 100).len(), 100);
    let listen = broker.address();
    broker.crash();
    (100..200).for_each(|n| sender.send("t", 0, n.to_string().as_bytes()));
    let (broker, _) = start(BrokerSettings { listen, ..on_disk(dir.path()) });
    assert!(sender.delivered().iter().all(Result::is_ok));
    let mut after = Vec::new();
    eventually("all come, once and in order", || {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => after.push(message.offset()),
            // The connection was lost in between, and the client says so.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure,
            )))
            | None => {}
            Some(Err(other)) => panic!("{other}"),
        }
        after.len() == 100
    });
    assert!(after.into_iter().eq(100..200));
    broker.stop();
}

#[test]
fn retention_by_time_moves_the_first_offset_and_tells_consumers_below_it() {
    let (broker, bootstrap) = start(BrokerSettings { retention_check_ms: 50, ..BrokerSettings::default() });
    make(&bootstrap, "t", &[("retention.ms", "300")]);
    Sender::new(&bootstrap, &[]).count_to("t", 10);
    let consumer = reader(&bootstrap, "t", 1, Offset::Offset(0), &[]);
    assert_eq!(read(&consumer, 10).len(), 10);
    eventually("retention deletes them", || consumer.fetch_watermarks("t", 0, PATIENCE).unwrap() == (10, 10));
    let late = reader(&bootstrap, "t", 1, Offset::Offset(3), &[]);
    let error = crate::target::read_error(&late);
    assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::AutoOffsetReset));
    broker.stop();
}

#[test]
fn retention_by_size_keeps_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, bootstrap) = start(BrokerSettings { retention_check_ms: 50, ..on_disk(dir.path()) });
    make(&bootstrap, "t", &[("segment.bytes", "20000"), ("retention.bytes", "60000")]);
    let sender = Sender::new(&bootstrap, &[("batch.num.messages", "10")]);
    (0..3_000).for_each(|_| sender.send("t", 0, &[b'x'; 100]));
    assert!(sender.delivered().iter().all(Result::is_ok));
    let consumer: BaseConsumer = client(&bootstrap).create().unwrap();
    eventually("the first offset moves", || consumer.fetch_watermarks("t", 0, PATIENCE).unwrap().0 > 1_000);
    let (low, high) = consumer.fetch_watermarks("t", 0, PATIENCE).unwrap();
    assert!(high == 3_000 && low < 2_700, "{low}..{high}");
    broker.stop();
}

#[test]
fn an_unknown_topic_is_made_when_that_is_asked_for() {
    let settings = BrokerSettings { auto_create_topics: true, default_partitions: 3, ..BrokerSettings::default() };
    let (broker, bootstrap) = start(settings);
    let sender = Sender::new(&bootstrap, &[]);
    sender.send("new", 2, b"x");
    assert_eq!(sender.delivered(), [Ok((2, 0))]);
    broker.stop();
}

#[test]
fn a_full_memory_refuses_messages_and_deleting_a_topic_makes_room() {
    let (broker, bootstrap) = start(BrokerSettings { memory_bytes: 50_000, ..BrokerSettings::default() });
    make(&bootstrap, "t", &[]);
    let sender = Sender::new(&bootstrap, &[]);
    sender.send("t", 0, &[b'x'; 40_000]);
    assert!(sender.delivered()[0].is_ok());
    sender.send("t", 0, &[b'x'; 40_000]);
    assert_eq!(sender.delivered(), [Err(RDKafkaErrorCode::PolicyViolation)]);
    let admin: rdkafka::admin::AdminClient<_> = client(&bootstrap).create().unwrap();
    block_on(admin.delete_topics(&["t"], &options())).unwrap()[0].as_ref().unwrap();
    make(&bootstrap, "u", &[]);
    let sender = Sender::new(&bootstrap, &[]);
    sender.send("u", 0, &[b'x'; 40_000]);
    assert!(sender.delivered()[0].is_ok());
    broker.stop();
}

#[test]
fn an_address_that_others_reach_needs_to_be_allowed() {
    let listen = "0.0.0.0:0".parse().unwrap();
    match Broker::start(BrokerSettings { listen, ..BrokerSettings::default() }) {
        Err(BrokerError::BeyondLoopback(address)) => assert_eq!(address, listen),
        other => panic!("{other:?}"),
    }
    Broker::start(BrokerSettings { listen, beyond_loopback: true, ..BrokerSettings::default() }).unwrap().stop();
}

#[test]
fn a_folder_serves_one_broker_and_a_port_too() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(on_disk(dir.path())).unwrap();
    assert!(matches!(Broker::start(on_disk(dir.path())), Err(BrokerError::InUse(_))));
    let taken = BrokerSettings { listen: broker.address(), ..BrokerSettings::default() };
    assert!(matches!(Broker::start(taken), Err(BrokerError::Listen { .. })));
    drop(broker);
    Broker::start(on_disk(dir.path())).unwrap();
}

#[test]
fn a_folder_with_other_things_in_it_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("topics/precious")).unwrap();
    assert!(matches!(Broker::start(on_disk(dir.path())), Err(BrokerError::Storage { .. })));
    assert!(dir.path().join("topics/precious").exists());
}

#[test]
fn what_is_no_kafka_request_closes_the_connection_and_nothing_else() {
    let (broker, bootstrap) = start(BrokerSettings { max_connections: 8, ..BrokerSettings::default() });
    make(&bootstrap, "t", &[]);
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 2, 9, 9], &[0xff; 64], &[0, 0, 0, 0]] {
        let mut stream = TcpStream::connect(&bootstrap).unwrap();
        stream.write_all(garbage).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // Closed with or without a reset, depending on what was left unread.
        assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
    }
    Sender::new(&bootstrap, &[]).count_to("t", 1);
    broker.stop();
}

#[test]
fn connections_beyond_the_limit_are_closed_and_the_others_go_on() {
    let (broker, bootstrap) = start(BrokerSettings { max_connections: 2, ..BrokerSettings::default() });
    let held: Vec<_> = (0..2).map(|_| TcpStream::connect(&bootstrap).unwrap()).collect();
    let mut refused = TcpStream::connect(&bootstrap).unwrap();
    refused.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(refused.read(&mut [0; 1]).unwrap_or(0), 0);
    drop(held);
    eventually("there is room again", || {
        let consumer: BaseConsumer = client(&bootstrap).create().unwrap();
        consumer.fetch_metadata(None, Duration::from_secs(2)).is_ok()
    });
    broker.stop();
}

#[test]
fn a_transactional_producer_fails_at_once_as_there_are_no_transactions() {
    use rdkafka::producer::{BaseProducer, Producer};
    let (broker, bootstrap) = start(BrokerSettings::default());
    let producer: BaseProducer = client(&bootstrap).set("transactional.id", "x").create().unwrap();
    let began = std::time::Instant::now();
    let error = producer.init_transactions(PATIENCE).unwrap_err();
    assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed));
    assert!(began.elapsed() < Duration::from_secs(5));
    broker.stop();
}

#[test]
fn a_member_of_the_newer_group_protocol_gets_an_error() {
    let (broker, bootstrap) = start(BrokerSettings::default());
    make(&bootstrap, "t", &[]);
    let consumer: BaseConsumer =
        client(&bootstrap).set("group.id", "g").set("group.protocol", "consumer").create().unwrap();
    consumer.subscribe(&["t"]).unwrap();
    let error = crate::target::read_error(&consumer).rdkafka_error_code();
    assert!(matches!(error, Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::UnsupportedVersion)), "{error:?}");
    broker.stop();
}

#[test]
fn stopping_does_not_wait_for_those_who_wait() {
    let (broker, bootstrap) = start(BrokerSettings::default());
    make(&bootstrap, "t", &[]);
    let consumer = reader(&bootstrap, "t", 1, Offset::Beginning, &[("fetch.wait.max.ms", "60000")]);
    assert!(consumer.poll(Duration::from_millis(300)).is_none());
    let began = std::time::Instant::now();
    broker.stop();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
