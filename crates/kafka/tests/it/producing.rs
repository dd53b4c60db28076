//! Producing: every message is accounted for, and a turnstile keeps its order.

use std::collections::HashMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use turnstile_kafka::{
    CityProvider, CitySettings, FeedPlan, Pace, PartitionReader, ProducerLimits, ReadLimits, StartAt, SyntheticClock,
    feed,
};

use crate::broker::{Topic, producer, record, settings};

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_full_queue_makes_the_sender_wait_and_loses_nothing() {
    let topic = Topic::new("full", 1);
    let producer = producer(ProducerLimits { queue_messages: 10, ..ProducerLimits::default() });
    for i in 0..500 {
        producer.send(&topic.0, &record("k", &i.to_string())).unwrap();
    }
    let (stats, failures) = producer.close(Duration::from_secs(30));
    assert_eq!((stats.sent, stats.delivered, stats.failed), (500, 500, 0), "{failures:?}");
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn each_turnstile_stays_in_one_partition_in_the_order_of_its_readings() {
    let topic = Topic::new("city", 3);
    let settings_of_city = CitySettings { stations: 10, turnstiles: 50, ..CitySettings::default() };
    let clock = SyntheticClock::starting_now(CityProvider::default_step(50), chrono_tz::UTC);
    let mut city = CityProvider::new(settings_of_city, clock).unwrap();
    let producer = producer(ProducerLimits::default());
    let plan = FeedPlan {
        topic: topic.0.clone(),
        pace: Pace::Unlimited,
        count: Some(2_000),
        report_every: Duration::from_secs(1),
    };
    let fed = feed(&mut city, &producer, &plan, &CancellationToken::new(), |_| {}).unwrap();
    assert_eq!(fed.stats.sent, 2_000);
    assert_eq!(producer.close(Duration::from_secs(30)).0.delivered, 2_000);

    let positions = (0..3).map(|p| (topic.partition(p), StartAt::Earliest)).collect();
    let mut reader = PartitionReader::open(&settings(), positions, ReadLimits::default()).unwrap();
    let mut queue = reader.split().pop().unwrap();
    let mut places: HashMap<Vec<u8>, (i32, String)> = HashMap::new();
    let mut read = 0;
    while read < 2_000 {
        let batch = queue.next(1_000, 1 << 20, Duration::from_secs(10)).unwrap();
        assert!(!batch.is_empty(), "no more after {read}");
        for row in 0..batch.len() {
            let line: String = serde_json::from_slice(batch.values.get(row).unwrap()).unwrap();
            let fields: Vec<&str> = line.split(',').collect();
            assert_eq!(batch.keys.get(row).unwrap(), fields[..3].join(",").as_bytes());
            let here = (batch.position(row).partition.partition, fields[12].to_owned());
            if let Some(before) = places.insert(batch.keys.get(row).unwrap().to_vec(), here.clone()) {
                assert!(before.0 == here.0 && before.1 < here.1, "{before:?} {here:?}");
            }
        }
        read += batch.len();
    }
    assert_eq!(places.len(), 50);
    let used: std::collections::BTreeSet<i32> = places.values().map(|(partition, _)| *partition).collect();
    assert_eq!(used.len(), 3, "every partition gets some turnstiles");
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_feed_keeps_its_pace() {
    let topic = Topic::new("pace", 1);
    let clock = SyntheticClock::starting_now(Duration::from_secs(1), chrono_tz::UTC);
    let mut provider = turnstile_kafka::TestStationProvider::new(1, clock);
    let producer = producer(ProducerLimits::default());
    let plan = FeedPlan {
        topic: topic.0.clone(),
        pace: Pace::Rate(100.0),
        count: Some(101),
        report_every: Duration::from_millis(100),
    };
    let mut reports = 0;
    let fed = feed(&mut provider, &producer, &plan, &CancellationToken::new(), |_| reports += 1).unwrap();
    // A busy machine may take longer; it never takes less.
    assert!(fed.elapsed >= Duration::from_millis(990), "{:?}", fed.elapsed);
    assert!(reports >= 5, "{reports}");
    assert_eq!(producer.close(Duration::from_secs(30)).0.delivered, 101);
}
