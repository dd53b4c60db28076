//! Killed at any moment, the lake ends up as if nothing had happened.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use turnstile_kafka::{Producer, ProducerLimits};

use crate::scene::{Rows, Scene, data_files, expected, finish, messages, record, text, unpack};

/// A stream of one partition, so that no interleaving can decide what is late.
fn scene(messages: &[String]) -> Scene {
    let scene = Scene::embedded(1);
    scene.send(messages.iter().map(String::as_bytes));
    scene
}

#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs the feature failpoints: cargo xtask test")]
fn killed_at_every_step_of_the_commit_protocol_the_lake_is_that_of_an_undisturbed_run() {
    let messages = messages(400);
    let expected: Rows = expected(&messages);
    for step in turnstile_lake::CRASH_STEPS {
        let scene = scene(&messages);
        let pipeline = scene.pipeline("dedup = [\"ID\"]\ncommit = { rows = 100 }");
        let run = ["run", pipeline.to_str().unwrap(), "--drain"];
        let mut crashes = 0;
        for nth in ["1", "2", "3"] {
            let at = format!("{step}:{nth}");
            let crashed = finish(scene.spawn(&run, &[("TURNSTILE_CRASH_AT", &at)]));
            crashes += u32::from(!crashed.status.success());
        }
        // Steps of rare work, such as rolling up old commits, are reached in the ledger's own tests.
        let rare = ["garbage", "history", "roll"].iter().any(|word| step.contains(word));
        assert!(crashes > 0 || rare, "{step} was never reached");
        let last = scene.turnstile(&run);
        assert!(last.status.success(), "after {step}: {}", text(&last));
        assert_eq!(scene.rows(), expected, "after {step}");
        assert!(scene.audit(&pipeline).contains("all is well"), "after {step}");
    }
}

/// What the ledger held after a kill, and what the topic did.
#[derive(Debug, Clone, Copy, Default)]
struct Killed {
    seq: u64,
    /// Messages behind the newest commit's positions.
    committed: usize,
    /// Messages in the topic.
    sent: usize,
}

/// Starts the pipeline `kills` times and kills it while messages come: a third of each share is there at the start, the
/// others come in small pieces, the last of them right before the kill, so that commits are small and many.
fn killed_while_messages_come(scene: &Scene, pipeline: &Path, messages: &[String], kills: usize) -> Vec<Killed> {
    let limits = ProducerLimits { linger: Duration::ZERO, ..ProducerLimits::default() };
    let producer = Producer::open(&scene.client(), limits).unwrap();
    let send = |messages: &[String]| {
        messages.iter().for_each(|m| producer.send(&scene.topic, &record(m)).unwrap());
        // `flush` looks every 100 ms: too long for a pipeline that is to be killed at work.
        while producer.stats().outstanding() > 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
        assert_eq!(producer.stats().failed, 0);
    };
    let mut random = 0x9E37_79B9_7F4A_7C15u64;
    let mut sent = 0;
    let mut found = Vec::new();
    for share in messages.chunks(messages.len().div_ceil(kills)) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let wait = Duration::from_millis(20 + (random >> 33) % 400);
        let (first, rest) = share.split_at(share.len() / 3);
        send(first);
        let mut child = scene.spawn(&["run", pipeline.to_str().unwrap()], &[]);
        for piece in rest.chunks(4) {
            std::thread::sleep(wait * piece.len() as u32 / rest.len() as u32);
            send(piece);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        sent += share.len();
        found.push(Killed { sent, ..newest(scene, pipeline) });
    }
    // Otherwise a story of kills is one of starts.
    let before = std::iter::once(Killed::default()).chain(found.iter().copied());
    let unfinished = found.iter().filter(|now| now.committed < now.sent).count();
    let between_commits = before.zip(&found).filter(|(before, now)| {
        // A start adds a slot.
        now.seq > before.seq + 2 && now.committed < now.sent
    });
    let between_commits = between_commits.count();
    assert!(unfinished * 5 >= kills * 3, "{unfinished} of {kills} kills found work unfinished: {found:?}");
    assert!(between_commits * 5 >= kills, "{between_commits} of {kills} kills came between commits: {found:?}");
    found
}

/// The newest commit; nothing when there is none.
fn newest(scene: &Scene, pipeline: &Path) -> Killed {
    let status = scene.turnstile(&["status", pipeline.to_str().unwrap(), "--json"]);
    let Ok(slot) = serde_json::from_slice::<serde_json::Value>(&status.stdout) else { return Killed::default() };
    let positions = slot["positions"].as_array().unwrap();
    let committed = positions.iter().map(|p| p["next_offset"].as_u64().unwrap() as usize).sum();
    Killed { seq: slot["seq"].as_u64().unwrap(), committed, sent: 0 }
}

