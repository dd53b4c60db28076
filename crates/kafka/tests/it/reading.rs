//! Reading assigned partitions.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use turnstile_kafka::{ClientError, KafkaConnection, PartitionReader, ReadError, ReadLimits, ReadQueue, StartAt};
use turnstile_message::{MessageBatch, SourcePosition, TopicPartition};

use crate::broker::{Topic, plain_producer, servers, settings, values};

const WAIT: Duration = Duration::from_millis(200);

fn open(topic: &Topic, start: StartAt) -> (PartitionReader, ReadQueue) {
    let mut reader =
        PartitionReader::open(&settings(), vec![(topic.partition(0), start)], ReadLimits::default()).unwrap();
    let queue = reader.split().pop().unwrap();
    (reader, queue)
}

/// Reads until every partition of the queue has reached `ends`, in one batch a call.
fn read_to(queue: &mut ReadQueue, ends: &[(TopicPartition, i64)]) -> Vec<MessageBatch> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut batches = Vec::new();
    let behind =
        |queue: &ReadQueue| queue.positions().iter().any(|(p, next)| ends.iter().any(|(q, end)| p == q && next < end));
    while behind(queue) {
        assert!(Instant::now() < deadline, "stuck at {:?} of {ends:?}", queue.positions());
        let batch = queue.next(10_000, usize::MAX / 2, WAIT).unwrap();
        if !batch.is_empty() {
            batches.push(batch);
        }
    }
    batches
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn null_and_empty_payloads_are_distinguished() {
    let topic = Topic::new("nulls", 1);
    topic.write(&[(None, Some("v")), (Some(""), None), (Some("k"), Some("")), (None, None)]);
    let (_reader, mut queue) = open(&topic, StartAt::Earliest);
    let batches = read_to(&mut queue, &[(topic.partition(0), 4)]);
    let rows: Vec<_> = batches
        .iter()
        .flat_map(|b| (0..b.len()).map(move |row| (b.offsets[row], b.keys.get(row), b.values.get(row))))
        .collect();
    assert_eq!(
        rows,
        vec![
            (0, None, Some(&b"v"[..])),
            (1, Some(&b""[..]), None),
            (2, Some(&b"k"[..]), Some(&b""[..])),
            (3, None, None)
        ]
    );
    assert!(batches[0].timestamps_ms[0] > 1_700_000_000_000);
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn reading_begins_exactly_at_the_given_offset() {
    let topic = Topic::new("exact", 1);
    topic.write_numbers(0, 0..10);
    for (start, first) in
        [(StartAt::Offset(7), 7), (StartAt::Earliest, 0), (StartAt::Offset(10), 10), (StartAt::Latest, 10)]
    {
        let (reader, mut queue) = open(&topic, start);
        assert_eq!(reader.starts(), &[(topic.partition(0), first)]);
        let read: Vec<String> = read_to(&mut queue, &[(topic.partition(0), 10)]).iter().flat_map(values).collect();
        assert_eq!(read, (first..10).map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(queue.next(10, 1000, Duration::from_millis(50)).unwrap().is_empty());
    }
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn partitions_are_spread_over_the_queues_and_each_message_is_read_once() {
    let topic = Topic::new("spread", 5);
    for partition in 0..5 {
        topic.write_numbers(partition, 0..200);
    }
    let positions = (0..5).map(|p| (topic.partition(p), StartAt::Earliest)).collect();
    let mut reader =
        PartitionReader::open(&settings(), positions, ReadLimits { queues: 2, ..ReadLimits::default() }).unwrap();
    let queues = reader.split();
    assert_eq!(queues.iter().map(|q| q.positions().len()).collect::<Vec<_>>(), [3, 2]);
    let ends: Vec<_> = (0..5).map(|p| (topic.partition(p), 200)).collect();
    let threads: Vec<_> = queues
        .into_iter()
        .map(|mut queue| {
            let ends = ends.clone();
            std::thread::spawn(move || {
                let owned: BTreeSet<_> = queue.positions().iter().map(|(p, _)| p.clone()).collect();
                let batches = read_to(&mut queue, &ends);
                let mut seen = Vec::new();
                for batch in &batches {
                    for row in 0..batch.len() {
                        seen.push(batch.position(row));
                    }
                }
                assert!(seen.iter().all(|at| owned.contains(&at.partition)));
                for partition in owned {
                    let offsets: Vec<i64> =
                        seen.iter().filter(|at| at.partition == partition).map(|at| at.offset).collect();
                    assert_eq!(offsets, (0..200).collect::<Vec<_>>(), "{partition}");
                }
                seen.len()
            })
        })
        .collect();
    assert_eq!(threads.into_iter().map(|t| t.join().unwrap()).sum::<usize>(), 1000);
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_batch_ends_at_its_rows_and_at_its_bytes() {
    let topic = Topic::new("bounds", 1);
    let value = "x".repeat(1000);
    topic.write(&vec![(None, Some(value.as_str())); 500]);
    let (_reader, mut queue) = open(&topic, StartAt::Earliest);
    // Wait until the reader holds all of it.
    let mut read = queue.next(1, usize::MAX / 2, Duration::from_secs(10)).unwrap().len();
    std::thread::sleep(Duration::from_millis(500));
    let batch = queue.next(7, usize::MAX / 2, WAIT).unwrap();
    assert_eq!(batch.len(), 7);
    read += batch.len();
    while read < 500 {
        let batch = queue.next(10_000, 20_000, WAIT).unwrap();
        assert!(batch.payload_bytes() < 30_000, "{} bytes where 20000 were asked", batch.payload_bytes());
        read += batch.len();
    }
    assert_eq!(queue.positions()[0].1, 500);
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_message_comes_at_once_and_not_when_the_batch_is_full() {
    let topic = Topic::new("prompt", 1);
    let (_reader, mut queue) = open(&topic, StartAt::Earliest);
    let writer = std::thread::scope(|scope| {
        scope.spawn(|| topic.write_numbers(0, 0..1));
        let started = Instant::now();
        let batch = queue.next(10_000, 1 << 20, Duration::from_secs(20)).unwrap();
        (batch.len(), started.elapsed())
    });
    assert_eq!(writer.0, 1);
    assert!(writer.1 < Duration::from_secs(10), "{:?}", writer.1);
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_position_that_the_partition_does_not_hold_is_refused_at_once_with_its_range() {
    let topic = Topic::new("beyond", 1);
    topic.write_numbers(0, 0..10);
    let error =
        PartitionReader::open(&settings(), vec![(topic.partition(0), StartAt::Offset(11))], ReadLimits::default())
            .err()
            .unwrap();
    assert_eq!(error.to_string(), format!("{}[0] does not hold offset 11: it holds 0..=9", topic.0));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn records_deleted_under_a_reader_are_an_error_with_position_and_range() {
    let topic = Topic::new("truncated", 1);
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", servers()).create().unwrap();
    // A queue of one kilobyte holds the reader back, so that most records are still unread when they go.
    let limits = ReadLimits { queued_kbytes: 1, fetch_bytes: 1024, ..ReadLimits::default() };
    let value = "x".repeat(500);
    for _ in 0..20 {
        topic.write(&vec![(None, Some(value.as_str())); 20]);
    }
    let mut reader = PartitionReader::open(&settings(), vec![(topic.partition(0), StartAt::Earliest)], limits).unwrap();
    let mut queue = reader.split().pop().unwrap();
    let mut read = queue.next(1, 1 << 20, Duration::from_secs(10)).unwrap().len() as i64;
    let mut below = TopicPartitionList::new();
    below.add_partition_offset(&topic.0, 0, Offset::Offset(390)).unwrap();
    block_on(admin.delete_records(&below, &AdminOptions::new())).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let error = loop {
        assert!(Instant::now() < deadline, "no error after {read} records");
        match queue.next(10_000, 1 << 20, WAIT) {
            Ok(batch) => read += batch.len() as i64,
            Err(error) => break error,
        }
    };
    let ReadError::OffsetOutOfRange { partition, position, earliest, latest } = error else { panic!("{error}") };
    assert_eq!((partition, position, earliest, latest), (topic.partition(0), read, 390, 400));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_missing_topic_and_a_missing_partition_are_named() {
    let topic = Topic::new("one", 1);
    let connection = KafkaConnection::open(&settings()).unwrap();
    assert!(
        matches!(connection.topic_partitions("no-such-topic"), Err(ClientError::TopicMissing { topic }) if topic == "no-such-topic")
    );
    let absent = topic.partition(3);
    let error = connection.watermarks(std::slice::from_ref(&absent)).unwrap_err();
    assert_eq!(error.to_string(), format!("topic \"{}\" has no partition 3", topic.0));
    for (partition, expected) in
        [(absent, "has no partition 3"), (TopicPartition::new("no-such-topic", 0), "does not exist")]
    {
        let error = PartitionReader::open(&settings(), vec![(partition, StartAt::Earliest)], ReadLimits::default())
            .err()
            .unwrap();
        assert!(error.to_string().ends_with(expected), "{error}");
    }
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn the_position_reaches_the_end_past_a_transaction_s_marker_and_skips_what_was_aborted() {
    let topic = Topic::new("transactions", 1);
    let producer = plain_producer(&[("transactional.id", &topic.0)]);
    producer.init_transactions(Duration::from_secs(20)).unwrap();
    for (values, commit) in [(["a", "b"], true), (["c", "d"], false)] {
        producer.begin_transaction().unwrap();
        for value in values {
            producer.send(BaseRecord::<(), str>::to(&topic.0).partition(0).payload(value)).map_err(|(e, _)| e).unwrap();
        }
        if commit {
            producer.commit_transaction(Duration::from_secs(20)).unwrap();
        } else {
            producer.flush(Duration::from_secs(20)).unwrap();
            producer.abort_transaction(Duration::from_secs(20)).unwrap();
        }
    }
    let (reader, mut queue) = open(&topic, StartAt::Earliest);
    let end = reader.watermarks(&[topic.partition(0)]).unwrap()[0].1;
    assert_eq!(end, 6, "two markers");
    let batches = read_to(&mut queue, &[(topic.partition(0), end)]);
    assert_eq!(batches.iter().flat_map(values).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn one_record_is_read_by_its_position_or_not_at_all() {
    let topic = Topic::new("single", 2);
    topic.write_to(1, &[(Some("k"), Some("a")), (None, None)]);
    let mut connection = KafkaConnection::open(&settings()).unwrap();
    let mut at = |partition, offset| {
        connection.read_one(&SourcePosition { partition: topic.partition(partition), offset }).unwrap()
    };
    let first = at(1, 0).unwrap();
    assert_eq!(
        (first.position.offset, first.key.as_deref(), first.value.as_deref()),
        (0, Some(&b"k"[..]), Some(&b"a"[..]))
    );
    let second = at(1, 1).unwrap();
    assert_eq!((second.key, second.value), (None, None));
    assert_eq!((at(1, 2), at(0, 0)), (None, None));
    assert_eq!(at(1, 0).unwrap(), first);
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn group_offsets_are_written_for_others_to_see() {
    let topic = Topic::new("group", 2);
    topic.write_numbers(0, 0..10);
    let settings = settings().with("group.id", &topic.0, "test").unwrap();
    let both = [topic.partition(0), topic.partition(1)];
    let mut reader =
        PartitionReader::open(&settings, vec![(both[0].clone(), StartAt::Earliest)], ReadLimits::default()).unwrap();
    assert_eq!(reader.group_offsets(&both).unwrap(), [None, None]);
    reader.commit_group_offsets(&[(both[0].clone(), 7)]).unwrap();
    drop(reader.split());
    drop(reader);
    assert_eq!(KafkaConnection::open(&settings).unwrap().group_offsets(&both).unwrap(), [Some(7), None]);
}

/// Waits for a future that another thread completes.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
