//! Clients that are not librdkafka's own: Python's confluent-kafka and Apache Kafka's console tools.
//!
//! The same steps are asked of the embedded broker and of Apache Kafka.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use turnstile_broker::{Broker, BrokerSettings};

use crate::target::fresh;

/// Runs `steps` against an embedded broker and against Apache Kafka.
fn on_both(steps: impl Fn(&str)) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(BrokerSettings { dir: Some(dir.path().into()), ..BrokerSettings::default() }).unwrap();
    steps(&broker.address().to_string());
    broker.stop();
    steps(&turnstile_testkit::kafka());
}

fn done(output: Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

const PYTHON: &str = r#"
import sys
from confluent_kafka import Producer, Consumer, TopicPartition, OFFSET_BEGINNING
from confluent_kafka.admin import AdminClient, NewTopic
servers, topic = sys.argv[1:3]
admin = AdminClient({"bootstrap.servers": servers})
for f in admin.create_topics([NewTopic(topic, 2, 1)]).values(): f.result(20)
failed = []
producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, "compression.type": "zstd"})
for i in range(1000):
    producer.produce(topic, key=f"k{i}", value=f"v{i}", headers={"h": str(i)},
                     callback=lambda e, m: failed.append(e) if e else None)
    producer.poll(0)
assert producer.flush(30) == 0 and not failed, failed
group = {"bootstrap.servers": servers, "group.id": topic, "auto.offset.reset": "earliest", "enable.auto.commit": False}
consumer = Consumer(group)
consumer.subscribe([topic])
seen = {}
while len(seen) < 1000:
    m = consumer.poll(20)
    assert m is not None and m.error() is None, (m and m.error(), len(seen))
    seen[m.key().decode()] = (m.value().decode(), dict(m.headers())["h"])
assert all(seen[f"k{i}"] == (f"v{i}", str(i).encode()) for i in range(1000))
consumer.commit(asynchronous=False)
committed = consumer.committed([TopicPartition(topic, p) for p in range(2)], 20)
ends = [consumer.get_watermark_offsets(TopicPartition(topic, p), 20)[1] for p in range(2)]
assert [c.offset for c in committed] == ends and sum(ends) == 1000, (committed, ends)
consumer.close()
for f in admin.delete_topics([topic]).values(): f.result(20)
print("python is content")
"#;

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn pythons_client_produces_consumes_and_commits_on_the_embedded_broker_as_on_apache_kafka() {
    on_both(|servers| {
        let output =
            Command::new(turnstile_testkit::python()).args(["-c", PYTHON, servers, &fresh("python")]).output().unwrap();
        assert!(done(output).contains("python is content"));
    });
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn the_console_tools_work_on_the_embedded_broker_as_on_apache_kafka() {
    on_both(|servers| {
        let topic = fresh("console");
        let group = format!("{topic}-group");
        let tool = |class: &str, args: &[&str]| {
            let mut command = turnstile_testkit::kafka_home().tool(class).unwrap();
            command.args(["--bootstrap-server", servers]).args(args);
            command
        };
        let run = |class: &str, args: &[&str]| done(tool(class, args).output().unwrap());
        run("TopicCommand", &["--create", "--topic", &topic, "--partitions", "2"]);
        assert!(run("TopicCommand", &["--describe", "--topic", &topic]).contains("PartitionCount: 2"));
        let mut producer = tool("ConsoleProducer", &["--topic", &topic]);
        let mut producer =
            producer.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        producer.stdin.take().unwrap().write_all(b"one\ntwo\nthree\n").unwrap();
        done(producer.wait_with_output().unwrap());
        let read =
            ["--topic", &topic, "--from-beginning", "--group", &group, "--max-messages", "3", "--timeout-ms", "20000"];
        let text = run("consumer.ConsoleConsumer", &read);
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        lines.sort_unstable();
        assert_eq!(lines, ["one", "three", "two"]);
        let described = run("consumer.group.ConsumerGroupCommand", &["--describe", "--group", &group]);
        assert!(described.contains(&topic), "{described}");
        run("TopicCommand", &["--delete", "--topic", &topic]);
    });
}
