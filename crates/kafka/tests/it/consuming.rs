//! Reading message by message.

use std::time::{Duration, Instant};

use turnstile_kafka::{Consumed, ConsumedMessage, Consumer, Subscription};

use crate::broker::{Topic, settings};

/// Reads partition 0 to its end.
fn read(consumer: &mut Consumer) -> Vec<ConsumedMessage> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut messages = Vec::new();
    loop {
        assert!(Instant::now() < deadline, "no end after {} messages", messages.len());
        match consumer.next(Duration::from_millis(200)).unwrap() {
            Some(Consumed::Message(message)) => messages.push(message),
            Some(Consumed::End(_)) => return messages,
            None => {}
        }
    }
}

fn offsets(messages: &[ConsumedMessage]) -> Vec<i64> {
    messages.iter().map(|message| message.position.offset).collect()
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn an_assigned_consumer_reads_from_its_offset_and_commits_nothing() {
    let topic = Topic::new("assigned", 1);
    topic.write_numbers(0, 0..5);
    let settings = settings().with("group.id", &topic.0, "test").unwrap();
    let mut consumer = Consumer::open(&settings, Subscription::Assigned(vec![(topic.partition(0), 3)])).unwrap();
    assert_eq!(consumer.partitions(), Some(vec![0]));
    assert_eq!(offsets(&read(&mut consumer)), [3, 4]);
    consumer.store_offset(0, 5);
    drop(consumer);
    let connection = turnstile_kafka::KafkaConnection::open(&settings).unwrap();
    assert_eq!(connection.group_offsets(&[topic.partition(0)]).unwrap(), [None]);
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_group_keeps_what_was_done_and_not_what_was_only_read() {
    let topic = Topic::new("member", 1);
    topic.write_numbers(0, 0..5);
    let settings = settings().with("group.id", &topic.0, "test").unwrap();
    let group = |starts| Subscription::Group { topic: topic.0.clone(), starts };
    let mut consumer = Consumer::open(&settings, group(Vec::new())).unwrap();
    assert_eq!(consumer.partitions(), None);
    assert_eq!(offsets(&read(&mut consumer)), [0, 1, 2, 3, 4]);
    consumer.store_offset(0, 2);
    drop(consumer);
    let connection = turnstile_kafka::KafkaConnection::open(&settings).unwrap();
    assert_eq!(connection.group_offsets(&[topic.partition(0)]).unwrap(), [Some(2)]);

    let mut next = Consumer::open(&settings, group(Vec::new())).unwrap();
    assert_eq!(offsets(&read(&mut next)), [2, 3, 4]);
    drop(next);
    let mut from = Consumer::open(&settings, group(vec![(topic.partition(0), 1)])).unwrap();
    assert_eq!(offsets(&read(&mut from)), [1, 2, 3, 4], "a start that is named wins over the group's");
}
