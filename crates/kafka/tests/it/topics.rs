//! Topics: created, listed, described, deleted.

use turnstile_kafka::{ClientError, KafkaConnection, NewTopicPlan, TopicAdmin};
use turnstile_values::human;

use crate::broker::{Topic, settings};

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_topic_is_described_as_it_was_created() {
    let topic = Topic::new("described", 2);
    topic.write_numbers(1, 0..3);
    let topics = TopicAdmin::open(&settings()).unwrap();
    let described = topics.describe(&topic.0).unwrap();
    let ends: Vec<_> = described.partitions.iter().map(|p| (p.partition, p.low, p.high)).collect();
    assert_eq!(ends, [(0, 0, 0), (1, 0, 3)]);
    assert!(described.partitions.iter().all(|p| p.replicas == p.in_sync && p.replicas == [p.leader]));
    assert!(topics.list().unwrap().contains(&(topic.0.clone(), 2)));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_setting_of_the_topic_is_shown() {
    let name = format!("configured-{}", std::process::id());
    let topics = TopicAdmin::open(&settings()).unwrap();
    let config = vec![("retention.ms".to_owned(), "86400000".to_owned())];
    topics
        .create(&NewTopicPlan { topic: name.clone(), partitions: 1, replication: 1, config: config.clone() })
        .unwrap();
    assert_eq!(topics.describe(&name).unwrap().config, config);
    topics.delete(&name).unwrap();
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_topic_that_exists_and_one_that_does_not_are_distinguished() {
    let topic = Topic::new("twice", 1);
    let topics = TopicAdmin::open(&settings()).unwrap();
    let plan = NewTopicPlan { topic: topic.0.clone(), partitions: 1, replication: 1, config: Vec::new() };
    assert!(matches!(topics.create(&plan), Err(ClientError::TopicExists { .. })));
    assert!(!topics.create_if_missing(&plan).unwrap());
    topics.delete(&topic.0).unwrap();
    assert!(matches!(topics.delete(&topic.0), Err(ClientError::TopicMissing { .. })));
    assert!(matches!(topics.describe(&topic.0), Err(ClientError::TopicMissing { .. })));
    assert!(topics.create_if_missing(&plan).unwrap());
    assert_eq!(KafkaConnection::open(&settings()).unwrap().topic_partitions(&topic.0).unwrap(), [0]);
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_name_that_no_topic_can_have_is_refused_with_the_rule() {
    let plan = NewTopicPlan { topic: "no spaces".to_owned(), partitions: 1, replication: 1, config: Vec::new() };
    let error = human::error(&TopicAdmin::open(&settings()).unwrap().create(&plan).unwrap_err());
    assert!(error.contains("letters, digits"), "{error}");
}
