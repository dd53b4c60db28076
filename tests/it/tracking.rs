//! Runs and tasks: what `turnstile runs` shows of a run that ended, was killed, failed or was cancelled; and what its reports say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;

use crate::scene::{Scene, finish, messages, signal, text, until};

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// The runs of the pipeline, newest first.
fn runs(scene: &Scene, pipeline: &Path) -> Vec<Value> {
    let listed = scene.turnstile(&["runs", "list", pipeline.to_str().unwrap(), "--json"]);
    json_lines(&String::from_utf8(listed.stdout).unwrap())
}

fn newest(scene: &Scene, pipeline: &Path) -> Value {
    let id = runs(scene, pipeline)[0]["id"].as_str().unwrap().to_owned();
    let shown = scene.turnstile(&["runs", "show", &id[..13], pipeline.to_str().unwrap(), "--json"]);
    assert!(shown.status.success(), "{}", text(&shown));
    serde_json::from_slice(&shown.stdout).unwrap()
}

#[test]
fn a_run_that_ends_by_itself_is_completed_and_its_tasks_count_what_the_ledger_has() {
    let scene = Scene::embedded(2);
    let sent = messages(500);
    scene.send(sent.iter().map(String::as_bytes).chain([b"nonsense".as_slice()]));
    let pipeline = scene.pipeline("");
    assert!(scene.drain(&pipeline).status.success());
    let run = newest(&scene, &pipeline);
    assert_eq!((&run["state"], &run["flow"]), (&"COMPLETED".into(), &"MTA Spark Data Stream flow".into()), "{run}");
    let tasks = run["tasks"].as_array().unwrap();
    let sum = |task: &str, count: &str| -> u64 {
        let of_task = tasks.iter().filter(|one| one["task"] == task);
        of_task.filter_map(|one| one["counts"][count].as_u64()).sum()
    };
    assert_eq!(sum("Read data stream", "messages"), 501, "{run}");
    assert_eq!(sum("Read data stream", "dead_letters"), 1, "{run}");
    let rows = scene.rows();
    assert_eq!(sum("Write to Storage", "rows"), rows.len() as u64 + 1, "rows, and a dead letter: {run}");
    assert!(tasks.iter().all(|task| task["state"] == "COMPLETED"), "{run}");
    let writes: Vec<&Value> = tasks.iter().filter(|task| task["task"] == "Write to Storage").collect();
    assert!(writes.iter().any(|task| !task["files"].as_array().unwrap().is_empty()), "{run}");
    assert!(writes.iter().all(|task| task["upstream"].as_array().unwrap().len() == 1), "{run}");
    // For people.
    let listed = text(&scene.turnstile(&["runs", "list", pipeline.to_str().unwrap()]));
    assert!(listed.contains("Completed  story 20"), "{listed}");
    let log = scene.turnstile(&["runs", "logs", run["id"].as_str().unwrap(), pipeline.to_str().unwrap()]);
    assert!(text(&log).contains("could not be processed"), "{}", text(&log));
}

#[test]
fn a_run_that_was_killed_is_seen_as_crashed_by_the_next_start_and_one_that_failed_says_why() {
    let scene = Scene::embedded(1);
    scene.send(messages(50).iter().map(String::as_bytes));
    let pipeline = scene.pipeline("commit = \"100 ms\"");
    let file = pipeline.to_str().unwrap();
    let running = scene.spawn(&["run", file], &[]);
    until("the run is listed as running", || {
        runs(&scene, &pipeline).first().is_some_and(|run| run["state"] == "RUNNING")
    });
    signal(&running, "KILL");
    finish(running);
    assert_eq!(runs(&scene, &pipeline)[0]["state"], "RUNNING", "no start has noticed it yet");
    let drained = scene.turnstile(&["run", file, "--drain"]);
    assert!(drained.status.success(), "{}", text(&drained));
    let listed = runs(&scene, &pipeline);
    let states: Vec<&Value> = listed.iter().map(|run| &run["state"]).collect();
    assert_eq!(states, ["COMPLETED", "CRASHED"]);
    let nowhere =
        scene.turnstile(&["run", file, "--set", "lake.retry_for=1 s", "--set", "source.topic=nosuch", "--drain"]);
    assert!(!nowhere.status.success());
    let failed = newest(&scene, &pipeline);
    assert_eq!(failed["state"], "FAILED", "{failed}");
    assert!(failed["message"].as_str().unwrap().contains("nosuch"), "{failed}");
}

