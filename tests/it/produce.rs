//! `turnstile produce` from files and standard input, and a replay that is killed and resumes.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::scene::{PATIENCE, Scene, finish, text};

fn produce(scene: &Scene, flags: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnstile"));
    command.args(["produce", "--topic", &scene.topic, "--bootstrap", &scene.servers]).args(flags);
    command.current_dir(scene.dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let output = finish(child);
    // A producer that ends early leaves the rest of its input alone.
    let _ = writing.join().unwrap();
    output
}

fn topic(scene: &Scene) -> Vec<Value> {
    let line = ["consume", "--topic", &scene.topic, "--bootstrap", &scene.servers, "--until-end", "--json"];
    let output = scene.turnstile(&line);
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn standard_input_becomes_messages_a_line_each_with_keys_of_a_field() {
    let scene = Scene::embedded(1);
    let flags = ["--from", "-", "--format", "csv", "--header", "--key-field", "ID", "--json"];
    let output = produce(&scene, &flags, b"ID,STATION\n1,\"59 ST, N\"\n2,GRAND\n");
    assert!(output.status.success(), "{}", text(&output));
    let closing: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&closing["delivered"], &closing["failed"], &closing["left_out"]), (&2.into(), &0.into(), &0.into()));
    let found = topic(&scene);
    let rows: Vec<_> = found.iter().map(|m| (m["key"].as_str().unwrap(), m["value"].as_str().unwrap())).collect();
    assert_eq!(rows, [("1", "1,\"59 ST, N\""), ("2", "2,GRAND")]);
}

#[test]
fn a_wrong_row_is_named_and_ends_it_or_is_left_out_and_counted() {
    let scene = Scene::embedded(1);
    let input = b"{\"a\":1}\nnot json\n{\"a\":2}\n";
    let stopped = produce(&scene, &["--from", "-", "--format", "json"], input);
    assert_eq!(stopped.status.code(), Some(1), "{}", text(&stopped));
    assert!(text(&stopped).contains("standard input:2: no JSON"), "{}", text(&stopped));
    let skipped = produce(&scene, &["--from", "-", "--format", "json", "--skip-wrong"], input);
    assert!(skipped.status.success(), "{}", text(&skipped));
    assert!(
        text(&skipped).contains("2 messages to \"city\"") && text(&skipped).contains("1 row skipped"),
        "{}",
        text(&skipped)
    );
    assert_eq!(topic(&scene).len(), 3);
}

#[test]
fn flags_that_do_not_go_together_are_refused_before_anything_is_sent() {
    let scene = Scene::embedded(1);
    for (flags, code) in [
        (&["--format", "csv"][..], 3),
        (&["--from", "-", "--key-field", "ID"], 3),
        (&["--from", "-", "--resume"], 2),
        (&["--resume"], 2),
        (&["--provider", "city", "--from", "x", "--resume"], 2),
    ] {
        let output = produce(&scene, flags, b"");
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {}", text(&output));
    }
    assert!(topic(&scene).is_empty());
}

fn delivered(scene: &Scene) -> u64 {
    let state = std::fs::read(scene.dir.path().join(format!("rows.{}.resume", scene.topic)));
    state.ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()?["delivered"].as_u64()).unwrap_or(0)
}

