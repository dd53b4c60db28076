//! The leader of what is read dies, again and again.

use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use turnstile_kafka::{
    ClientSettings, KafkaConnection, NewTopicPlan, Producer, ProducerLimits, ProducerRecord, TopicAdmin,
};
use turnstile_testkit::servers::{KafkaCluster, KafkaConfig};

use crate::scene::{PATIENCE, Scene, expected, finish, messages, signal, text, until};

const KILLS: usize = 2;

/// Sends `messages` one by one until it is stopped; how many were sent, and that all of them arrived.
fn produce(settings: &ClientSettings, topic: &str, messages: &[String], sent: &AtomicUsize, stop: &AtomicBool) {
    let producer = Producer::open(settings, ProducerLimits::default()).unwrap();
    for message in messages {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = message.split(',').next().unwrap().as_bytes().to_vec();
        let record =
            ProducerRecord { key, keyed: true, value: message.clone().into_bytes(), ..ProducerRecord::default() };
        producer.send(topic, &record).unwrap();
        sent.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(2));
    }
    let (stats, failures) = producer.close(PATIENCE);
    assert_eq!(stats.failed, 0, "{failures:?}");
}

/// Kills the leader of partition 0, waits for another one, and brings the dead broker back as a replica in sync.
fn kill_leader(cluster: &mut KafkaCluster, connection: &KafkaConnection, topics: &TopicAdmin, topic: &str) {
    let old = connection.leaders(topic).unwrap()[0].1;
    cluster.kill9(old).unwrap();
    until("another leader", || {
        connection.leaders(topic).is_ok_and(|all| !all.iter().any(|(_, by)| [old, -1].contains(by)))
    });
    // The flow must notice before the broker is back, or there is nothing to tell of.
    std::thread::sleep(Duration::from_secs(2));
    cluster.restart(old).unwrap();
    until("three replicas in sync", || {
        topics.describe(topic).is_ok_and(|found| found.partitions.iter().all(|p| p.in_sync.len() == 3))
    });
}

fn stop_and_read(child: Child) -> String {
    signal(&child, "TERM");
    let output = finish(child);
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn reading_goes_on_by_itself_when_leaders_are_killed_and_nothing_is_lost_or_doubled() {
    let mut cluster = KafkaCluster::start(&turnstile_testkit::kafka_home(), KafkaConfig::default()).unwrap();
    let scene = Scene::without_topic(cluster.bootstrap(), "city");
    let topics = TopicAdmin::open(&scene.client()).unwrap();
    let config = vec![("min.insync.replicas".to_owned(), "2".to_owned()), ("retention.ms".to_owned(), "-1".to_owned())];
    topics.create(&NewTopicPlan { topic: "city".to_owned(), partitions: 2, replication: 3, config }).unwrap();
    let connection = KafkaConnection::open(&scene.client()).unwrap();
    until("leaders", || connection.leaders("city").is_ok_and(|all| all.len() == 2));

    let all = messages(100_000);
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), AtomicUsize::new(0));
    let pipeline = scene.pipeline("");
    let said = std::thread::scope(|scope| {
        let settings = scene.client();
        let (all, sent, flag) = (&all, &sent, stop.clone());
        let producer = scope.spawn(move || produce(&settings, "city", all, sent, &flag));
        let run = scene.spawn(&["run", pipeline.to_str().unwrap()], &[]);
        until("messages", || sent.load(Ordering::Relaxed) > 500);
        for _ in 0..KILLS {
            kill_leader(&mut cluster, &connection, &topics, "city");
        }
        stop.store(true, Ordering::Relaxed);
        producer.join().unwrap();
        stop_and_read(run)
    });
    let recovered: Vec<&str> = said.lines().filter(|line| line.contains("is back after")).collect();
    assert!(recovered.len() >= KILLS, "{said}");
    assert!(recovered.iter().any(|line| line.contains("instead of")), "{recovered:?}");
    assert!(!said.contains("broker -1"), "{recovered:?}");

    let drained = scene.drain(&pipeline);
    assert!(drained.status.success(), "{}", text(&drained));
    assert_eq!(scene.rows(), expected(&all[..sent.load(Ordering::Relaxed)]));
    assert!(scene.audit(&pipeline).contains("all is well"));
}