#[test]
fn a_run_is_cancelled_from_outside_and_has_committed_what_it_read() {
    let scene = Scene::embedded(1);
    scene.send(messages(100).iter().map(String::as_bytes));
    // No commit before the end.
    let pipeline = scene.pipeline("commit = \"1 hour\"");
    let file = pipeline.to_str().unwrap();
    let running = scene.spawn(&["run", file], &[]);
    until("the run is listed as running", || {
        runs(&scene, &pipeline).first().is_some_and(|run| run["state"] == "RUNNING")
    });
    let id = runs(&scene, &pipeline)[0]["id"].as_str().unwrap().to_owned();
    let unknown = scene.turnstile(&["runs", "cancel", "ffff", file]);
    assert_eq!(unknown.status.code(), Some(2), "{}", text(&unknown));
    let cancel = scene.turnstile(&["runs", "cancel", &id, file]);
    assert!(cancel.status.success(), "{}", text(&cancel));
    let ended = finish(running);
    assert!(ended.status.success(), "{}", text(&ended));
    let run = newest(&scene, &pipeline);
    assert_eq!(run["state"], "CANCELLED", "{run}");
    assert!(run["message"].as_str().unwrap().contains("turnstile runs cancel"), "{run}");
    let again = scene.turnstile(&["runs", "cancel", &id, file]);
    assert!(text(&again).contains("has ended already: Cancelled"), "{}", text(&again));
    assert!(text(&scene.turnstile(&["status", file])).contains("100 read"), "{}", text(&ended));
}

#[test]
fn a_store_that_cannot_be_used_is_a_warning_and_a_damaged_one_is_replaced() {
    let scene = Scene::embedded(1);
    scene.send(messages(10).iter().map(String::as_bytes));
    let pipeline = scene.pipeline("");
    let file = pipeline.to_str().unwrap();
    let folder = scene.dir.path().join("turnstile-data");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("runs.sqlite"), vec![7; 5_000]).unwrap();
    let run = scene.turnstile(&["run", file, "--until-end"]);
    assert!(run.status.success(), "{}", text(&run));
    let aside = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let aside: Vec<String> = aside.filter(|name| name.contains("damaged")).collect();
    assert!(aside.len() == 1 || text(&run).contains("runs are not kept"), "{aside:?} {}", text(&run));
    // A folder in its place.
    let unusable = scene.turnstile(&["run", file, "--until-end", "--set", "track.store=lake"]);
    assert!(unusable.status.success() && text(&unusable).contains("warning: runs are not kept"), "{}", text(&unusable));
    let off = scene.turnstile(&["runs", "list", file, "--set", "track.store=off"]);
    assert!(text(&off).contains("runs of story are not kept"), "{}", text(&off));
}

#[test]
fn what_only_moves_messages_is_kept_with_the_runs_of_the_pipeline_that_it_names() {
    let scene = Scene::embedded(1);
    let pipeline = scene.pipeline("");
    let file = pipeline.to_str().unwrap();
    let at = ["--topic", scene.topic.as_str(), "--bootstrap", scene.servers.as_str(), "--track", file];
    let moved = |verb: &[&str]| {
        let output = scene.turnstile(&[verb, &at].concat());
        (output.status.success(), text(&output))
    };
    let produced = moved(&["produce", "--count", "30", "--rate", "max"]);
    assert!(produced.0, "{}", produced.1);
    let run = newest(&scene, &pipeline);
    assert_eq!((&run["state"], &run["flow"]), (&"COMPLETED".into(), &"MTA - Kafka Data Stream flow".into()), "{run}");
    assert_eq!((&run["message"], &run["parameters"]["topic"]), (&"30 messages".into(), &scene.topic.as_str().into()));
    let task = &run["tasks"][0];
    assert_eq!((&task["task"], &task["counts"]["messages"]), (&"Produce messages".into(), &30.into()), "{run}");
    let consumed = moved(&["consume", "--until-end", "--json"]);
    assert!(consumed.0, "{}", consumed.1);
    let run = newest(&scene, &pipeline);
    let task = &run["tasks"][0];
    assert_eq!((&task["task"], &task["counts"]["messages"]), (&"Consume messages".into(), &30.into()), "{run}");
    // One that fails says why.
    let nowhere = ["produce", "--topic", "nosuch", "--bootstrap", &scene.servers, "--track", file, "--count", "1"];
    assert!(!scene.turnstile(&nowhere).status.success());
    let run = newest(&scene, &pipeline);
    assert_eq!(run["state"], "FAILED", "{run}");
    assert!(run["message"].as_str().unwrap().contains("nosuch"), "{run}");
    assert_eq!(runs(&scene, &pipeline).len(), 3);
    let unknown = ["produce", "--topic", "t", "--bootstrap", &scene.servers, "--track", "nosuch.toml"];
    let unknown = text(&scene.turnstile(&unknown));
    assert!(unknown.contains("nosuch.toml"), "{unknown}");
}

