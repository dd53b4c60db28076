//! What `--json` prints, of every verb that has it: docs/command-line.md.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};

use serde_json::Value;

use crate::scene::{Scene, signal, text};

/// Integers beyond this are changed by JavaScript and jq.
const EXACT: i64 = 1 << 53;
/// No count of this story reaches it, and every instant since 1974 in milliseconds or microseconds does.
const INSTANT: i64 = 100_000_000_000;

/// Keys of durations, which are numbers.
const DURATIONS: [&str; 4] = ["took_ms", "size_us", "slide_us", "offset_us"];

/// Whether `text` is an instant in the one form: RFC 3339 in UTC, with no fraction, milliseconds or microseconds.
fn is_instant(text: &str) -> bool {
    let Some(seconds) = text.strip_suffix('Z') else { return false };
    let fraction = seconds.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    chrono::DateTime::parse_from_rfc3339(text).is_ok() && text.contains('T') && [0, 3, 6].contains(&fraction)
}

fn check_member(path: &str, key: &str, value: &Value) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| check_member(&format!("{path}.{key}"), key, value))
        }
        Value::Array(values) => values.iter().for_each(|value| check_member(path, key, value)),
        Value::Number(number) => {
            let whole = number.as_i64();
            assert!(number.is_f64() || whole.is_some_and(|n| n.abs() <= EXACT), "{path} is beyond 2^53: {number}");
            assert!(whole.is_none_or(|n| n.abs() < INSTANT), "{path} may be an instant: {number}");
            let has_unit = key.ends_with("_us") || key.ends_with("_ms");
            assert!(!has_unit || DURATIONS.contains(&key), "{path} is no duration: {number}");
        }
        Value::String(text) => {
            let begins_as_a_time = text.len() > 13 && {
                let shape: String =
                    text[..13].chars().map(|c| if c.is_ascii_digit() { '9' } else { c.to_ascii_uppercase() }).collect();
                shape == "9999-99-99T99" || shape == "9999-99-99 99"
            };
            assert!(!begins_as_a_time || is_instant(text), "{path} is not in the one form of times: {text}");
            let is_named_as_a_time = ["at", "timestamp", "watermark", "start", "end"].contains(&key)
                || key.ends_with("_at") && key != "resumed_at";
            assert!(!is_named_as_a_time || is_instant(text), "{path} is no time: {text}");
        }
        Value::Bool(_) | Value::Null => {}
    }
}

/// Checks what a command printed: JSON objects, one a line.
fn check_lines(verb: &str, lines: &str) {
    assert!(!lines.trim().is_empty(), "{verb} printed nothing");
    for line in lines.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{verb}: {error}: {line}"));
        check_member(verb, "", &value);
    }
}

/// Every verb whose help has `--json`.
fn verbs_with_json(scene: &Scene, path: &[&str], out: &mut BTreeSet<String>) {
    let help = scene.turnstile(&[path, &["--help"]].concat());
    let help = String::from_utf8(help.stdout).unwrap();
    let verbs: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect();
    if verbs.is_empty() && help.contains("--json") {
        out.insert(path.join(" "));
    }
    verbs.into_iter().for_each(|verb| verbs_with_json(scene, &[path, &[verb]].concat(), out));
}

