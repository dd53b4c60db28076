//! Killed at any moment, the lake ends up as if nothing had happened.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use crate::scene::{Rows, Scene, expected, finish, messages, text};

/// A stream of one partition, so that no interleaving can decide what is late.
fn scene(messages: &[String]) -> Scene {
    let scene = Scene::embedded(1);
    scene.send(messages.iter().map(String::as_bytes));
    scene
}

#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs the feature failpoints: cargo xtask test")]
fn killed_at_every_step_of_the_commit_protocol_the_lake_is_the_undisturbed_one() {
    let messages = messages(400);
    let expected: Rows = expected(&messages);
    for step in lake::CRASH_STEPS {
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

#[test]
fn killed_at_fifty_moments_the_lake_is_the_undisturbed_one() {
    let messages = messages(6_000);
    let scene = scene(&messages);
    let pipeline = scene.pipeline("dedup = [\"ID\"]\ncommit = { every = \"5 ms\", rows = 50 }");
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    for _ in 0..50 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = scene.spawn(&["run", pipeline.to_str().unwrap()], &[]);
        std::thread::sleep(Duration::from_millis(20 + (state >> 33) % 400));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = scene.drain(&pipeline);
    assert!(last.status.success(), "{}", text(&last));
    assert_eq!(scene.rows(), expected(&messages));
    assert!(scene.audit(&pipeline).contains("all is well"));
}

#[test]
fn killed_at_any_moment_every_message_of_several_partitions_is_in_exactly_one_term() {
    let messages = messages(6_000);
    let scene = Scene::embedded(3);
    scene.send(messages.iter().map(String::as_bytes));
    // Partitions are read at their own pace, so which rows are late differs from run to run.
    let pipeline =
        scene.pipeline("dedup = [\"ID\"]\nwatermark = \"0 seconds\"\ncommit = { every = \"5 ms\", rows = 50 }");
    let twice = std::fs::read_to_string(&pipeline).unwrap().replacen("watermark = \"5 minutes\"\n", "", 1);
    std::fs::write(&pipeline, twice).unwrap();
    for wait in (0..20).map(|i| 30 + i * 17) {
        let mut child = scene.spawn(&["run", pipeline.to_str().unwrap()], &[]);
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = scene.drain(&pipeline);
    assert!(last.status.success(), "{}", text(&last));
    assert!(scene.audit(&pipeline).contains("all is well"));
    let status = scene.turnstile(&["status", pipeline.to_str().unwrap(), "--json"]);
    let slot: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let count = |name: &str| slot["counters"][name].as_u64().unwrap_or_default();
    assert_eq!(count("read"), 6_000, "{}", slot["counters"]);
    assert_eq!(count("aggregated") + count("late"), 6_000, "{}", slot["counters"]);
    let published: i64 = scene.rows().values().map(|row| row.2).sum();
    assert_eq!(published as u64, count("aggregated"), "each aggregated message is in one published window");
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
