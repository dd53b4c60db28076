//! Servers and disks that fail while a pipeline runs: it reports that, waits or ends, and loses nothing.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use turnstile_testkit::servers::{KafkaConfig, KafkaServer};

use crate::disk::Disk;
use crate::scene::{PATIENCE, Scene, expected, finish, messages, signal, text};

/// The lines of a running binary's stderr, as they come; what was read is printed when the test fails.
pub(crate) fn lines(child: &mut Child) -> Receiver<String> {
    // More lines than any story prints.
    let (send, receive) = sync_channel(10_000);
    let stderr = child.stderr.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            eprintln!("{line}");
            // The story may have ended.
            let _ = send.send(line);
        }
    });
    receive
}

pub(crate) fn wait_for(lines: &Receiver<String>, part: &str) -> String {
    loop {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("{part:?} was not printed: {e}"));
        if line.contains(part) {
            return line;
        }
    }
}

#[test]
fn a_full_lake_is_waited_for_and_once_there_is_space_everything_is_published() {
    let messages = messages(6_000);
    let scene = Scene::embedded(1);
    scene.send(messages.iter().map(String::as_bytes));
    let pipeline = scene.pipeline("commit = { rows = 100 }");
    let disk = Disk::mount(&scene.lake(), "size=256k");
    let mut run = scene.spawn_on(&disk, &["run", pipeline.to_str().unwrap(), "--drain"]);
    let lines = lines(&mut run);
    let line = wait_for(&lines, "trying again in");
    assert!(line.contains("No space left on device") && line.contains("/lake/"), "{line}");
    disk.remount("size=64m");
    assert!(run.wait().unwrap().success());
    assert_eq!(scene.rows_on(&disk), expected(&messages));
    let audit = finish(scene.spawn_on(&disk, &["audit", pipeline.to_str().unwrap()]));
    assert!(String::from_utf8_lossy(&audit.stdout).contains("all is well"), "{}", text(&audit));
}

#[test]
fn a_run_that_is_stopped_while_its_lake_is_full_ends_at_once_and_the_next_one_resumes() {
    let messages = messages(6_000);
    let scene = Scene::embedded(1);
    scene.send(messages.iter().map(String::as_bytes));
    let pipeline = scene.pipeline("commit = { rows = 100 }");
    let disk = Disk::mount(&scene.lake(), "size=256k");
    let mut run = scene.spawn_on(&disk, &["run", pipeline.to_str().unwrap()]);
    let lines = lines(&mut run);
    wait_for(&lines, "No space left on device");
    signal(&run, "TERM");
    wait_for(&lines, "error: ");
    wait_for(&lines, "has space; nothing was lost");
    assert_eq!(run.wait().unwrap().code(), Some(6));
    disk.remount("size=64m");
    let next = finish(scene.spawn_on(&disk, &["run", pipeline.to_str().unwrap(), "--drain"]));
    assert!(next.status.success(), "{}", text(&next));
    assert_eq!(scene.rows_on(&disk), expected(&messages));
}

#[test]
fn a_full_lake_ends_a_run_that_may_not_wait() {
    let messages = messages(6_000);
    let scene = Scene::embedded(1);
    scene.send(messages.iter().map(String::as_bytes));
    let pipeline = scene.pipeline_with("commit = { rows = 100 }", "retry_for = \"0 seconds\"", crate::scene::SQL);
    let disk = Disk::mount(&scene.lake(), "size=256k");
    let run = finish(scene.spawn_on(&disk, &["run", pipeline.to_str().unwrap(), "--drain"]));
    assert_eq!(run.status.code(), Some(6), "{}", text(&run));
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert!(stderr.contains("No space left on device") && stderr.contains("/lake/"), "{stderr}");
}