#[test]
fn killed_at_fifty_moments_the_lake_is_that_of_an_undisturbed_run() {
    let messages = messages(6_000);
    let scene = Scene::embedded(1);
    let pipeline = scene.pipeline("dedup = [\"ID\"]\ncommit = { every = \"5 ms\", rows = 50 }");
    let found = killed_while_messages_come(&scene, &pipeline, &messages, 50);
    assert_eq!(found.len(), 50);
    let last = scene.drain(&pipeline);
    assert!(last.status.success(), "{}", text(&last));
    assert_eq!(scene.rows(), expected(&messages));
    assert!(scene.audit(&pipeline).contains("all is well"));
}

#[test]
fn killed_at_any_moment_every_message_of_several_partitions_is_in_exactly_one_term() {
    let messages = messages(6_000);
    let scene = Scene::embedded(3);
    // Partitions are read at their own pace, so which rows are late differs from run to run.
    let stream = "dedup = [\"ID\"]\nwatermark = \"0 seconds\"\ncommit = { every = \"5 ms\", rows = 50 }";
    let by_id = "SELECT ID, count(*) AS N FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes'), ID";
    let pipeline = scene.pipeline_with(stream, "", by_id);
    let once = std::fs::read_to_string(&pipeline).unwrap().replacen("watermark = \"5 minutes\"\n", "", 1);
    std::fs::write(&pipeline, once).unwrap();
    killed_while_messages_come(&scene, &pipeline, &messages, 20);
    let last = scene.drain(&pipeline);
    assert!(last.status.success(), "{}", text(&last));
    assert!(scene.audit(&pipeline).contains("all is well"));

    let mut found: Vec<String> = Vec::new();
    for file in data_files(&scene.lake()) {
        for line in unpack(&file).lines().skip(1) {
            let (id, n) = line.split_once(',').unwrap();
            found.extend(std::iter::repeat_n(id.to_owned(), n.parse().unwrap()));
        }
    }
    let published = found.len() as u64;
    let letters = scene.turnstile(&["deadletter", "show", pipeline.to_str().unwrap(), "--json"]);
    for line in String::from_utf8(letters.stdout).unwrap().lines() {
        let letter: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(letter["reason"].as_str().unwrap().starts_with("late"), "{letter}");
        found.push(id(letter["value"].as_str().unwrap()));
    }
    found.sort();
    let mut sent: Vec<String> = messages.iter().map(|message| id(message)).collect();
    sent.sort();
    assert!(found == sent, "published and dead letters are not what was sent: {}", difference(&found, &sent));

    let status = scene.turnstile(&["status", pipeline.to_str().unwrap(), "--json"]);
    let slot: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let count = |name: &str| slot["counters"][name].as_u64().unwrap_or_default();
    assert_eq!(count("read"), 6_000, "{}", slot["counters"]);
    assert_eq!(count("aggregated"), published, "{}", slot["counters"]);
    assert_eq!(count("late"), 6_000 - published, "{}", slot["counters"]);
}

fn id(message: &str) -> String {
    message.split(',').nth(11).unwrap().to_owned()
}

/// How often each was found and sent, of those that differ.
fn difference(found: &[String], sent: &[String]) -> String {
    let mut times: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    found.iter().for_each(|id| times.entry(id).or_default().0 += 1);
    sent.iter().for_each(|id| times.entry(id).or_default().1 += 1);
    times.retain(|_, (found, sent)| found != sent);
    format!("{times:?}")
}

#[test]
fn a_killed_broker_has_every_message_that_it_acknowledged() {
    let scene = Scene::embedded(1);
    let (address, dir) = ("127.0.0.1:0", "broker-data");
    let start = |address: &str| {
        let mut broker = scene.spawn(&["broker", "--listen", address, "--dir", dir], &[]);
        let mut lines = BufReader::new(broker.stdout.take().unwrap()).lines();
        let address = lines.next().expect("the broker prints its address").unwrap();
        (broker, address)
    };
    let (mut broker, address) = start(address);
    let made = scene.turnstile(&["topic", "create", "kept", "--partitions", "2", "--bootstrap", &address]);
    assert!(made.status.success(), "{}", text(&made));
    for round in 1..=3 {
        let count = "5000";
        let produced = scene.turnstile(&[
            "produce",
            "--topic",
            "kept",
            "--bootstrap",
            &address,
            "--provider",
            "city",
            "--rate",
            "max",
            "--count",
            count,
        ]);
        assert!(produced.status.success(), "{}", text(&produced));
        broker.kill().unwrap();
        broker.wait().unwrap();
        broker = start(&address).0;
        let read = scene.turnstile(&[
            "consume",
            "--topic",
            "kept",
            "--bootstrap",
            &address,
            "--from",
            "beginning",
            "--until-end",
        ]);
        let lines = String::from_utf8_lossy(&read.stdout).lines().count();
        assert_eq!(lines, round * 5_000, "round {round}: {}", String::from_utf8_lossy(&read.stderr));
    }
    broker.kill().unwrap();
    broker.wait().unwrap();
}