#[test]
fn a_run_that_was_killed_raises_an_alert_at_the_next_start_which_resolves_once_that_reads() {
    let scene = Scene::embedded(1);
    scene.send(messages(50).iter().map(String::as_bytes));
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", receiver.local_addr().unwrap());
    let settings = "[alerts]\nwebhook_env = \"HOOK\"\nrun_failed = true\n";
    let pipeline = scene.pipeline_with("commit = \"100 ms\"", settings, crate::scene::SQL);
    let file = pipeline.to_str().unwrap();
    let running = scene.spawn(&["run", file], &[("HOOK", &url)]);
    until("the run is listed as running", || {
        runs(&scene, &pipeline).first().is_some_and(|run| run["state"] == "RUNNING")
    });
    signal(&running, "KILL");
    finish(running);
    // A run that moves messages is none that the alert is about.
    let beside = ["produce", "--topic", &scene.topic, "--bootstrap", &scene.servers, "--count", "1", "--every", "1ms"];
    assert!(scene.turnstile(&[&beside[..], &["--track", file]].concat()).status.success());
    let bodies = std::thread::spawn(move || [received(&receiver), received(&receiver)]);
    let next = scene.spawn(&["run", file], &[("HOOK", &url)]);
    let bodies = bodies.join().unwrap().map(|body| serde_json::from_str::<Value>(&body).unwrap());
    signal(&next, "INT");
    assert!(finish(next).status.success());
    let said = bodies.iter().map(|body| (body["rule"].as_str().unwrap(), body["status"].as_str().unwrap()));
    assert_eq!(said.collect::<Vec<_>>(), [("run_failed", "fired"), ("run_failed", "resolved")]);
    assert!(bodies[0]["summary"].as_str().unwrap().contains("ended without a word"), "{}", bodies[0]);
}

#[test]
fn alerts_go_to_a_webhook_and_lineage_to_a_file_and_no_secret_is_shown() {
    let scene = Scene::embedded(1);
    scene.send(messages(200).iter().map(String::as_bytes).chain([b"A".as_slice(), b"B", b"C"]));
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook/hush-hush", receiver.local_addr().unwrap());
    let bodies = std::thread::spawn(move || received(&receiver));
    let settings = "[alerts]\nwebhook_env = \"HOOK\"\ndead_letters_per_minute = 1\nfor = \"0 s\"\n\
                    [track.lineage]\nfile = \"lineage.jsonl\"\n";
    let pipeline = scene.pipeline_with("commit = \"100 ms\"", settings, crate::scene::SQL);
    let running = scene.spawn(&["run", pipeline.to_str().unwrap()], &[("HOOK", &url), ("TURNSTILE_LOG", "debug")]);
    let body: Value = serde_json::from_str(&bodies.join().unwrap()).unwrap();
    signal(&running, "INT");
    let ended = finish(running);
    assert!(ended.status.success(), "{}", text(&ended));
    assert_eq!((&body["rule"], &body["status"]), (&"dead_letters_per_minute".into(), &"fired".into()), "{body}");
    assert!(!text(&ended).contains("hush-hush"), "{}", text(&ended));
    let lineage = json_lines(&std::fs::read_to_string(scene.dir.path().join("lineage.jsonl")).unwrap());
    let kinds: Vec<&str> = lineage.iter().filter_map(|event| event["eventType"].as_str()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"START"), Some(&"ABORT")), "{kinds:?}");
    assert_eq!(lineage[0]["inputs"][0]["name"], scene.topic.as_str(), "{}", lineage[0]);
}

/// The body of the first request that comes.
fn received(receiver: &TcpListener) -> String {
    let (stream, _) = receiver.accept().unwrap();
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).unwrap() > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    reader.into_inner().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
    String::from_utf8(body).unwrap()
}
