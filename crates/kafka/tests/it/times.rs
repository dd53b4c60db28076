//! Moments and offsets.

use std::time::Duration;

use rdkafka::producer::{BaseRecord, Producer};
use turnstile_kafka::KafkaConnection;

use crate::broker::{Topic, plain_producer, settings};

/// Writes one record a timestamp to partition 0.
fn write_at(topic: &Topic, timestamps_ms: &[i64]) {
    let producer = plain_producer(&[]);
    for at in timestamps_ms {
        let record = BaseRecord::<(), str>::to(&topic.0).partition(0).payload("x").timestamp(*at);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_millis() as i64
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_moment_is_the_first_record_of_it_or_later_and_beyond_the_last_the_end() {
    let topic = Topic::new("moments", 2);
    let start = now_ms() - 60_000;
    write_at(&topic, &[start, start + 1_000, start + 1_000, start + 5_000]);
    let connection = KafkaConnection::open(&settings()).unwrap();
    let both = [topic.partition(0), topic.partition(1)];
    let at = |ms| connection.offsets_at(&both, ms).unwrap();
    assert_eq!(at(0), [0, 0]);
    assert_eq!((at(start), at(start + 1)), (vec![0, 0], vec![1, 0]));
    assert_eq!((at(start + 1_001), at(start + 5_000)), (vec![3, 0], vec![3, 0]));
    assert_eq!(at(start + 5_001), [4, 0]);
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn an_offset_s_moment_is_that_of_the_next_record_and_a_marker_has_none() {
    let topic = Topic::new("stamps", 2);
    let start = now_ms() - 60_000;
    write_at(&topic, &[start, start + 1_000]);
    let producer = plain_producer(&[("transactional.id", &topic.0)]);
    producer.init_transactions(Duration::from_secs(20)).unwrap();
    producer.begin_transaction().unwrap();
    let record = BaseRecord::<(), str>::to(&topic.0).partition(0).payload("t").timestamp(start + 2_000);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.commit_transaction(Duration::from_secs(20)).unwrap();

    let mut connection = KafkaConnection::open(&settings()).unwrap();
    let mut from =
        |offset| connection.timestamps_from(&[(topic.partition(0), offset), (topic.partition(1), 0)]).unwrap();
    assert_eq!(from(0), [Some(start), None]);
    assert_eq!((from(1)[0], from(2)[0]), (Some(start + 1_000), Some(start + 2_000)));
    // The commit marker at 3 is no record; 4 is the end.
    assert_eq!((from(3)[0], from(4)[0]), (None, None));
}