#[test]
fn a_lake_that_becomes_read_only_ends_the_run_and_the_next_one_resumes() {
    let messages = messages(3_000);
    let scene = Scene::embedded(1);
    let (first, second) = messages.split_at(1_500);
    scene.send(first.iter().map(String::as_bytes));
    let pipeline = scene.pipeline("commit = { rows = 100 }");
    let disk = Disk::mount(&scene.lake(), "size=64m");
    let args = ["run", pipeline.to_str().unwrap()];
    let mut run = scene.spawn_on(&disk, &args);
    let lines = lines(&mut run);
    wait_for(&lines, "ready: ");
    disk.remount("ro");
    scene.send(second.iter().map(String::as_bytes));
    // A commit that was on its way may warn of the same before the run gives up.
    wait_for(&lines, "cause: Read-only file system");
    assert_eq!(run.wait().unwrap().code(), Some(6));

    let refused = finish(scene.spawn_on(&disk, &args));
    assert_eq!(refused.status.code(), Some(6), "{}", text(&refused));
    disk.remount("rw");
    let next = finish(scene.spawn_on(&disk, &["run", pipeline.to_str().unwrap(), "--drain"]));
    assert!(next.status.success(), "{}", text(&next));
    assert_eq!(scene.rows_on(&disk), expected(&messages));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_broker_that_is_killed_and_comes_back_is_waited_for() {
    let messages = messages(4_000);
    let mut broker = KafkaServer::start(&turnstile_testkit::kafka_home(), KafkaConfig::default()).unwrap();
    let scene = Scene::at(broker.bootstrap(), "city", 1);
    let (first, second) = messages.split_at(2_000);
    scene.send(first.iter().map(String::as_bytes));
    let pipeline = scene.pipeline("commit = { rows = 100 }");
    let mut run = scene.spawn(&["run", pipeline.to_str().unwrap()], &[]);
    let lines = lines(&mut run);
    wait_for(&lines, "ready: ");
    broker.kill9().unwrap();
    wait_for(&lines, "no Kafka broker can be reached");
    broker.restart().unwrap();
    scene.send(second.iter().map(String::as_bytes));
    let status = ["status", pipeline.to_str().unwrap(), "--json"];
    let read = || {
        let slot: serde_json::Value = serde_json::from_slice(&scene.turnstile(&status).stdout).unwrap_or_default();
        slot["counters"]["read"].as_u64().unwrap_or_default()
    };
    let began = std::time::Instant::now();
    while read() < messages.len() as u64 {
        assert!(began.elapsed() < PATIENCE, "reading did not continue");
        std::thread::sleep(Duration::from_millis(100));
    }
    signal(&run, "TERM");
    assert!(run.wait().unwrap().success());
    let drained = scene.drain(&pipeline);
    assert!(drained.status.success(), "{}", text(&drained));
    assert_eq!(scene.rows(), expected(&messages));
    assert!(scene.audit(&pipeline).contains("all is well"));
}

#[test]
fn a_run_beyond_its_memory_ends_and_the_next_one_with_more_resumes() {
    let messages = messages(40_000);
    let scene = Scene::embedded(1);
    scene.send(messages.iter().map(String::as_bytes));
    let sql = crate::scene::SQL.replace("'5 minutes'", "'36500 days'");
    let stream = "dedup = [\"ID\"]\nmemory = \"1 MiB\"\nspill = \"off\"\ncommit = { rows = 5000 }";
    let pipeline = scene.pipeline_with(stream, "", &sql);
    let path = pipeline.to_str().unwrap();
    let ended = scene.turnstile(&["run", path, "--drain"]);
    assert_eq!(ended.status.code(), Some(1), "{}", text(&ended));
    assert!(text(&ended).contains("raise `[stream] memory`"), "{}", text(&ended));

    let set = ["run", path, "--drain", "--set", "stream.memory=64 MiB"];
    let resumed = scene.turnstile(&set);
    assert!(resumed.status.success(), "{}", text(&resumed));
    assert!(text(&resumed).contains("resuming from commit"), "{}", text(&resumed));
    assert_eq!(scene.rows().values().map(|row| row.2).sum::<i64>(), 40_000);
    assert!(scene.audit(&pipeline).contains("all is well"));
}
