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
