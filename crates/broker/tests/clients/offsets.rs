//! Finding one's place: by time, at the ends, outside.

use futures::executor::block_on;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::target::{PATIENCE, Target, options, read, read_error};

/// A recent instant: Apache Kafka deletes what is older than its retention.
fn recently() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_millis() as i64 - 3_600_000
}

#[test]
fn a_time_finds_the_first_message_at_or_after_it_under_every_codec() {
    let target = Target::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = target.topic(1, &[]);
        let base = recently();
        let sender = target.sender(&[("compression.codec", codec), ("linger.ms", "50")]);
        (0..300).for_each(|n| sender.send_at(&topic, base + n * 10, b"some value that can be compressed"));
        assert!(sender.delivered().iter().all(Result::is_ok));
        let reader = target.reader(&topic, 1, Offset::Beginning, &[]);
        let at = |time: i64| {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&topic, 0, Offset::Offset(time)).unwrap();
            reader.offsets_for_times(list, PATIENCE).unwrap().elements()[0].offset()
        };
        assert_eq!(at(base - 5), Offset::Offset(0), "{codec}");
        assert_eq!(at(base + 1_000), Offset::Offset(100), "{codec}");
        assert_eq!(at(base + 1_001), Offset::Offset(101), "{codec}");
        assert_eq!(at(base + 2_990), Offset::Offset(299), "{codec}");
        assert_eq!(at(base + 2_991), Offset::End, "{codec}");
    }
}

#[test]
fn the_ends_of_a_partition_are_known_and_deleting_records_moves_the_first() {
    let target = Target::new();
    let topic = target.topic(1, &[]);
    target.sender(&[]).count_to(&topic, 50);
    let reader = target.reader(&topic, 1, Offset::Beginning, &[]);
    assert_eq!(reader.fetch_watermarks(&topic, 0, PATIENCE).unwrap(), (0, 50));
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(20)).unwrap();
    let deleted = block_on(target.admin().delete_records(&list, &options())).unwrap();
    assert_eq!(deleted.elements()[0].offset(), Offset::Offset(20));
    assert_eq!(reader.fetch_watermarks(&topic, 0, PATIENCE).unwrap(), (20, 50));
    let from_start = target.reader(&topic, 1, Offset::Beginning, &[]);
    assert_eq!(read(&from_start, 1)[0].offset(), 20);
    list.set_partition_offset(&topic, 0, Offset::Offset(51)).unwrap();
    let beyond = block_on(target.admin().delete_records(&list, &options())).unwrap();
    let error = beyond.elements()[0].error().unwrap_err();
    assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::OffsetOutOfRange));
    list.set_partition_offset(&topic, 0, Offset::End).unwrap();
    block_on(target.admin().delete_records(&list, &options())).unwrap();
    assert_eq!(reader.fetch_watermarks(&topic, 0, PATIENCE).unwrap(), (50, 50));
}

#[test]
fn a_place_outside_the_log_is_reported_to_a_consumer_that_wants_to_know() {
    let target = Target::new();
    let topic = target.topic(1, &[]);
    target.sender(&[]).count_to(&topic, 10);
    let reader = target.reader(&topic, 1, Offset::Offset(1_000), &[("auto.offset.reset", "error")]);
    match read_error(&reader) {
        KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_consumer_below_the_first_offset_goes_on_where_its_reset_policy_says() {
    let target = Target::new();
    let topic = target.topic(1, &[]);
    target.sender(&[]).count_to(&topic, 10);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(6)).unwrap();
    block_on(target.admin().delete_records(&list, &options())).unwrap();
    let reader = target.reader(&topic, 1, Offset::Offset(2), &[("auto.offset.reset", "earliest")]);
    assert_eq!(read(&reader, 1)[0].offset(), 6);
    let reader = target.reader(&topic, 1, Offset::Offset(2), &[("auto.offset.reset", "error")]);
    let error = read_error(&reader).rdkafka_error_code();
    assert_eq!(error, Some(RDKafkaErrorCode::AutoOffsetReset));
}

#[test]
fn the_end_of_a_partition_is_reported_to_a_consumer_that_asks_for_it() {
    let target = Target::new();
    let topic = target.topic(1, &[]);
    target.sender(&[]).count_to(&topic, 3);
    let reader = target.reader(&topic, 1, Offset::Beginning, &[("enable.partition.eof", "true")]);
    assert_eq!(read(&reader, 3).len(), 3);
    assert_eq!(read_error(&reader), KafkaError::PartitionEOF(0));
}
