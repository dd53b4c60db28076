//! The life of a topic: partitions that are added, topics that come, vanish, come back, or lose messages.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use turnstile_kafka::{NewTopicPlan, Producer, ProducerLimits, ProducerRecord, TopicAdmin};

use crate::scene::{PATIENCE, Scene, expected, messages, signal, text};
use crate::trouble::{lines, wait_for};

/// Looks for news of the topic every tenth of a second, so that a story need not wait.
const DISCOVER: &str = "source.discover=\"100 ms\"";

fn admin(scene: &Scene) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &scene.servers).create().unwrap()
}

pub(crate) fn create(scene: &Scene, topic: &str, partitions: i32) {
    let config = vec![("retention.ms".to_owned(), "-1".to_owned())];
    let plan = NewTopicPlan { topic: topic.to_owned(), partitions, replication: 1, config };
    let topics = TopicAdmin::open(&scene.client()).unwrap();
    // A cluster may need a moment until a deleted name is free again.
    let began = Instant::now();
    while topics.create(&plan).is_err() {
        assert!(began.elapsed() < PATIENCE, "{topic} cannot be made");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Gives the scene's topic so many partitions.
pub(crate) fn grow(scene: &Scene, partitions: usize) {
    let grow = [NewPartitions::new(&scene.topic, partitions)];
    let grown = futures::executor::block_on(admin(scene).create_partitions(&grow, &AdminOptions::new()));
    grown.unwrap()[0].as_ref().unwrap();
}

/// Sends one message to `partition`; its value.
pub(crate) fn send_to_partition(scene: &Scene, partition: i32) -> String {
    let mut config = ClientConfig::new();
    let producer: BaseProducer = config.set("bootstrap.servers", &scene.servers).create().unwrap();
    let value = format!("of partition {partition}");
    let record = BaseRecord::to(&scene.topic).partition(partition).key("k").payload(&value);
    producer.send(record).unwrap();
    producer.flush(PATIENCE).unwrap();
    value
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
        let record = ProducerRecord {
            key: value.clone().into(),
            keyed: true,
            value: value.clone().into(),
            ..ProducerRecord::default()
        };
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
    wait_for(&lines, "ready: reading 1 partition");
    grow(scene, 4);
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
fn a_recreated_topic_ends_the_run(scene: &Scene) {
    scene.send(messages(200).iter().map(String::as_bytes));
    let pipeline = scene.pipeline("commit = \"50 ms\"");
    let path = pipeline.to_str().unwrap();
    let mut run = scene.spawn(&["run", path, "--set", DISCOVER], &[]);
    let lines = lines(&mut run);
    wait_until_read(scene, path, 200);
    // While it cannot see it, the topic is recreated; it would resume at offset 200 as if nothing had happened.
    signal(&run, "STOP");
    TopicAdmin::open(&scene.client()).unwrap().delete(&scene.topic).unwrap();
    create(scene, &scene.topic, 1);
    send_to(scene, &scene.topic, &messages(900));
    signal(&run, "CONT");
    wait_for(&lines, "was deleted and recreated");
    assert_eq!(run.wait().unwrap().code(), Some(5));

    let again = scene.turnstile(&["run", path, "--until-end"]);
    assert_eq!(again.status.code(), Some(5), "{}", text(&again));
    assert!(text(&again).contains("deleted and recreated"), "{}", text(&again));
    assert!(text(&again).contains("give the pipeline a new name"), "{}", text(&again));
}

#[test]
fn a_recreated_topic_that_is_still_empty_is_distinguished_from_one_whose_messages_were_deleted() {
    let scene = Scene::embedded(1);
    scene.send(messages(200).iter().map(String::as_bytes));
    let pipeline = scene.pipeline("commit = \"50 ms\"");
    let path = pipeline.to_str().unwrap();
    let mut run = scene.spawn(&["run", path, "--set", DISCOVER], &[]);
    let lines = lines(&mut run);
    wait_until_read(&scene, path, 200);
    TopicAdmin::open(&scene.client()).unwrap().delete(&scene.topic).unwrap();
    create(&scene, &scene.topic, 1);
    wait_for(&lines, "was deleted and recreated");
    assert_eq!(run.wait().unwrap().code(), Some(5));
}

#[test]
fn a_recreated_topic_of_the_embedded_broker_ends_the_run() {
    a_recreated_topic_ends_the_run(&Scene::embedded(1));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_recreated_topic_of_apache_kafka_ends_the_run() {
    a_recreated_topic_ends_the_run(&Scene::apache("recreated", 1));
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
    TopicAdmin::open(&scene.client()).unwrap().delete(&scene.topic).unwrap();
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

fn messages_that_are_deleted_before_they_are_read_are_named_and_accepted_only_with_the_flag(scene: &Scene) {
    let messages = messages(400);
    scene.send(messages[..100].iter().map(String::as_bytes));
    let pipeline = scene.pipeline("");
    let path = pipeline.to_str().unwrap();
    assert!(scene.turnstile(&["run", path, "--until-end"]).status.success());
    scene.send(messages[100..].iter().map(String::as_bytes));
    delete_below(scene, &scene.topic, 250);

    let refused = scene.drain(&pipeline);
    assert_eq!(refused.status.code(), Some(5), "{}", text(&refused));
    assert!(text(&refused).contains("offsets 100..250 are lost"), "{}", text(&refused));
    let accepted = scene.turnstile(&["run", path, "--drain", "--accept-loss"]);
    assert!(accepted.status.success(), "{}", text(&accepted));
    let kept: Vec<String> = [&messages[..100], &messages[250..]].concat();
    assert_eq!(scene.rows(), expected(&kept));
}

#[test]
fn messages_deleted_from_the_embedded_broker_before_they_are_read_are_named() {
    messages_that_are_deleted_before_they_are_read_are_named_and_accepted_only_with_the_flag(&Scene::embedded(1));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn messages_deleted_from_apache_kafka_before_they_are_read_are_named() {
    let scene = Scene::apache("truncated", 1);
    messages_that_are_deleted_before_they_are_read_are_named_and_accepted_only_with_the_flag(&scene);
}

/// They go while the pipeline runs and cannot look: what it read before is committed, and the next run says the same.
fn messages_that_are_deleted_under_a_running_pipeline_end_it(scene: &Scene) {
    let messages = messages(400);
    scene.send(messages[..100].iter().map(String::as_bytes));
    let pipeline = scene.pipeline("commit = \"50 ms\"");
    let path = pipeline.to_str().unwrap();
    let mut run = scene.spawn(&["run", path], &[]);
    let lines = lines(&mut run);
    wait_until_read(scene, path, 100);
    signal(&run, "STOP");
    scene.send(messages[100..].iter().map(String::as_bytes));
    delete_below(scene, &scene.topic, 250);
    signal(&run, "CONT");
    wait_for(&lines, "offsets 100..250 are lost");
    assert_eq!(run.wait().unwrap().code(), Some(5));

    let refused = scene.drain(&pipeline);
    assert_eq!(refused.status.code(), Some(5), "{}", text(&refused));
    let accepted = scene.turnstile(&["run", path, "--drain", "--accept-loss"]);
    assert!(accepted.status.success(), "{}", text(&accepted));
    let kept: Vec<String> = [&messages[..100], &messages[250..]].concat();
    assert_eq!(scene.rows(), expected(&kept));
    assert!(scene.audit(&pipeline).contains("all is well"));
}

#[test]
fn messages_deleted_from_the_embedded_broker_under_a_running_pipeline_end_it() {
    messages_that_are_deleted_under_a_running_pipeline_end_it(&Scene::embedded(1));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn messages_deleted_from_apache_kafka_under_a_running_pipeline_end_it() {
    messages_that_are_deleted_under_a_running_pipeline_end_it(&Scene::apache("shortened", 1));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_pipeline_that_is_too_slow_for_its_topic_s_retention_is_warned() {
    let scene = Scene::on_brokers(turnstile_testkit::kafka(), "ageing", 1, &[("retention.ms", "3600000")]);
    // Written 55 minutes ago, in batches of ten.
    let ago_ms = chrono::Utc::now().timestamp_millis() - 55 * 60_000;
    let settings = scene.client().with("batch.num.messages", "10", "test").unwrap();
    let producer = Producer::open(&settings, ProducerLimits::default()).unwrap();
    for message in messages(2_000) {
        let record =
            ProducerRecord { value: message.into_bytes(), timestamp_ms: Some(ago_ms), ..ProducerRecord::default() };
        producer.send(&scene.topic, &record).unwrap();
    }
    assert_eq!(producer.close(PATIENCE).0.failed, 0);
    // The cluster lets this client have two kilobytes a second.
    let client = format!("{}-reader", scene.topic);
    let mut quota = turnstile_testkit::kafka_home().tool("kafka.admin.ConfigCommand").unwrap();
    quota.args(["--bootstrap-server", &scene.servers, "--alter", "--add-config", "consumer_byte_rate=2000"]);
    let quota = quota.args(["--entity-type", "clients", "--entity-name", &client]).output().unwrap();
    assert!(quota.status.success(), "{}", text(&quota));

    let pipeline = scene.pipeline("");
    let kafka = format!(
        "source.kafka={{ \"bootstrap.servers\" = \"{}\", \"client.id\" = \"{client}\", \
         \"fetch.message.max.bytes\" = \"1000\" }}",
        scene.servers
    );
    let mut run = scene.spawn(&["run", pipeline.to_str().unwrap(), "--set", &kafka], &[]);
    let lines = lines(&mut run);
    let warning = wait_for(&lines, "and the topic deletes messages after 60 min");
    assert!(warning.contains("unread messages is about 55 min old"), "{warning}");
    assert!(warning.contains("raise the retention, or read faster"), "{warning}");
    signal(&run, "TERM");
    assert!(run.wait().unwrap().success());
}

/// `prefix` keeps the names apart from other stories' of the same cluster.
fn several_topics_are_read_by_list_and_by_pattern(scene: &Scene, prefix: &str) {
    let messages = messages(600);
    let [east, west, old] = ["east", "west", "west-old"].map(|name| format!("{prefix}{name}"));
    create(scene, &east, 1);
    create(scene, &west, 3);
    create(scene, &old, 1);
    send_to(scene, &east, &messages[..300]);
    send_to(scene, &west, &messages[300..]);
    send_to(scene, &old, &messages[..50]);
    for topics in [format!("[\"{east}\", \"{west}\"]"), format!("\"^{prefix}(east|west)$\"")] {
        let _ = std::fs::remove_dir_all(scene.lake());
        let pipeline = patient_pipeline(scene, &topics, "");
        let drained = scene.drain(&pipeline);
        assert!(drained.status.success(), "{}", text(&drained));
        assert!(text(&drained).contains("reading 4 partitions"), "{}", text(&drained));
        assert_eq!(scene.rows(), expected(&messages), "{topics}");
        assert!(scene.audit(&pipeline).contains("all is well"));
    }
}

#[test]
fn several_topics_of_the_embedded_broker_are_read_by_list_and_by_pattern() {
    several_topics_are_read_by_list_and_by_pattern(&Scene::embedded(1), "");
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn several_topics_of_apache_kafka_are_read_by_list_and_by_pattern() {
    let scene = Scene::apache("several", 1);
    several_topics_are_read_by_list_and_by_pattern(&scene, &format!("{}-", scene.topic));
}

fn a_topic_that_comes_to_match_is_read_from_its_beginning(scene: &Scene, prefix: &str) {
    let messages = messages(200);
    let [first, second] = ["line-1", "line-2"].map(|name| format!("{prefix}{name}"));
    create(scene, &first, 1);
    send_to(scene, &first, &messages[..100]);
    let pipeline = patient_pipeline(scene, &format!("\"^{prefix}line-.*\""), "commit = \"50 ms\"");
    let path = pipeline.to_str().unwrap();
    let mut run = scene.spawn(&["run", path, "--set", DISCOVER], &[]);
    let lines = lines(&mut run);
    wait_for(&lines, &format!("ready: reading 1 partition of ^{prefix}line-.*"));
    // Its first messages are gone before anybody could see them: it begins at offset 50.
    signal(&run, "STOP");
    create(scene, &second, 1);
    send_to(scene, &second, &messages[..50]);
    send_to(scene, &second, &messages[100..]);
    delete_below(scene, &second, 50);
    signal(&run, "CONT");
    wait_for(&lines, "line-2[0] was added");
    wait_until_read(scene, path, messages.len());
    signal(&run, "TERM");
    assert!(run.wait().unwrap().success());
    assert!(scene.drain(&pipeline).status.success());
    assert_eq!(scene.rows(), expected(&messages));
}

#[test]
fn a_topic_of_the_embedded_broker_that_comes_to_match_is_read() {
    a_topic_that_comes_to_match_is_read_from_its_beginning(&Scene::embedded(1), "");
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_topic_of_apache_kafka_that_comes_to_match_is_read() {
    let scene = Scene::apache("matching", 1);
    a_topic_that_comes_to_match_is_read_from_its_beginning(&scene, &format!("{}-", scene.topic));
}

#[test]
fn a_pattern_that_matches_nothing_is_named() {
    let scene = Scene::embedded(1);
    let pipeline = scene.pipeline("");
    let run = scene.turnstile(&["run", pipeline.to_str().unwrap(), "--set", "source.topic=^lines-.*"]);
    assert_eq!(run.status.code(), Some(5), "{}", text(&run));
    assert!(text(&run).contains("no topic matches \"^lines-.*\""), "{}", text(&run));
}

fn accepted_losses_of_whole_topics_let_the_pipeline_continue(scene: &Scene, one: &str, other: &str) {
    let messages = messages(300);
    for topic in [one, other] {
        create(scene, topic, 1);
    }
    send_to(scene, one, &messages[..100]);
    send_to(scene, other, &messages[100..200]);
    let pipeline = patient_pipeline(scene, &format!("[\"{one}\", \"{other}\"]"), "");
    let path = pipeline.to_str().unwrap();
    assert!(scene.turnstile(&["run", path, "--until-end"]).status.success());

    let topics = TopicAdmin::open(&scene.client()).unwrap();
    topics.delete(one).unwrap();
    topics.delete(other).unwrap();
    create(scene, other, 1);
    send_to(scene, other, &messages[200..]);
    let accepted = scene.turnstile(&["run", path, "--drain", "--accept-loss"]);
    assert!(accepted.status.success(), "{}", text(&accepted));
    for lost in [format!("{one}[0] from 100 is lost"), format!("{other}[0] from 100 is lost")] {
        assert!(text(&accepted).contains(&lost), "{lost}: {}", text(&accepted));
    }
    assert_eq!(scene.rows(), expected(&messages));
}

#[test]
fn accepted_losses_of_whole_topics_of_the_embedded_broker_let_the_pipeline_continue() {
    accepted_losses_of_whole_topics_let_the_pipeline_continue(&Scene::embedded(1), "one", "other");
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn accepted_losses_of_whole_topics_of_apache_kafka_let_the_pipeline_continue() {
    accepted_losses_of_whole_topics_let_the_pipeline_continue(
        &Scene::apache("losses", 1),
        "losses-one",
        "losses-other",
    );
}
