//! `turnstile consume`, as the tool of somebody who looks for a message.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::SecondsFormat;
use parking_lot::Mutex;
use serde_json::Value;

use crate::scene::{PATIENCE, Scene, finish, messages, signal, text, until};

fn consumed(scene: &Scene, flags: &[&str]) -> Vec<Value> {
    let line = ["consume", "--topic", &scene.topic, "--bootstrap", &scene.servers, "--json"];
    let output = scene.turnstile(&[&line[..], flags].concat());
    assert!(output.status.success(), "{}", text(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn offsets(messages: &[Value]) -> Vec<i64> {
    messages.iter().map(|message| message["offset"].as_i64().unwrap()).collect()
}

fn reading_starts_at_the_given_position(scene: &Scene) {
    scene.send((0..10).map(|n| [&b"a"[..], b"b", b"c"][n % 3]));
    std::thread::sleep(Duration::from_millis(1_100));
    let between = chrono::Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
    scene.send([&b"late one"[..], b"late two"]);
    let all = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
    for (place, expected) in [
        ("beginning", &all[..]),
        ("end", &[]),
        ("end-3", &all[9..]),
        ("end-99", &all),
        ("8", &all[8..]),
        (&between, &all[10..]),
        ("2099-01-01T00:00:00Z", &[]),
    ] {
        let found = consumed(scene, &["--from", place, "--until-end", "--partition", "0"]);
        assert_eq!(offsets(&found), expected, "{place}");
    }
    let beyond = ["consume", "--topic", &scene.topic, "--bootstrap", &scene.servers, "--from", "13", "--until-end"];
    let output = scene.turnstile(&beyond);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(text(&output).contains("does not hold offset 13: it holds 0..=11"), "{}", text(&output));
    let missing = ["consume", "--topic", &scene.topic, "--bootstrap", &scene.servers, "--partition", "7"];
    let output = scene.turnstile(&missing);
    assert!(text(&output).contains("has no partition 7"), "{}", text(&output));
}

#[test]
fn reading_starts_at_the_given_position_on_the_embedded_broker() {
    reading_starts_at_the_given_position(&Scene::embedded(1));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn reading_starts_at_the_given_position_on_apache_kafka() {
    reading_starts_at_the_given_position(&Scene::apache("consume-from", 1));
}

/// Both topics' lives go on while somebody looks at them.
fn a_topic_that_grows_is_followed_and_one_that_goes_ends_it(scene: &Scene) {
    scene.send([&b"old"[..]]);
    let line = ["consume", "--topic", &scene.topic, "--bootstrap", &scene.servers, "--json"];
    let follow = || {
        let mut follower = scene.spawn(&line, &[]);
        let (printed, notes) = (lines_of(&mut follower), crate::trouble::lines(&mut follower));
        until("something is printed", || !printed.lock().is_empty());
        (follower, printed, notes)
    };
    let (mut follower, printed, notes) = follow();
    crate::topics::grow(scene, 2);
    let value = crate::topics::send_to_partition(scene, 1);
    crate::trouble::wait_for(&notes, "[1] was added; it is read from its beginning");
    let is_new = |message: &Value| message["partition"] == 1 && message["value"] == value;
    until("the new partition is read", || printed.lock().iter().any(is_new));
    turnstile_kafka::TopicAdmin::open(&scene.client()).unwrap().delete(&scene.topic).unwrap();
    crate::trouble::wait_for(&notes, "was deleted while it was read");
    assert_eq!(follower.wait().unwrap().code(), Some(5));

    crate::topics::create(scene, &scene.topic, 1);
    scene.send([&b"new"[..]]);
    let (mut follower, _, notes) = follow();
    signal(&follower, "STOP");
    turnstile_kafka::TopicAdmin::open(&scene.client()).unwrap().delete(&scene.topic).unwrap();
    crate::topics::create(scene, &scene.topic, 1);
    scene.send([&b"newer"[..], b"newest"]);
    signal(&follower, "CONT");
    crate::trouble::wait_for(&notes, "was deleted and recreated while it was read");
    assert_eq!(follower.wait().unwrap().code(), Some(5));
}

#[test]
fn a_topic_of_the_embedded_broker_that_grows_is_followed_and_one_that_goes_ends_it() {
    a_topic_that_grows_is_followed_and_one_that_goes_ends_it(&Scene::embedded(1));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_topic_of_apache_kafka_that_grows_is_followed_and_one_that_goes_ends_it() {
    a_topic_that_grows_is_followed_and_one_that_goes_ends_it(&Scene::apache("consume-life", 1));
}

#[test]
fn messages_are_found_by_key_and_by_text_and_counted() {
    let scene = Scene::embedded(3);
    let messages = messages(600);
    scene.send(messages.iter().map(String::as_bytes));
    let found = consumed(&scene, &["--until-end", "--filter", ",id-7,"]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["value"], messages[7].as_str());
    let key = "A003,R003,00-00-00";
    let found = consumed(&scene, &["--until-end", "--key", key]);
    assert_eq!(found.len(), 50);
    assert!(found.iter().all(|message| message["key"] == key));
    for flag in ["--count", "--max"] {
        assert_eq!(consumed(&scene, &["--key", key, flag, "4"]).len(), 4);
    }
    assert!(consumed(&scene, &["--until-end", "--count", "0"]).is_empty());
}

#[test]
fn a_pipeline_s_schema_decodes_messages_and_says_what_is_wrong_with_others() {
    let scene = Scene::embedded(1);
    let good = messages(1).remove(0);
    scene.send([good.as_bytes(), b"A,B", b"\xFF\xFE"]);
    let pipeline = scene.pipeline("");
    let pipeline = pipeline.to_str().unwrap();
    let found = consumed(&scene, &["--until-end", "--pipeline", pipeline]);
    assert_eq!(found[0]["fields"]["STATION"], "STATION 0");
    assert_eq!(found[0]["fields"]["TIMESTAMP"], "2026-08-01T00:00:00+00:00");
    assert_eq!(found[1]["rejected"]["reason"], "fields");
    assert_eq!((&found[2]["rejected"]["reason"], &found[2]["value_base64"]), (&"not-utf8".into(), &"//4=".into()));

    let line = ["consume", "--topic", "city", "--bootstrap", &scene.servers, "--until-end", "--pipeline", pipeline];
    let output = scene.turnstile(&line);
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{}", text(&output));
    assert!(lines[0].starts_with("partition\toffset\ttimestamp\tkey\tCA\tUNIT\t"), "{}", lines[0]);
    assert!(lines[2].contains("rejected, fields in SCP: expected 13 fields, found 2; the value: A,B"), "{}", lines[2]);
    assert!(lines[3].contains("\\xFF\\xFE"), "{}", lines[3]);
    assert!(text(&output).contains("3 messages from \"city\""), "{}", text(&output));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn headers_nulls_and_bytes_of_another_client_are_shown_exactly() {
    let scene = Scene::apache("consume-headers", 1);
    let script = "\
import sys
from confluent_kafka import Producer
producer = Producer({'bootstrap.servers': sys.argv[1]})
producer.produce(sys.argv[2], key=b'k', value=None, headers=[('trace', b'a1'), ('trace', None)])
producer.produce(sys.argv[2], value=b'\\xff', headers=[('bytes', b'\\xfe')])
producer.produce(sys.argv[2], key=b'', value=b'')
sys.exit(producer.flush(60))
";
    let mut python = Command::new(turnstile_testkit::python());
    let produced = python.args(["-c", script, &scene.servers, &scene.topic]).output().unwrap();
    assert!(produced.status.success(), "{}", text(&produced));
    let found = consumed(&scene, &["--until-end"]);
    assert_eq!((&found[0]["key"], &found[0]["value"]), (&"k".into(), &Value::Null));
    let headers = serde_json::json!([{ "name": "trace", "value": "a1" }, { "name": "trace", "value": null }]);
    assert_eq!(found[0]["headers"], headers);
    assert_eq!((&found[1]["key"], &found[1]["value_base64"]), (&Value::Null, &"/w==".into()));
    assert_eq!(found[1]["headers"][0]["value_base64"], "/g==");
    assert_eq!((&found[2]["key"], &found[2]["value"]), (&"".into(), &"".into()));
    assert_eq!(found[2]["timestamp_type"], "create");
}

/// Members of a group that come one after the other: each goes on where the one before stopped.
fn a_group_goes_on_where_its_last_member_stopped(scene: &Scene) {
    let messages = messages(400);
    scene.send(messages.iter().map(String::as_bytes));
    let group = format!("{}-group", scene.topic);
    let line = ["consume", "--topic", &scene.topic, "--bootstrap", &scene.servers, "--json", "--groupid", &group];
    // The first member stops in the middle; the second goes on from there.
    let first = finish(scene.spawn(&[&line[..], &["--count", "150"]].concat(), &[]));
    assert!(text(&first).contains("150 messages from"), "{}", text(&first));
    let second = finish(scene.spawn(&[&line[..], &["--until-end"]].concat(), &[]));
    let mut seen: Vec<String> = [&first, &second]
        .iter()
        .flat_map(|output| {
            String::from_utf8(output.stdout.clone()).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .map(|line| serde_json::from_str::<Value>(&line).unwrap()["value"].as_str().unwrap().to_owned())
        .collect();
    seen.sort();
    let mut expected = messages.clone();
    expected.sort();
    assert_eq!(seen, expected, "each message once; {}", text(&second));
    let third = finish(scene.spawn(&[&line[..], &["--until-end"]].concat(), &[]));
    assert!(third.stdout.is_empty(), "{}", text(&third));
    let again = finish(scene.spawn(&[&line[..], &["--until-end", "--from", "beginning"]].concat(), &[]));
    assert_eq!(String::from_utf8(again.stdout).unwrap().lines().count(), 400);
}

/// Collects a child's lines as they come.
fn lines_of(child: &mut Child) -> Arc<Mutex<Vec<Value>>> {
    let (lines, stdout) = (Arc::new(Mutex::new(Vec::new())), BufReader::new(child.stdout.take().unwrap()));
    let seen = lines.clone();
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            seen.lock().push(serde_json::from_str(&line).unwrap());
        }
    });
    lines
}

/// A second member takes over some of the partitions while both are running; nothing is left unread.
fn a_second_member_takes_its_share(scene: &Scene) {
    let group = format!("{}-share", scene.topic);
    let line = ["consume", "--topic", &scene.topic, "--bootstrap", &scene.servers, "--json", "--groupid", &group];
    let (mut members, mut lines) = (Vec::new(), Vec::new());
    let (began, mut sent) = (Instant::now(), 0);
    // Messages keep coming until the newest member has printed some.
    while lines.len() < 2 || lines.iter().any(|seen: &Arc<Mutex<Vec<Value>>>| seen.lock().is_empty()) {
        assert!(began.elapsed() < PATIENCE, "a member was handed nothing");
        if lines.iter().all(|seen: &Arc<Mutex<Vec<Value>>>| !seen.lock().is_empty()) {
            let mut member = scene.spawn(&line, &[]);
            lines.push(lines_of(&mut member));
            members.push(member);
        }
        let more: Vec<String> = (sent..sent + 20).map(|n| format!("key {n},,,value {n}")).collect();
        scene.send(more.iter().map(String::as_bytes));
        sent += 20;
        std::thread::sleep(Duration::from_millis(100));
    }
    let all = || -> BTreeSet<String> {
        let of = |seen: &Arc<Mutex<Vec<Value>>>| -> Vec<String> {
            seen.lock().iter().map(|message| message["value"].as_str().unwrap().to_owned()).collect()
        };
        lines.iter().flat_map(of).collect()
    };
    while all().len() < sent {
        assert!(began.elapsed() < PATIENCE, "{} of {sent} messages were printed", all().len());
        std::thread::sleep(Duration::from_millis(50));
    }
    for mut member in members {
        signal(&member, "INT");
        assert!(member.wait().unwrap().success());
    }
}

#[test]
fn a_second_member_takes_its_share_on_the_embedded_broker() {
    a_second_member_takes_its_share(&Scene::embedded(4));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_second_member_takes_its_share_on_apache_kafka() {
    a_second_member_takes_its_share(&Scene::apache("consume-share", 4));
}

#[test]
fn a_group_goes_on_where_its_last_member_stopped_on_the_embedded_broker() {
    a_group_goes_on_where_its_last_member_stopped(&Scene::embedded(2));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_group_goes_on_where_its_last_member_stopped_on_apache_kafka() {
    let scene = Scene::apache("consume-group", 2);
    a_group_goes_on_where_its_last_member_stopped(&scene);
    let mut tool = turnstile_testkit::kafka_home().tool("consumer.group.ConsumerGroupCommand").unwrap();
    let group = format!("{}-group", scene.topic);
    let output = tool.args(["--bootstrap-server", &scene.servers, "--describe", "--group", &group]).output().unwrap();
    let described = text(&output);
    let rows: Vec<Vec<&str>> = described
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|row| row.first() == Some(&group.as_str()))
        .collect();
    assert_eq!(rows.len(), 2, "{described}");
    assert!(rows.iter().all(|row| row[5] == "0"), "the lag of each partition is 0: {described}");
}