#[test]
fn every_json_has_one_form_of_times_and_no_number_beyond_2_to_the_53() {
    let scene = Scene::embedded(1);
    let mut checked = BTreeSet::new();
    let mut up = scene.spawn(&["up", "--port", "0", "--speed", "600", "--stations", "2", "--json"], &[]);
    let mut banner = BufReader::new(up.stderr.take().unwrap());
    let rest = std::thread::spawn(move || banner.read_to_string(&mut String::new()).map(drop));
    let mut events = BufReader::new(up.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut seen: Vec<String> = Vec::new();
    let published = events
        .by_ref()
        .inspect(|line| seen.push(line.clone()))
        .map(|line| serde_json::from_str::<Value>(&line).unwrap())
        .find(|event| event["event"] == "published")
        .expect("a window is published");
    let name = published["name"].as_str().unwrap().to_owned();

    let pipeline = scene.pipeline("");
    let story = pipeline.to_str().unwrap();
    let good = crate::scene::messages(200);
    scene.send(good.iter().map(String::as_bytes).chain([&b"no reading"[..]]));
    let send = ["--bootstrap", &scene.servers];
    let mut run = |verb: &str, args: &[&str]| {
        let words: Vec<&str> = verb.split(' ').collect();
        let output = scene.turnstile(&[&words, args, &["--json"]].concat());
        assert!(output.status.success(), "{verb}: {}", text(&output));
        check_lines(verb, std::str::from_utf8(&output.stdout).unwrap());
        checked.insert(verb.to_owned());
    };
    run("run", &[story, "--drain"]);
    run("status", &[story]);
    // A day is compacted once the event time is beyond it.
    let later: Vec<String> = good.iter().map(|message| message.replace("2026-08-01 ", "2026-08-03 ")).collect();
    scene.send(later.iter().map(String::as_bytes));
    run("run", &[story, "--drain"]);
    run("audit", &[story]);
    run("migrate", &[story, "--to", "embedded"]);
    run("lag", &[story]);
    run("check", &[story]);
    run("check", &[story, "--connect"]);
    run("explain", &["2026-08-01T00:00Z", story]);
    run("replay", &["2026-08-01T00:00Z", story, "--to", "again"]);
    run("lake files", &[story, "--all"]);
    run("lake compact", &[story, "--dry-run"]);
    run("lake gc", &[story, "--dry-run"]);
    run("lake compact", &[story]);
    run("explain", &["2026-08-01T00:00Z", story]);
    run("deadletter list", &[story]);
    run("deadletter show", &[story]);
    run("deadletter requeue", &[story]);
    run("consume", &[&["--topic", &scene.topic, "--until-end"], &send[..]].concat());
    run("produce", &[&["--topic", "t", "--partitions", "1", "--count", "2", "--rate", "max"], &send[..]].concat());
    run("topic list", &send);
    run("topic describe", &[&["t"], &send[..]].concat());
    run("topic create", &[&["u"], &send[..]].concat());
    run("topic delete", &[&["u"], &send[..]].concat());
    run("stream", &[&["--topic", "t", "--until-end", "--lake", "other"], &send[..]].concat());
    signal(&up, "INT");
    seen.extend(events);
    assert!(up.wait().unwrap().success());
    rest.join().unwrap().unwrap();
    // What `up` runs has models and a warehouse.
    run("status", &[]);
    run("explain", &[&name]);
    run("models check", &[]);
    run("models run", &["--full-refresh", "fact_turnstile"]);
    run("models test", &[]);
    run("warehouse status", &[]);
    run("runs list", &[]);
    let newest = scene.turnstile(&["runs", "list", "--limit", "1", "--json"]);
    let newest: Value = serde_json::from_slice(&newest.stdout).unwrap();
    let newest = newest["id"].as_str().unwrap();
    run("runs show", &[newest]);
    run("runs logs", &[newest]);
    // The record is that of `models run`; there may be nothing left to load.
    let loaded = scene.turnstile(&["warehouse", "run", "--once", "--json"]);
    assert!(loaded.status.success() && loaded.stdout.is_empty(), "{}", text(&loaded));
    checked.insert("warehouse run".to_owned());
    check_lines("up", &seen.join("\n"));
    for event in &seen {
        let event: Value = serde_json::from_str(event).unwrap();
        assert!(event["at"].is_string(), "an event without a time: {event}");
    }
    checked.insert("up".to_owned());
    let mut expected = BTreeSet::new();
    verbs_with_json(&scene, &[], &mut expected);
    assert!(expected.len() > 20, "{expected:?}");
    assert_eq!(checked, expected, "every verb with --json is checked here");
}

#[test]
fn the_counts_of_a_run_s_events_agree_with_the_ledger_after_a_restart() {
    let scene = Scene::embedded(1);
    let messages = crate::scene::messages(300);
    scene.send(messages[..200].iter().map(String::as_bytes));
    let pipeline = scene.pipeline("");
    let file = pipeline.to_str().unwrap();
    assert!(scene.turnstile(&["run", file, "--until-end"]).status.success());
    scene.send(messages[200..].iter().map(String::as_bytes));
    let output = scene.turnstile(&["run", file, "--drain", "--json"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let stopped: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(stopped["event"], "stopped");
    let status = scene.turnstile(&["status", file, "--json"]);
    let slot: Value = serde_json::from_slice(&status.stdout).unwrap();
    for (event, ledger) in [("read", "read"), ("late", "late"), ("dead_lettered", "dead_lettered")] {
        assert_eq!(stopped[event], slot["counters"][ledger], "{event}: {stopped}");
    }
    assert_eq!((&stopped["seq"], &stopped["watermark"]), (&slot["seq"], &slot["watermark"]));
    assert_eq!((&stopped["read"], &stopped["run"]["read"]), (&300.into(), &100.into()), "{stopped}");
    assert!(slot["positions"][0]["fingerprint"].is_string(), "{slot}");
}
