//! Topics made, changed, described and deleted.

use futures::executor::block_on;
use rdkafka::Offset;
use rdkafka::admin::{AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;

use crate::target::{PATIENCE, Target, eventually, fresh, make_topic, options, read, values};

fn partitions(target: &Target, topic: &str) -> usize {
    let client: BaseConsumer = target.client().create().unwrap();
    client.fetch_metadata(Some(topic), PATIENCE).unwrap().topics()[0].partitions().len()
}

#[test]
fn a_topic_is_made_listed_grown_and_deleted() {
    let target = Target::new();
    let admin = target.admin();
    let topic = target.topic(2, &[]);
    let client: BaseConsumer = target.client().create().unwrap();
    let listed = || {
        let all = client.fetch_metadata(None, PATIENCE).unwrap();
        all.topics().iter().any(|listed| listed.name() == topic)
    };
    eventually("the new topic is listed", listed);
    assert_eq!(partitions(&target, &topic), 2);
    block_on(admin.create_partitions([&NewPartitions::new(&topic, 5)], &options())).unwrap()[0].as_ref().unwrap();
    eventually("there are five partitions", || partitions(&target, &topic) == 5);
    let sender = target.sender(&[]);
    sender.send(&topic, 4, b"new");
    assert_eq!(sender.delivered(), [Ok((4, 0))]);
    block_on(admin.delete_topics(&[&topic], &options())).unwrap()[0].as_ref().unwrap();
    eventually("the deleted topic is no longer listed", || !listed());
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason() {
    let target = Target::new();
    let admin = target.admin();
    let topic = target.topic(3, &[]);
    assert_eq!(make_topic(&admin, &topic, 1, &[]), Err(RDKafkaErrorCode::TopicAlreadyExists));
    assert_eq!(make_topic(&admin, "no spaces", 1, &[]), Err(RDKafkaErrorCode::InvalidTopic));
    let unknown_setting = make_topic(&admin, &fresh("t"), 1, &[("no.such.setting", "1")]);
    assert_eq!(unknown_setting, Err(RDKafkaErrorCode::InvalidConfig));
    let replicated = fresh("t");
    let replicated = NewTopic::new(&replicated, 1, TopicReplication::Fixed(9));
    let refused = block_on(admin.create_topics([&replicated], &options())).unwrap().remove(0);
    assert_eq!(refused.unwrap_err().1, RDKafkaErrorCode::InvalidReplicationFactor);
    let fewer = block_on(admin.create_partitions([&NewPartitions::new(&topic, 2)], &options())).unwrap().remove(0);
    assert_eq!(fewer.unwrap_err().1, RDKafkaErrorCode::InvalidPartitions);
    let missing = block_on(admin.delete_topics(&[&fresh("t")], &options())).unwrap().remove(0);
    assert_eq!(missing.unwrap_err().1, RDKafkaErrorCode::UnknownTopicOrPartition);
}

#[test]
fn a_topic_that_does_not_exist_is_an_error_and_is_not_made_by_asking() {
    let target = Target::new();
    let client: BaseConsumer = target.client().create().unwrap();
    let name = fresh("none");
    for _ in 0..2 {
        let metadata = client.fetch_metadata(Some(&name), PATIENCE).unwrap();
        let error = metadata.topics()[0].error().map(RDKafkaErrorCode::from);
        assert_eq!(error, Some(RDKafkaErrorCode::UnknownTopicOrPartition));
    }
}

#[test]
fn a_topics_settings_are_described_and_changed() {
    let target = Target::new();
    let admin = target.admin();
    let topic = target.topic(1, &[("retention.ms", "123456789")]);
    let setting = |key: &str| {
        let described = block_on(admin.describe_configs([&ResourceSpecifier::Topic(&topic)], &options())).unwrap();
        let described = described[0].as_ref().ok()?;
        described.get(key).and_then(|entry| entry.value.clone())
    };
    eventually("the choice shows", || setting("retention.ms").as_deref() == Some("123456789"));
    assert_eq!(setting("cleanup.policy").as_deref(), Some("delete"));
    let change = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("retention.ms", "-1");
    block_on(admin.alter_configs([&change], &options())).unwrap()[0].as_ref().unwrap();
    eventually("the change shows", || setting("retention.ms").as_deref() == Some("-1"));
    let wrong = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("retention.ms", "soon");
    // rdkafka does not pass on what is said of single resources; what counts is that nothing changed.
    let _ = block_on(admin.alter_configs([&wrong], &options()));
    assert_eq!(setting("retention.ms").as_deref(), Some("-1"));
}

#[test]
fn a_topic_deleted_and_made_again_starts_empty() {
    let target = Target::new();
    let admin = target.admin();
    let topic = target.topic(1, &[]);
    target.sender(&[]).count_to(&topic, 20);
    block_on(admin.delete_topics(&[&topic], &options())).unwrap()[0].as_ref().unwrap();
    eventually("it can be created again", || make_topic(&admin, &topic, 1, &[]).is_ok());
    let sender = target.sender(&[]);
    eventually("it takes messages", || {
        sender.send(&topic, 0, b"recreated");
        sender.delivered()[0].is_ok()
    });
    let messages = read(&target.reader(&topic, 1, Offset::Beginning, &[]), 1);
    assert_eq!((messages[0].offset(), values(&messages)), (0, vec!["recreated".to_owned()]));
}
