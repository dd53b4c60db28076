//! Two processes on one pipeline: one of them stops, nothing is doubled.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use crate::scene::{PATIENCE, Scene, expected, finish, messages, text};

#[test]
fn a_second_start_is_refused_while_the_first_lives() {
    let scene = Scene::embedded(1);
    let messages = messages(300);
    scene.send(messages.iter().map(String::as_bytes));
    let pipeline = scene.pipeline("commit = \"50 ms\"");
    let mut first = scene.spawn(&["run", pipeline.to_str().unwrap(), "--json"], &[]);
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("\"ready\""));
    let second = scene.drain(&pipeline);
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(second.status.code(), Some(7), "{}", text(&second));
    let stderr = String::from_utf8(second.stderr).unwrap();
    assert!(stderr.contains("cause: another process owns this pipeline since"), "{stderr}");
    assert!(stderr.contains("hint:  stop that process, or take over with `--takeover`"), "{stderr}");
}

#[test]
fn a_process_that_was_taken_over_is_fenced_at_its_next_commit() {
    let scene = Scene::embedded(1);
    let messages = messages(600);
    scene.send(messages[..300].iter().map(String::as_bytes));
    let pipeline = scene.pipeline("commit = \"50 ms\"\ndedup = [\"ID\"]");
    let first = scene.spawn(&["run", pipeline.to_str().unwrap()], &[]);
    wait_for_files(&scene, 3);
    let takeover = scene.turnstile(&["run", pipeline.to_str().unwrap(), "--until-end", "--takeover"]);
    assert!(takeover.status.success(), "{}", text(&takeover));
    // Only now is there something to commit for the first one.
    scene.send(messages[300..].iter().map(String::as_bytes));
    let fenced = finish(first);
    assert_eq!(fenced.status.code(), Some(7), "{}", text(&fenced));
    let stderr = String::from_utf8_lossy(&fenced.stderr);
    assert!(stderr.contains("another process owns this pipeline since"), "{stderr}");
    assert!(stderr.contains("take over with `turnstile run --takeover`; nothing was lost"), "{stderr}");
    let last = scene.drain(&pipeline);
    assert!(last.status.success(), "{}", text(&last));
    assert_eq!(scene.rows(), expected(&messages));
    assert!(scene.audit(&pipeline).contains("all is well"));
}

fn wait_for_files(scene: &Scene, files: usize) {
    let began = Instant::now();
    while crate::scene::data_files(&scene.lake()).len() < files {
        assert!(began.elapsed() < PATIENCE, "no files appeared");
        std::thread::sleep(Duration::from_millis(20));
    }
}
