//! Clients that are not ours: what they write becomes windows, and what turnstile writes they read.
//!
//! Python's confluent-kafka, Kafka's console producer and a program on Kafka's Java client, all on Apache Kafka;
//! their programs are in `clients`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use turnstile_testkit::servers::{KafkaConfig, KafkaServer};

use crate::scene::{Scene, data_files, expected, finish, messages, text};

/// The folder of the other clients' programs.
pub(crate) fn client(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients").join(name)
}

/// Runs `command` with `rows` as its input, a line each; gives back what it printed.
pub(crate) fn with_rows(command: &mut Command, rows: &[String]) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the client starts");
    let (mut stdin, input) = (child.stdin.take().unwrap(), rows.join("\n") + "\n");
    // A client that ends early closes the pipe; its exit code says so below.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = finish(child);
    writer.join().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Python's client, with `arguments` after servers and topic.
pub(crate) fn python(program: &str, scene: &Scene, arguments: &[&str], rows: &[String]) -> String {
    let mut command = Command::new(turnstile_testkit::python());
    command.arg(client(program)).args([&scene.servers, &scene.topic]).args(arguments);
    with_rows(&mut command, rows)
}

/// Publishes every window and checks it against a plain sum of `rows`; the line that says what became of them.
pub(crate) fn publishes(scene: &Scene, pipeline: &Path, rows: &[String]) -> String {
    let output = scene.drain(pipeline);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(scene.rows(), expected(rows));
    assert!(scene.audit(pipeline).contains("all is well"));
    what_became_of_messages(scene, pipeline)
}

