//! A broker that goes away and comes back.

use std::time::{Duration, Instant};

use turnstile_kafka::{
    ClientSettings, LinkState, NewTopicPlan, PartitionReader, Producer, ProducerLimits, ReadLimits, StartAt, TopicAdmin,
};
use turnstile_message::TopicPartition;
use turnstile_testkit::servers::{KafkaConfig, KafkaServer};

use crate::broker::{record, values};

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn reading_and_producing_go_on_by_themselves_after_the_broker_was_killed() {
    let mut broker = KafkaServer::start(&turnstile_testkit::kafka_home(), KafkaConfig::default()).unwrap();
    let settings = ClientSettings::from_servers(&broker.bootstrap()).unwrap();
    let plan = NewTopicPlan { topic: "t".to_owned(), partitions: 1, replication: 1, config: Vec::new() };
    TopicAdmin::open(&settings).unwrap().create(&plan).unwrap();
    let producer = Producer::open(&settings, ProducerLimits::default()).unwrap();
    producer.send("t", &record("k", "before")).unwrap();
    assert_eq!(producer.flush(Duration::from_secs(30)).delivered, 1);

    let positions = vec![(TopicPartition::new("t", 0), StartAt::Earliest)];
    let mut reader = PartitionReader::open(&settings, positions, ReadLimits::default()).unwrap();
    let mut queue = reader.split().pop().unwrap();
    let mut next = |seconds| {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < deadline {
            let batch = queue.next(10, 1 << 20, Duration::from_millis(100)).unwrap();
            if !batch.is_empty() {
                return values(&batch);
            }
        }
        Vec::new()
    };
    assert_eq!(next(30), ["before"]);
    assert_eq!(reader.state(), LinkState::Up);

    broker.kill9().unwrap();
    // While nothing can be reached, reading is no error; the state says why nothing comes.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !matches!(reader.state(), LinkState::Down { .. }) {
        assert!(Instant::now() < deadline, "{:?}", reader.state());
        assert_eq!(next(1), Vec::<String>::new());
    }
    producer.send("t", &record("k", "meanwhile")).unwrap();

    broker.restart().unwrap();
    assert_eq!(next(60), ["meanwhile"]);
    assert_eq!(reader.state(), LinkState::Up);
    assert_eq!(producer.close(Duration::from_secs(30)).0.delivered, 2);
}
