//! Messages in and out.

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::{Offset, Timestamp};

use crate::target::{Target, read, values};

#[test]
fn messages_come_back_as_they_were_sent_under_every_codec() {
    let target = Target::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = target.topic(1, &[]);
        target.sender(&[("compression.codec", codec)]).count_to(&topic, 1_000);
        let messages = read(&target.reader(&topic, 1, Offset::Beginning, &[]), 1_000);
        assert_eq!(values(&messages), (0..1_000).map(|n| n.to_string()).collect::<Vec<_>>(), "{codec}");
        assert!(messages.iter().map(|m| m.offset()).eq(0..1_000), "{codec}");
    }
}

#[test]
fn keys_nulls_headers_and_timestamps_survive() {
    let target = Target::new();
    let topic = target.topic(1, &[]);
    let sender = target.sender(&[]);
    let headers = OwnedHeaders::new()
        .insert(Header { key: "a", value: Some("1") })
        .insert(Header::<&str> { key: "none", value: None });
    let record = || BaseRecord::<[u8], [u8]>::to(&topic).partition(0);
    sender.try_send(record().key(b"k").payload(b"v").headers(headers).timestamp(1_700_000_000_123)).unwrap();
    sender.try_send(record().key(b"gone")).unwrap();
    sender.try_send(record().key(b"").payload(b"")).unwrap();
    assert_eq!(sender.delivered(), [Ok((0, 0)), Ok((0, 1)), Ok((0, 2))]);
    let messages = read(&target.reader(&topic, 1, Offset::Beginning, &[]), 3);
    let first = &messages[0];
    assert_eq!((first.key(), first.payload()), (Some(&b"k"[..]), Some(&b"v"[..])));
    assert_eq!(first.timestamp(), Timestamp::CreateTime(1_700_000_000_123));
    let headers = first.headers().unwrap();
    assert_eq!((headers.count(), headers.get(0).value, headers.get(1).value), (2, Some(&b"1"[..]), None));
    assert_eq!((messages[1].key(), messages[1].payload()), (Some(&b"gone"[..]), None));
    assert_eq!((messages[2].key(), messages[2].payload()), (Some(&b""[..]), Some(&b""[..])));
}

#[test]
fn an_idempotent_producer_delivers_everything_once_and_in_order() {
    let target = Target::new();
    let topic = target.topic(2, &[]);
    let sender = target.sender(&[("enable.idempotence", "true"), ("batch.num.messages", "50"), ("linger.ms", "0")]);
    for n in 0..20_000 {
        sender.send(&topic, n % 2, n.to_string().as_bytes());
    }
    assert!(sender.delivered().iter().all(Result::is_ok));
    let messages = read(&target.reader(&topic, 2, Offset::Beginning, &[]), 20_000);
    for partition in 0..2 {
        let of: Vec<_> = messages.iter().filter(|m| m.partition() == partition).cloned().collect();
        assert_eq!(values(&of), (0..20_000).filter(|n| n % 2 == partition).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

#[test]
fn partitions_keep_their_own_offsets_and_acks_zero_delivers_too() {
    let target = Target::new();
    let topic = target.topic(3, &[]);
    for acks in ["0", "1", "all"] {
        let sender = target.sender(&[("acks", acks)]);
        (0..3).for_each(|partition| sender.send(&topic, partition, acks.as_bytes()));
        assert!(sender.delivered().iter().all(Result::is_ok));
    }
    let messages = read(&target.reader(&topic, 3, Offset::Beginning, &[]), 9);
    for partition in 0..3 {
        let of: Vec<_> = messages.iter().filter(|m| m.partition() == partition).cloned().collect();
        assert_eq!(values(&of), ["0", "1", "all"]);
    }
}

#[test]
fn a_message_over_the_topics_limit_is_refused_and_says_so() {
    let target = Target::new();
    let topic = target.topic(1, &[("max.message.bytes", "2000")]);
    let sender = target.sender(&[]);
    sender.send(&topic, 0, &[b'x'; 5_000]);
    assert_eq!(sender.delivered(), [Err(RDKafkaErrorCode::MessageSizeTooLarge)]);
    sender.send(&topic, 0, b"small");
    assert_eq!(sender.delivered(), [Ok((0, 0))]);
}

#[test]
fn a_large_message_comes_whole_although_the_consumer_asks_for_little() {
    let target = Target::new();
    let topic = target.topic(1, &[("max.message.bytes", "8000000")]);
    let sender = target.sender(&[("message.max.bytes", "8000000")]);
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    sender.send(&topic, 0, &large);
    sender.send(&topic, 0, b"after");
    assert!(sender.delivered().iter().all(Result::is_ok));
    let reader = target.reader(&topic, 1, Offset::Beginning, &[("max.partition.fetch.bytes", "1000")]);
    let messages = read(&reader, 2);
    assert_eq!(messages[0].payload(), Some(&large[..]));
    assert_eq!(messages[1].payload(), Some(&b"after"[..]));
}

#[test]
fn a_waiting_consumer_gets_a_message_soon_after_it_was_sent() {
    let target = Target::new();
    let topic = target.topic(1, &[]);
    let reader = target.reader(&topic, 1, Offset::Beginning, &[("fetch.wait.max.ms", "20000")]);
    assert!(reader.poll(std::time::Duration::from_millis(500)).is_none());
    let began = std::time::Instant::now();
    target.sender(&[]).count_to(&topic, 1);
    assert_eq!(read(&reader, 1).len(), 1);
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
}