pub(crate) fn what_became_of_messages(scene: &Scene, pipeline: &Path) -> String {
    let status = scene.turnstile(&["status", pipeline.to_str().unwrap()]);
    let status = String::from_utf8(status.stdout).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("rows"));
    line.unwrap_or_else(|| panic!("{status}")).trim().replace(',', "")
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn messages_of_confluent_kafka_are_read_in_every_codec_from_seven_partitions() {
    let scene = Scene::apache("interop-python", 7);
    let rows = messages(2_000);
    // Null keys go to any partition, and a tombstone and headers come with each codec.
    for (part, codec) in rows.chunks(400).zip(["none", "gzip", "snappy", "lz4", "zstd"]) {
        python("sender.py", &scene, &["plain", codec], part);
    }
    let became = publishes(&scene, &scene.pipeline("dedup = [\"ID\"]"), &rows);
    assert!(became.starts_with("2005 read = 2000 aggregated") && became.ends_with("5 tombstones"), "{became}");
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn messages_of_the_console_producer_are_read_from_a_topic_with_the_brokers_times() {
    let config = [("message.timestamp.type", "LogAppendTime")];
    let scene = Scene::on_brokers(turnstile_testkit::kafka(), "interop-console", 1, &config);
    let rows = messages(500);
    let mut command = turnstile_testkit::kafka_home().tool("ConsoleProducer").unwrap();
    command.args(["--bootstrap-server", &scene.servers, "--topic", &scene.topic, "--compression-codec", "gzip"]);
    for property in
        ["parse.key=true", "key.separator=|", "parse.headers=true", "headers.delimiter=#", "null.marker=NULL"]
    {
        command.args(["--reader-property", property]);
    }
    let lines =
        rows.iter().enumerate().map(|(n, row)| format!("n:{n}#{}|{row}", if n % 2 == 0 { "NULL" } else { "key" }));
    let lines: Vec<String> = lines.chain(["n:x#key|NULL".to_owned()]).collect();
    with_rows(&mut command, &lines);
    let became = publishes(&scene, &scene.pipeline(""), &rows);
    assert!(became.starts_with("501 read = 500 aggregated") && became.ends_with("1 tombstones"), "{became}");
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn rows_of_aborted_transactions_of_javas_client_reach_no_window() {
    let scene = Scene::apache("interop-java", 3);
    let rows = messages(2_000);
    let mut command = turnstile_testkit::kafka_home().program(&client("Sender.java")).unwrap();
    with_rows(command.args([&scene.servers, &scene.topic]), &rows);
    let committed: Vec<String> =
        rows.chunks(100).enumerate().filter(|(n, _)| n % 3 != 1).flat_map(|(_, part)| part.to_vec()).collect();
    let pipeline = scene.pipeline("");
    let became = publishes(&scene, &pipeline, &committed);
    assert!(became.starts_with(&format!("{0} read = {0} aggregated", committed.len())), "{became}");

    // Aborted rows and the transactions' markers have offsets all the same, and a second run finds nothing new.
    let status = scene.turnstile(&["status", pipeline.to_str().unwrap()]);
    let status = text(&status);
    let next = |line: &str| line.split_once(" next ")?.1.split_once(',')?.0.parse::<usize>().ok();
    assert!(status.lines().filter_map(next).sum::<usize>() > rows.len(), "{status}");
    assert_eq!(publishes(&scene, &pipeline, &committed), became);
    assert_eq!(records_behind(&scene, &pipeline), 0);
}

/// The lag of a pipeline, by its ledger.
fn records_behind(scene: &Scene, pipeline: &Path) -> i64 {
    let output = scene.turnstile(&["lag", pipeline.to_str().unwrap(), "--json"]);
    let lag: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    lag["records"].as_i64().unwrap_or_else(|| panic!("{lag}"))
}

/// Case C1.
#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_topic_of_nothing_but_aborted_rows_is_drained_to_its_end_and_has_no_lag() {
    let scene = Scene::apache("interop-aborted", 1);
    let mut command = turnstile_testkit::kafka_home().program(&client("Sender.java")).unwrap();
    with_rows(command.args([&scene.servers, &scene.topic, "all"]), &messages(150));
    let pipeline = scene.pipeline("");
    let output = scene.drain(&pipeline);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(data_files(&scene.lake()), Vec::<PathBuf>::new());
    assert_eq!(records_behind(&scene, &pipeline), 0);
    assert!(scene.audit(&pipeline).contains("all is well"));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_compacted_topic_is_read_over_its_holes() {
    let config = KafkaConfig::default().property("log.cleaner.backoff.ms", 200);
    let broker = KafkaServer::start(&turnstile_testkit::kafka_home(), config).unwrap();
    let config = [("cleanup.policy", "compact"), ("segment.ms", "500"), ("min.cleanable.dirty.ratio", "0.01")];
    let scene = Scene::on_brokers(broker.bootstrap(), "interop-compacted", 1, &config);
    let rows = messages(600);
    let left: Vec<String> = python("sender.py", &scene, &["compacted"], &rows).lines().map(str::to_owned).collect();
    assert!(!left.is_empty() && left.len() < rows.len(), "{} of {} rows are left", left.len(), rows.len());
    let pipeline = scene.pipeline("");
    let became = publishes(&scene, &pipeline, &left);
    assert!(became.starts_with(&format!("{0} read = {0} aggregated", left.len())), "{became}");
    let file = data_files(&scene.lake()).pop().unwrap();
    let name = file.strip_prefix(scene.lake()).unwrap().to_str().unwrap().to_owned();
    let replay = scene.turnstile(&["replay", &name, pipeline.to_str().unwrap(), "--to", "again"]);
    assert!(text(&replay).contains("the same, byte for byte"), "{}", text(&replay));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn confluent_kafka_and_the_originals_steps_read_what_turnstile_produces() {
    for form in ["test-station", "header-row"] {
        let scene = Scene::apache(&format!("interop-{form}"), 3);
        let output = scene.turnstile(&produce(&scene, form, "1", "200", "2023-09-22 14:05:00"));
        assert!(output.status.success(), "{}", text(&output));
        let said = python("original.py", &scene, &["200", form], &[]);
        assert_eq!(said.trim(), "200 messages as the original sends them");
    }
}

/// Arguments that produce `count` messages of `form`, 10 seconds apart.
pub(crate) fn produce<'a>(
    scene: &'a Scene,
    form: &'a str,
    seed: &'a str,
    count: &'a str,
    start: &'a str,
) -> [&'a str; 19] {
    let (topic, servers) = (scene.topic.as_str(), scene.servers.as_str());
    [
        "produce",
        "--topic",
        topic,
        "--bootstrap",
        servers,
        "--provider",
        form,
        "--seed",
        seed,
        "--count",
        count,
        "--start",
        start,
        "--zone",
        "America/New_York",
        "--rate",
        "1000",
        "--speed",
        "10000",
    ]
}

/// Runs `line` on `pipelines/mta-turnstile.toml`, with this scene's topic and lake.
pub(crate) fn main_pipeline(scene: &Scene, line: &[&str]) -> Output {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/mta-turnstile.toml");
    let sets = [
        format!("source.topic={:?}", scene.topic),
        format!("source.kafka={{ \"bootstrap.servers\" = {:?} }}", scene.servers),
        format!("lake.url=\"file:{}\"", scene.lake().display()),
        "stream.idle=\"off\"".to_owned(),
    ];
    let mut arguments = line.to_vec();
    arguments.push(file.to_str().unwrap());
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    scene.turnstile(&arguments)
}

/// Midnight in New York lies in it; each part is sent twice, so that half of the messages are duplicates.
#[test]
#[ignore = "needs servers: cargo xtask test"]
fn the_main_pipeline_publishes_what_the_originals_spark_job_would_without_its_faults() {
    let scene = Scene::apache("interop-oracle", 3);
    let send = |form: &str, seed: &str, count: &str, start: &str| {
        let output = scene.turnstile(&produce(&scene, form, seed, count, start));
        assert!(output.status.success(), "{}", text(&output));
    };
    for (seed, start) in [("1", "2023-09-22 23:40:00"), ("2", "2023-09-22 23:50:00"), ("3", "2023-09-23 00:00:00")] {
        send("test-station", seed, "60", start);
        send("header-row", seed, "20", start);
        send("test-station", seed, "60", start);
    }
    let output = main_pipeline(&scene, &["run", "--drain"]);
    assert!(output.status.success(), "{}", text(&output));
    let said = python("oracle.py", &scene, &["420", scene.lake().to_str().unwrap()], &[]);
    assert!(said.contains(" rows in 6 windows agree; 180 duplicates, 60 without a time"), "{said}");

    let status = text(&main_pipeline(&scene, &["status"]));
    let became = "420 read = 180 aggregated + 0 filtered + 180 duplicate + 0 late + 60 dead_lettered + 0 tombstones";
    assert!(status.contains(became), "{status}");
}
