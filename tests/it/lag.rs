//! How far a pipeline is behind, by its ledger and by its group.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::scene::{PATIENCE, Scene, finish, messages, signal, text, until};

fn lag(scene: &Scene, flags: &[&str]) -> Value {
    let output = scene.turnstile(&[&["lag", "--json"], flags].concat());
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn lag_counts_what_a_pipeline_has_not_read_and_how_long_it_has_waited() {
    let scene = Scene::embedded(2);
    let messages = messages(300);
    scene.send(messages[..200].iter().map(String::as_bytes));
    let pipeline = scene.pipeline("");
    let pipeline = pipeline.to_str().unwrap();
    assert!(scene.turnstile(&["run", pipeline, "--until-end"]).status.success());
    let caught_up = lag(&scene, &[pipeline]);
    assert_eq!((&caught_up["records"], &caught_up["seconds"]), (&0.into(), &0.0.into()));
    assert_eq!(caught_up["catch_up"], "nothing is left to read");

    scene.send(messages[200..].iter().map(String::as_bytes));
    let behind = lag(&scene, &[pipeline]);
    assert_eq!(behind["records"], 100, "{behind}");
    let seconds = behind["seconds"].as_f64().unwrap();
    assert!(seconds > 0.0 && seconds < 120.0, "{behind}");
    // Nothing is running that could catch up, and no figure is made up for it.
    assert_eq!(
        (&behind["catch_up_seconds"], &behind["catch_up"]),
        (&Value::Null, &"unknown: the pipeline is not running".into())
    );

    let url = format!("file:{}", scene.lake().display());
    let named = lag(&scene, &["--pipeline", "story", "--lake", &url, "--bootstrap", &scene.servers]);
    assert_eq!(named["records"], 100);
    let by_group = lag(&scene, &["--group", "story", "--topic", "city", "--bootstrap", &scene.servers]);
    assert_eq!(by_group["records"], 100, "the group's committed offsets agree with the ledger: {by_group}");
    let shown = scene.turnstile(&["lag", pipeline]);
    let whole = String::from_utf8_lossy(&shown.stdout).lines().find(|line| line.starts_with("all")).map(str::to_owned);
    assert!(whole.is_some_and(|line| line.contains(" 100 ")), "{}", text(&shown));
}

#[test]
fn without_a_broker_lag_tells_what_the_ledger_knows_and_exits_with_4() {
    let scene = Scene::embedded(2);
    scene.send(messages(200).iter().map(String::as_bytes));
    let pipeline = scene.pipeline("");
    let pipeline = pipeline.to_str().unwrap();
    assert!(scene.turnstile(&["run", pipeline, "--until-end"]).status.success());
    let nowhere = "source.kafka={ \"bootstrap.servers\" = \"127.0.0.1:1\" }";
    let began = Instant::now();
    let output = scene.turnstile(&["lag", pipeline, "--json", "--set", nowhere]);
    assert!(began.elapsed() < Duration::from_secs(25), "it waits less than other verbs");
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    let known: Value = serde_json::from_slice(&output.stdout).unwrap();
    let next: i64 = known["partitions"].as_array().unwrap().iter().map(|p| p["next"].as_i64().unwrap()).sum();
    assert_eq!((next, &known["records"]), (200, &Value::Null), "{known}");
    assert!(known["commit"].is_u64() && known["committed_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{known}");
    let output = scene.turnstile(&["lag", pipeline, "--connect-timeout", "1", "--set", nowhere]);
    for said in ["as of commit ", "; the pipeline is not running", "lag: unknown: ", "error: "] {
        assert!(text(&output).contains(said), "{said}: {}", text(&output));
    }
}

#[test]
fn a_running_pipeline_s_rate_is_computed_from_its_commits_and_watching_ends_with_ctrl_c() {
    let scene = Scene::embedded(1);
    let pipeline = scene.pipeline("commit = \"200 ms\"");
    let pipeline = pipeline.to_str().unwrap();
    let run = scene.spawn(&["run", pipeline, "--json"], &[]);
    let line = ["produce", "--topic", "city", "--bootstrap", &scene.servers, "--provider", "city", "--rate", "400"];
    let producer = scene.spawn(&line, &[]);
    let mut watch = scene.spawn(&["lag", pipeline, "--watch", "--json"], &[]);
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let began = Instant::now();
    // The ledger is there once the pipeline has begun, and a speed once it has committed for two seconds.
    let known = loop {
        let Some(Ok(line)) = lines.next() else {
            // It came before the ledger: so would a person who is quick.
            let _ = watch.wait();
            assert!(began.elapsed() < PATIENCE, "the pipeline never had a ledger");
            std::thread::sleep(Duration::from_millis(200));
            watch = scene.spawn(&["lag", pipeline, "--watch", "--json"], &[]);
            lines = BufReader::new(watch.stdout.take().unwrap()).lines();
            continue;
        };
        let report: Value = serde_json::from_str(&line).unwrap();
        if report["read_per_second"].as_f64().is_some_and(|rate| rate > 0.0) {
            break report;
        }
        assert!(began.elapsed() < PATIENCE, "no rate was reported: {report}");
    };
    assert!(known["growth_per_second"].as_f64().unwrap() > 0.0, "{known}");
    assert!(known["catch_up"].as_str().is_some_and(|text| !text.starts_with("unknown")), "{known}");
    signal(&watch, "INT");
    assert!(lines.all(|line| line.is_ok()) && watch.wait().unwrap().success());
    for child in [producer, run] {
        signal(&child, "INT");
        let output = finish(child);
        assert!(output.status.success(), "{}", text(&output));
    }
}

#[test]
fn a_group_that_has_committed_nothing_and_a_pipeline_that_was_never_run_are_distinguished_from_no_lag() {
    let scene = Scene::embedded(1);
    scene.send([&b"x"[..]]);
    let unread = lag(&scene, &["--group", "unread", "--topic", "city", "--bootstrap", &scene.servers]);
    assert_eq!(
        (&unread["records"], &unread["catch_up"]),
        (&Value::Null, &"unknown: the group has committed no offset".into())
    );
    // No reader is named, or the brokers are named twice.
    for line in [&["lag"][..], &["lag", "story.toml", "--bootstrap", &scene.servers]] {
        let output = scene.turnstile(line);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    }
    std::fs::create_dir_all(scene.lake()).unwrap();
    let never = scene.turnstile(&["lag", scene.pipeline("").to_str().unwrap()]);
    assert!(!never.status.success() && text(&never).contains("no ledger of \"story\""), "{}", text(&never));
}

#[test]
fn a_pipeline_is_unhealthy_when_it_has_ended_or_has_not_committed_for_too_long_and_was_not_idle() {
    for (idle, healthy_after_a_second) in [("300 ms", true), ("1 hour", false)] {
        let scene = Scene::embedded(1);
        scene.send(messages(200).iter().map(String::as_bytes));
        let pipeline = scene.pipeline(&format!("idle = \"{idle}\""));
        let pipeline = pipeline.to_str().unwrap();
        let is_healthy = |age: &str| {
            let output = scene.turnstile(&["status", pipeline, "--max-age", age]);
            let code = output.status.code().unwrap();
            assert_ne!(code, 2, "{}", text(&output));
            code == 0
        };
        let run = scene.spawn(&["run", pipeline], &[]);
        // Before it starts there is no ledger, and it is not healthy either.
        until("it runs", || is_healthy("1h"));
        let all_read = || lag(&scene, &[pipeline])["records"] == 0;
        until("everything is read", all_read);
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!((is_healthy("1s"), is_healthy("1h")), (healthy_after_a_second, true), "idle after {idle}");
        signal(&run, "TERM");
        assert!(finish(run).status.success());
        assert!(!is_healthy("1h"), "it was ended");
    }
}

/// Group, topic, partition, current offset, log end, lag: what lag exporters read too.
fn described(scene: &Scene, group: &str) -> Vec<(i64, i64, i64)> {
    let mut tool = turnstile_testkit::kafka_home().tool("consumer.group.ConsumerGroupCommand").unwrap();
    let output = tool.args(["--bootstrap-server", &scene.servers, "--describe", "--group", group]).output().unwrap();
    let described = text(&output);
    let mut rows: Vec<(i64, i64, i64, i64)> = described
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|row| row.first() == Some(&group))
        .map(|row| {
            let number = |at: usize| row[at].parse().unwrap_or_else(|_| panic!("{described}"));
            (number(2), number(3), number(4), number(5))
        })
        .collect();
    rows.sort_unstable();
    assert!(!rows.is_empty(), "{described}");
    rows.into_iter().map(|(_, current, end, lag)| (current, end, lag)).collect()
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn kafka_consumer_groups_shows_the_true_position_of_a_pipeline_after_a_run() {
    let scene = Scene::apache("group-position", 2);
    let messages = messages(500);
    scene.send(messages[..300].iter().map(String::as_bytes));
    let pipeline = scene.pipeline("");
    let pipeline = pipeline.to_str().unwrap();
    // A group named by the client's settings, and the pipeline's own name where they name none.
    let group = format!("{}-readers", scene.topic);
    let servers = &scene.servers;
    let kafka = format!("source.kafka={{ \"bootstrap.servers\" = \"{servers}\", \"group.id\" = \"{group}\" }}");
    let named = format!("name={}", scene.topic);
    let run = |more: &[&str]| scene.turnstile(&[&["run", pipeline, "--set", &named], more].concat());
    let first = run(&["--set", &kafka, "--until-end"]);
    assert!(first.status.success(), "{}", text(&first));
    let after_first = described(&scene, &group);
    assert!(after_first.iter().all(|(current, end, lag)| current == end && *lag == 0), "{after_first:?}");
    assert_eq!(after_first.iter().map(|(current, ..)| current).sum::<i64>(), 300);

    scene.send(messages[300..].iter().map(String::as_bytes));
    let behind = described(&scene, &group);
    assert_eq!(behind.iter().map(|(.., lag)| lag).sum::<i64>(), 200, "{behind:?}");
    let second = run(&["--drain"]);
    assert!(second.status.success(), "{}", text(&second));
    let by_name = described(&scene, &scene.topic);
    assert_eq!(
        by_name.iter().map(|(current, _, lag)| (current, lag)).fold((0, 0), |s, (c, l)| (s.0 + c, s.1 + l)),
        (500, 0)
    );
    let ours = lag(&scene, &[pipeline, "--set", &named]);
    assert_eq!(ours["records"], 0, "{ours}");
}
