//! The life of a topic: partitions that are added, topics that come, vanish, come back, or lose messages.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kafka::{NewTopicPlan, Producer, ProducerLimits, Record, Topics};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::scene::{PATIENCE, Scene, expected, messages, signal, text};
use crate::trouble::{lines, wait_for};

/// Looks for news of the topic every tenth of a second, so that a story need not wait.
const DISCOVER: &str = "source.discover=\"100 ms\"";

fn admin(scene: &Scene) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &scene.servers).create().unwrap()
}

fn create(scene: &Scene, topic: &str, partitions: i32) {
    let config = vec![("retention.ms".to_owned(), "-1".to_owned())];
    let plan = NewTopicPlan { topic: topic.to_owned(), partitions, replication: 1, config };
    let topics = Topics::open(&scene.client()).unwrap();
    // A cluster may need a moment until a deleted name is free again.
    let began = Instant::now();
    while topics.create(&plan).is_err() {
        assert!(began.elapsed() < PATIENCE, "{topic} cannot be made");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Deletes the messages of partition 0 before `offset`.
fn delete_below(scene: &Scene, topic: &str, offset: i64) {
    let mut below = TopicPartitionList::new();
    below.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    futures::executor::block_on(admin(scene).delete_records(&below, &AdminOptions::new())).unwrap();
}

fn send_to(scene: &Scene, topic: &str, values: &[String]) {
    let producer = Producer::open(&scene.client(), ProducerLimits::default()).unwrap();
    for value in values {
        let record =
            Record { key: value.clone().into(), keyed: true, value: value.clone().into(), ..Record::default() };
        producer.send(topic, &record).unwrap();
    }
    assert_eq!(producer.close(PATIENCE).0.failed, 0);
}

/// The stories' pipeline over `topics`, a TOML value, whose windows wait for two hours of event time.
fn patient_pipeline(scene: &Scene, topics: &str, stream: &str) -> PathBuf {
    let pipeline = scene.pipeline(&format!("watermark = \"2 hours\"\n{stream}"));
    let text = std::fs::read_to_string(&pipeline).unwrap().replacen("watermark = \"5 minutes\"\n", "", 1);
    let topic = format!("topic = {:?}", scene.topic);
    std::fs::write(&pipeline, text.replacen(&topic, &format!("topic = {topics}"), 1)).unwrap();
    pipeline
}

/// Waits until the pipeline has committed that it read `count` messages.
fn wait_until_read(scene: &Scene, pipeline: &str, count: usize) {
    let began = Instant::now();
    loop {
        let status = scene.turnstile(&["status", pipeline, "--json"]);
        let slot: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        if slot["counters"]["read"].as_u64() >= Some(count as u64) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "read {} of {count}", slot["counters"]["read"]);
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn partitions_added_while_running_are_read(scene: &Scene) {
    let messages = messages(1_200);
    scene.send(messages[..400].iter().map(String::as_bytes));
    let pipeline = patient_pipeline(scene, &format!("{:?}", scene.topic), "commit = \"50 ms\"\nidle = \"off\"");
    let path = pipeline.to_str().unwrap();
    let mut run = scene.spawn(&["run", path, "--set", DISCOVER], &[]);
    let lines = lines(&mut run);
    wait_for(&lines, "ready: reading 1 partitions");
    let block = |future| futures::executor::block_on(future);
    let grow = [NewPartitions::new(&scene.topic, 4)];
    block(admin(scene).create_partitions(&grow, &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    // These are sent at once: they lie in the new partitions before anybody looks there.
    send_to(scene, &scene.topic, &messages[400..]);
    wait_for(&lines, "[3] was added; it is read from its beginning");
    wait_until_read(scene, path, messages.len());
    signal(&run, "TERM");
    assert!(run.wait().unwrap().success());
    assert!(scene.drain(&pipeline).status.success());
    assert_eq!(scene.rows(), expected(&messages));
    assert!(scene.audit(&pipeline).contains("all is well"));
}

#[test]
fn partitions_added_while_running_are_read_from_the_embedded_broker() {
    partitions_added_while_running_are_read(&Scene::embedded(1));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn partitions_added_while_running_are_read_from_apache_kafka() {
    partitions_added_while_running_are_read(&Scene::apache("grows", 1));
}

/// The new topic is longer than the old one was read, so that no offset tells them apart.
fn a_topic_that_is_deleted_and_created_anew_ends_the_run(scene: &Scene) {
    scene.send(messages(200).iter().map(String::as_bytes));
    let pipeline = scene.pipeline("commit = \"50 ms\"");
    let path = pipeline.to_str().unwrap();
    let mut run = scene.spawn(&["run", path, "--set", DISCOVER], &[]);
    let lines = lines(&mut run);
    wait_until_read(scene, path, 200);
    // While it cannot look, the topic goes and comes back; it would go on at offset 200 as if nothing had happened.
    signal(&run, "STOP");
    Topics::open(&scene.client()).unwrap().delete(&scene.topic).unwrap();
    create(scene, &scene.topic, 1);
    send_to(scene, &scene.topic, &messages(900));
    signal(&run, "CONT");
    wait_for(&lines, "was deleted and created anew");
    assert_eq!(run.wait().unwrap().code(), Some(5));

    let again = scene.turnstile(&["run", path, "--until-end"]);
    assert_eq!(again.status.code(), Some(5), "{}", text(&again));
    assert!(text(&again).contains("deleted and created anew"), "{}", text(&again));
    assert!(text(&again).contains("give the pipeline a new name"), "{}", text(&again));
}

#[test]
fn a_topic_that_is_created_anew_and_still_empty_is_told_from_one_whose_messages_were_deleted() {
    let scene = Scene::embedded(1);
    scene.send(messages(200).iter().map(String::as_bytes));
    let pipeline = scene.pipeline("commit = \"50 ms\"");
    let path = pipeline.to_str().unwrap();
    let mut run = scene.spawn(&["run", path, "--set", DISCOVER], &[]);
    let lines = lines(&mut run);
    wait_until_read(&scene, path, 200);
    Topics::open(&scene.client()).unwrap().delete(&scene.topic).unwrap();
    create(&scene, &scene.topic, 1);
    wait_for(&lines, "was deleted and created anew");
    assert_eq!(run.wait().unwrap().code(), Some(5));
}

#[test]
fn a_topic_of_the_embedded_broker_that_is_created_anew_ends_the_run() {
    a_topic_that_is_deleted_and_created_anew_ends_the_run(&Scene::embedded(1));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_topic_of_apache_kafka_that_is_created_anew_ends_the_run() {
    a_topic_that_is_deleted_and_created_anew_ends_the_run(&Scene::apache("anew", 1));
}

fn a_topic_that_is_deleted_ends_the_run_and_what_was_read_is_committed(scene: &Scene) {
    let messages = messages(200);
    scene.send(messages.iter().map(String::as_bytes));
    let pipeline = scene.pipeline("commit = \"1 hour\"");
    let path = pipeline.to_str().unwrap();
    let mut run = scene.spawn(&["run", path, "--set", DISCOVER], &[]);
    let lines = lines(&mut run);
    wait_for(&lines, "ready: ");
    // It is read by now, or will be in a moment: the topic stays readable for as long as its name is known.
    std::thread::sleep(Duration::from_secs(2));
    Topics::open(&scene.client()).unwrap().delete(&scene.topic).unwrap();
    wait_for(&lines, "was deleted while it was read");
    assert_eq!(run.wait().unwrap().code(), Some(5));
    wait_until_read(scene, path, messages.len());
}

#[test]
fn a_deleted_topic_of_the_embedded_broker_ends_the_run() {
    a_topic_that_is_deleted_ends_the_run_and_what_was_read_is_committed(&Scene::embedded(1));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_deleted_topic_of_apache_kafka_ends_the_run() {
    a_topic_that_is_deleted_ends_the_run_and_what_was_read_is_committed(&Scene::apache("deleted", 1));
}

#[test]
fn messages_that_are_deleted_before_they_are_read_are_named_and_accepted_only_when_told() {
    let scene = Scene::embedded(1);
    let messages = messages(400);
    scene.send(messages[..100].iter().map(String::as_bytes));
    let pipeline = scene.pipeline("");
    let path = pipeline.to_str().unwrap();
    assert!(scene.turnstile(&["run", path, "--until-end"]).status.success());
    scene.send(messages[100..].iter().map(String::as_bytes));
    delete_below(&scene, &scene.topic, 250);

    let refused = scene.drain(&pipeline);
    assert_eq!(refused.status.code(), Some(5), "{}", text(&refused));
    assert!(text(&refused).contains("offsets 100..250 are lost"), "{}", text(&refused));
    let accepted = scene.turnstile(&["run", path, "--drain", "--accept-loss"]);
    assert!(accepted.status.success(), "{}", text(&accepted));
    let kept: Vec<String> = [&messages[..100], &messages[250..]].concat();
    assert_eq!(scene.rows(), expected(&kept));
}

#[test]
fn several_topics_are_read_by_list_and_by_pattern() {
    for topics in ["[\"east\", \"west\"]", "\"^(east|west)$\""] {
        let scene = Scene::embedded(1);
        let messages = messages(600);
        create(&scene, "east", 1);
        create(&scene, "west", 3);
        create(&scene, "west-old", 1);
        send_to(&scene, "east", &messages[..300]);
        send_to(&scene, "west", &messages[300..]);
        send_to(&scene, "west-old", &messages[..50]);
        let pipeline = patient_pipeline(&scene, topics, "");
        let drained = scene.drain(&pipeline);
        assert!(drained.status.success(), "{}", text(&drained));
        assert!(text(&drained).contains("reading 4 partitions"), "{}", text(&drained));
        assert_eq!(scene.rows(), expected(&messages), "{topics}");
        assert!(scene.audit(&pipeline).contains("all is well"));
    }
}

#[test]
fn a_topic_that_comes_to_match_is_read_from_its_beginning() {
    let scene = Scene::embedded(1);
    let messages = messages(200);
    create(&scene, "line-1", 1);
    send_to(&scene, "line-1", &messages[..100]);
    let pipeline = patient_pipeline(&scene, "\"^line-.*\"", "commit = \"50 ms\"");
    let path = pipeline.to_str().unwrap();
    let mut run = scene.spawn(&["run", path, "--set", DISCOVER], &[]);
    let lines = lines(&mut run);
    wait_for(&lines, "ready: reading 1 partitions of ^line-.*");
    // Its first messages are gone before anybody could see them: it begins at offset 50.
    signal(&run, "STOP");
    create(&scene, "line-2", 1);
    send_to(&scene, "line-2", &messages[..50]);
    send_to(&scene, "line-2", &messages[100..]);
    delete_below(&scene, "line-2", 50);
    signal(&run, "CONT");
    wait_for(&lines, "line-2[0] was added");
    wait_until_read(&scene, path, messages.len());
    signal(&run, "TERM");
    assert!(run.wait().unwrap().success());
    assert!(scene.drain(&pipeline).status.success());
    assert_eq!(scene.rows(), expected(&messages));
}

#[test]
fn a_pattern_that_matches_nothing_is_named() {
    let scene = Scene::embedded(1);
    let pipeline = scene.pipeline("");
    let run = scene.turnstile(&["run", pipeline.to_str().unwrap(), "--set", "source.topic=^lines-.*"]);
    assert_eq!(run.status.code(), Some(5), "{}", text(&run));
    assert!(text(&run).contains("no topic matches \"^lines-.*\""), "{}", text(&run));
}

fn accepted_losses_of_whole_topics_let_the_pipeline_go_on(scene: &Scene, one: &str, other: &str) {
    let messages = messages(300);
    for topic in [one, other] {
        create(scene, topic, 1);
    }
    send_to(scene, one, &messages[..100]);
    send_to(scene, other, &messages[100..200]);
    let pipeline = patient_pipeline(scene, &format!("[\"{one}\", \"{other}\"]"), "");
    let path = pipeline.to_str().unwrap();
    assert!(scene.turnstile(&["run", path, "--until-end"]).status.success());

    let topics = Topics::open(&scene.client()).unwrap();
    topics.delete(one).unwrap();
    topics.delete(other).unwrap();
    create(scene, other, 1);
    send_to(scene, other, &messages[200..]);
    let accepted = scene.turnstile(&["run", path, "--drain", "--accept-loss"]);
    assert!(accepted.status.success(), "{}", text(&accepted));
    for told in [format!("{one}[0] from 100 is lost"), format!("{other}[0] from 100 is lost")] {
        assert!(text(&accepted).contains(&told), "{told}: {}", text(&accepted));
    }
    assert_eq!(scene.rows(), expected(&messages));
}

#[test]
fn accepted_losses_of_whole_topics_of_the_embedded_broker_let_the_pipeline_go_on() {
    accepted_losses_of_whole_topics_let_the_pipeline_go_on(&Scene::embedded(1), "one", "other");
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn accepted_losses_of_whole_topics_of_apache_kafka_let_the_pipeline_go_on() {
    accepted_losses_of_whole_topics_let_the_pipeline_go_on(&Scene::apache("losses", 1), "losses-one", "losses-other");
}
