//! Consumer groups: partitions shared, places kept.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::executor::block_on;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::target::{PATIENCE, Target, eventually, fresh, options, read};

fn member(target: &Target, group: &str, topic: &str, config: &[(&str, &str)]) -> BaseConsumer {
    let mut settings = target.client();
    settings.set("group.id", group).set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
    settings.set("session.timeout.ms", "6000").set("heartbeat.interval.ms", "200");
    for (key, value) in config {
        settings.set(*key, *value);
    }
    let consumer: BaseConsumer = settings.create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    consumer
}

/// Lets the consumers work, and says which partitions each has.
fn assigned(consumers: &[&BaseConsumer]) -> Vec<BTreeSet<i32>> {
    for consumer in consumers {
        let _ = consumer.poll(Duration::from_millis(20));
    }
    let of =
        |consumer: &&BaseConsumer| consumer.assignment().unwrap().elements().iter().map(|e| e.partition()).collect();
    consumers.iter().map(of).collect()
}

#[test]
fn two_members_share_the_partitions_and_the_one_that_stays_takes_over_all() {
    let target = Target::new();
    for strategy in ["range", "cooperative-sticky"] {
        let topic = target.topic(4, &[]);
        let group = fresh("group");
        let config = [("partition.assignment.strategy", strategy)];
        let first = member(&target, &group, &topic, &config);
        eventually("the only member has all partitions", || assigned(&[&first])[0].len() == 4);
        let second = member(&target, &group, &topic, &config);
        eventually("both have two partitions, none the same", || {
            let shares = assigned(&[&first, &second]);
            shares[0].len() == 2 && shares[1].len() == 2 && shares[0].is_disjoint(&shares[1])
        });
        drop(first);
        eventually("the one that stays has all", || assigned(&[&second])[0].len() == 4);
    }
}

#[test]
fn a_group_goes_on_where_it_committed_with_the_note_it_left() {
    let target = Target::new();
    let topic = target.topic(1, &[]);
    target.sender(&[]).count_to(&topic, 100);
    let group = fresh("group");
    let first = member(&target, &group, &topic, &[]);
    assert_eq!(read(&first, 40)[39].offset(), 39);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(40)).unwrap();
    list.find_partition(&topic, 0).unwrap().set_metadata("half way\tthrough");
    first.commit(&list, CommitMode::Sync).unwrap();
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition(&topic, 0);
    let committed = first.committed_offsets(wanted, PATIENCE).unwrap();
    assert_eq!(committed.elements()[0].offset(), Offset::Offset(40));
    assert_eq!(committed.elements()[0].metadata(), "half way\tthrough");
    drop(first);
    let second = member(&target, &group, &topic, &[]);
    assert_eq!(read(&second, 1)[0].offset(), 40);
}

#[test]
fn a_consumer_without_a_group_of_members_commits_too_and_an_unknown_place_is_none() {
    let target = Target::new();
    let topic = target.topic(2, &[]);
    target.sender(&[]).count_to(&topic, 10);
    let group = fresh("group");
    let reader = target.reader(&topic, 2, Offset::Beginning, &[("group.id", &group)]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(7)).unwrap();
    reader.commit(&list, CommitMode::Sync).unwrap();
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_range(&topic, 0, 1);
    let committed = reader.committed_offsets(wanted, PATIENCE).unwrap();
    let offsets: Vec<_> = committed.elements().iter().map(|e| e.offset()).collect();
    assert_eq!(offsets, [Offset::Offset(7), Offset::Invalid]);
}

#[test]
fn a_group_is_listed_with_its_members_and_deleted_once_they_are_gone() {
    let target = Target::new();
    let topic = target.topic(1, &[]);
    let group = fresh("group");
    let one = member(&target, &group, &topic, &[("client.id", "one")]);
    eventually("it is assigned", || assigned(&[&one])[0].len() == 1);
    one.commit(
        &{
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&topic, 0, Offset::Offset(0)).unwrap();
            list
        },
        CommitMode::Sync,
    )
    .unwrap();
    let client: BaseConsumer = target.client().create().unwrap();
    let listed = client.fetch_group_list(Some(&group), PATIENCE).unwrap();
    let described = &listed.groups()[0];
    assert_eq!((described.name(), described.state(), described.protocol_type()), (&*group, "Stable", "consumer"));
    assert_eq!(described.members()[0].client_id(), "one");
    let admin = target.admin();
    let refused = block_on(admin.delete_groups(&[&group], &options())).unwrap().remove(0);
    assert_eq!(refused.unwrap_err().1, RDKafkaErrorCode::NonEmptyGroup);
    drop(one);
    eventually("it can be deleted", || block_on(admin.delete_groups(&[&group], &options())).unwrap()[0].is_ok());
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition(&topic, 0);
    let reader = target.reader(&topic, 1, Offset::Beginning, &[("group.id", &group)]);
    let committed = reader.committed_offsets(wanted, PATIENCE).unwrap();
    assert_eq!(committed.elements()[0].offset(), Offset::Invalid);
}
