//! The first five minutes: `turnstile up`.

use std::io::{BufRead, BufReader};
use std::time::Instant;

use crate::scene::{PATIENCE, Scene, finish, signal, text};

#[test]
fn up_publishes_files_stops_on_ctrl_c_and_goes_on() {
    let scene = Scene::embedded(1);
    let args = ["up", "--dir", "data", "--port", "0", "--speed", "600", "--stations", "2", "--json"];
    let mut commits = Vec::new();
    for start in 0..2 {
        let mut child = scene.spawn(&args, &[]);
        let began = Instant::now();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = Vec::new();
        loop {
            let Some(Ok(line)) = lines.next() else { panic!("it ended: {}", text(&finish_without_stdout(child))) };
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            if event["event"] == "ready" {
                commits.push(event["resumed_at"].as_u64());
            }
            let published = event["event"] == "published";
            seen.push(line);
            if published {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "nothing was published: {seen:?}");
        }
        signal(&child, "INT");
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        let status = child.wait().unwrap();
        assert!(status.success(), "start {start}: {status}");
        assert!(rest.last().is_some_and(|line| line.contains("\"stopped\"")), "{rest:?}");
    }
    assert!(commits[0].is_none() && commits[1].is_some_and(|seq| seq > 0), "{commits:?}");
    for verb in [
        &["status"][..],
        &["audit"],
        &["lag", "--connect-timeout", "1"],
        &["sql", "SELECT count(*) FROM ext_turnstile"],
        &["deadletter", "list"],
        &["models", "check"],
        &["warehouse", "status"],
        &["lake", "files"],
        &["lake", "gc", "--dry-run"],
        &["status", "--pipeline", "mta-turnstile"],
    ] {
        let output = scene.turnstile(&[verb, &["--dir", "data"]].concat());
        // The broker ended with `up`, which only lag misses.
        let expected = if verb[0] == "lag" { 4 } else { 0 };
        assert_eq!(output.status.code(), Some(expected), "{verb:?}: {}", text(&output));
        let output = scene.turnstile(verb);
        assert!(!output.status.success(), "{verb:?} finds nothing without --dir: {}", text(&output));
    }
    let sql = ["sql", "--lake", "data/lake", "--pipeline", "mta-turnstile", "SELECT count(*) FROM ext_turnstile"];
    let output = scene.turnstile(&sql);
    assert!(output.status.success(), "{}", text(&output));
    let lake = scene.dir.path().join("data/lake");
    let pipeline = concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/mta-turnstile.toml");
    let url = format!("lake.url=file:{}", lake.display());
    let audit = scene.turnstile(&["audit", pipeline, "--set", &url]);
    assert!(audit.status.success() && text(&audit).contains("all is well"), "{}", text(&audit));
}

fn finish_without_stdout(mut child: std::process::Child) -> std::process::Output {
    // The pipe was taken for its lines; another stands in for it.
    let (reader, _) = std::io::pipe().unwrap();
    child.stdout = Some(std::process::ChildStdout::from(std::os::fd::OwnedFd::from(reader)));
    finish(child)
}

#[test]
fn other_verbs_find_what_up_runs_without_a_file() {
    let scene = Scene::embedded(1);
    let mut child = scene.spawn(&["up", "--port", "0", "--speed", "600", "--stations", "2", "--json"], &[]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|l| l.unwrap());
    let published = lines
        .by_ref()
        .map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap())
        .find(|event| event["event"] == "published")
        .expect("a window is published");
    let name = published["name"].as_str().unwrap();
    let replay = scene.turnstile(&["replay", name, "--to", "again", "--json"]);
    assert!(replay.status.success(), "{}", text(&replay));
    let made: serde_json::Value = serde_json::from_slice(&replay.stdout).unwrap();
    assert_eq!((made["name"].as_str(), made["same"].as_bool()), (Some(name), Some(true)), "{made}");
    for verb in [&["status"][..], &["audit"], &["explain", name], &["deadletter", "list"]] {
        let output = scene.turnstile(verb);
        assert!(output.status.success(), "{verb:?}: {}", text(&output));
    }
    signal(&child, "INT");
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());

    let elsewhere = scene.turnstile(&["deadletter", "list", "--set", "x"]);
    assert_eq!(elsewhere.status.code(), Some(2), "{}", text(&elsewhere));
}

#[test]
fn what_up_cannot_do_is_refused_before_anything_starts() {
    let scene = Scene::embedded(1);
    for wrong in [["--stations", "0"], ["--partitions", "0"], ["--speed", "0"], ["--speed", "fast"]] {
        let output = scene.turnstile(&[&["up", "--port", "0"], &wrong[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", text(&output));
        assert!(!text(&output).contains("broker "), "{wrong:?}: {}", text(&output));
    }
    let port = scene.servers.rsplit(':').next().unwrap();
    let taken = scene.turnstile(&["up", "--port", port]);
    assert!(text(&taken).contains("hint:  choose another port with --port"), "{}", text(&taken));
}