/// Kills the replay three times and lets the fourth run end.
fn a_replay_that_is_killed_goes_on_without_losing_a_row(scene: &Scene) {
    const ROWS: u64 = 60_000;
    let rows: String = (0..ROWS).map(|n| format!("{},row {n}\n", n % 50)).collect();
    std::fs::write(scene.dir.path().join("rows"), format!("TURNSTILE,TEXT\n{rows}")).unwrap();
    let line = ["produce", "--topic", &scene.topic, "--bootstrap", &scene.servers, "--from", "rows", "--format", "csv"];
    let line = [&line[..], &["--header", "--key-field", "TURNSTILE", "--resume", "--rate", "8000"]].concat();
    let mut killed_at = Vec::new();
    for _ in 0..3 {
        let before = delivered(scene);
        let mut child = scene.spawn(&line, &[]);
        let began = Instant::now();
        while delivered(scene) == before {
            assert!(began.elapsed() < PATIENCE && child.try_wait().unwrap().is_none(), "no row was noted as delivered");
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(300));
        child.kill().unwrap();
        child.wait().unwrap();
        killed_at.push(delivered(scene));
    }
    let last = finish(scene.spawn(&[&line[..], &["--json"]].concat(), &[]));
    assert!(last.status.success(), "{}", text(&last));
    let said = text(&last);
    assert!(
        said.contains(&format!("resuming after row {}", killed_at[2])) && said.contains("are sent again"),
        "{said}"
    );
    assert_eq!(delivered(scene), ROWS);

    let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
    let mut newest: BTreeMap<String, u64> = BTreeMap::new();
    for message in topic(scene) {
        let value = message["value"].as_str().unwrap();
        let (key, text) = value.split_once(',').unwrap();
        assert_eq!(message["key"], key);
        let row: u64 = text.strip_prefix("row ").unwrap().parse().unwrap();
        // A key's rows are in order, but for the stretch that a kill repeats.
        let before = newest.insert(key.to_owned(), row);
        let is_restart = killed_at.iter().any(|at| row >= *at && row < at + 50);
        assert!(is_restart || before.is_none_or(|before| before < row), "row {row} after {before:?}");
        *seen.entry(row).or_default() += 1;
    }
    assert_eq!(seen.len() as u64, ROWS, "no row is lost");
    let twice: Vec<u64> = seen.iter().filter(|(_, times)| **times > 1).map(|(row, _)| *row).collect();
    // Only what was sent between the last note and the kill: at this rate, less than two seconds' worth.
    let explained = |row: &u64| killed_at.iter().any(|at| (*at..at + 16_000).contains(row));
    assert!(twice.iter().all(explained), "killed at {killed_at:?}, twice {:?}", twice.first());

    let again = scene.turnstile(&[&line[..], &["--json"]].concat());
    let closing: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&closing["sent"], &closing["delivered_before"]), (&0.into(), &ROWS.into()), "{}", text(&again));
}

#[test]
fn a_replay_that_is_killed_goes_on_without_losing_a_row_on_the_embedded_broker() {
    a_replay_that_is_killed_goes_on_without_losing_a_row(&Scene::embedded(3));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_replay_that_is_killed_goes_on_without_losing_a_row_on_apache_kafka() {
    a_replay_that_is_killed_goes_on_without_losing_a_row(&Scene::apache("resume", 3));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_row_that_the_broker_refuses_ends_the_replay_there_each_time_and_no_row_before_it_comes_twice() {
    let scene = Scene::on_brokers(turnstile_testkit::kafka(), "refused", 1, &[("max.message.bytes", "10000")]);
    // Not even compressed does it fit.
    let noise: String = (0..40_000_u64)
        .map(|n| char::from(b'!' + (n.wrapping_mul(6_364_136_223_846_793_005) >> 33) as u8 % 90))
        .collect();
    std::fs::write(scene.dir.path().join("rows"), format!("a\nb\n{noise}\nc\n")).unwrap();
    let line = ["--from", "rows", "--resume", "--every", "200ms", "--compression", "none"];
    for _ in 0..3 {
        let refused = produce(&scene, &line, b"");
        assert_eq!(refused.status.code(), Some(4), "{}", text(&refused));
        // A row that travelled with it is refused too, and is then the first that did not arrive.
        let said = text(&refused);
        let alone = said.contains("row 3 did not reach topic");
        assert!(alone || said.contains("row 3, with 40000 bytes the largest of its batch"), "{said}");
    }
    let rows = || topic(&scene).iter().map(|row| row["value"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    // What was on its way behind the refused row may have arrived, and comes once more when that row is mended.
    let times = |rows: &[String], row: &str| rows.iter().filter(|other| *other == row).count();
    let before = rows();
    assert!(times(&before, "a") == 1 && times(&before, "b") <= 1 && times(&before, "c") <= 3, "{before:?}");
    std::fs::write(scene.dir.path().join("rows"), "a\nb\nc\n").unwrap();
    assert!(produce(&scene, &line, b"").status.success());
    let after = rows();
    assert_eq!((times(&after, "a"), times(&after, "b")), (1, 1), "{after:?}");
    assert_eq!(times(&after, "c"), times(&before, "c") + 1, "{after:?}");
    assert_eq!(after.len(), 2 + times(&after, "c"), "{after:?}");
}
