//! The default pipeline on a cluster: its lake, its warehouse and its console are those of the embedded engine.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::console_process::ConsoleProcess;
use crate::scene::{Scene, messages, text};
use crate::spark_scene::{CLUSTER_PATIENCE, closing, cluster, files, mixed, send};

/// The pipeline that `turnstile` comes with, on the story's topic, with its own lake.
fn default_pipeline(scene: &Scene, lake: &str) -> PathBuf {
    let included = concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/mta-turnstile.toml");
    let text = std::fs::read_to_string(included).unwrap();
    let own = [
        ("topic  = \"mta-turnstile\"", format!("topic  = \"{}\"", scene.topic)),
        ("localhost:9092", scene.servers.clone()),
        ("file:./lake/turnstile", format!("file:{}", scene.dir.path().join(lake).display())),
        ("schedule = \"1 minute\"", "schedule = \"1 second\"".to_owned()),
    ];
    let text = own.into_iter().fold(text, |text, (theirs, ours)| {
        assert!(text.contains(theirs), "no {theirs} in\n{text}");
        text.replace(theirs, &ours)
    });
    let path = scene.dir.path().join(format!("{lake}.toml"));
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn the_default_pipeline_fills_the_same_lake_and_warehouse_on_a_cluster_that_loses_its_parts() {
    let scene = Scene::apache("spark-default", 3);
    let mut cluster = cluster(&scene);
    let [ours, theirs] = ["embedded", "cluster"].map(|lake| default_pipeline(&scene, lake));
    let remote = cluster.server.remote();
    // A server that has just started answers its first call slowly.
    let began = Instant::now();
    let check = ["check", theirs.to_str().unwrap(), "--engine", "spark", "--remote", &remote];
    while !scene.turnstile(&check).status.success() {
        assert!(began.elapsed() < CLUSTER_PATIENCE, "{}", text(&scene.turnstile(&check)));
    }
    let arguments = ["run", theirs.to_str().unwrap(), "--engine", "spark", "--remote", &remote];
    let console = ConsoleProcess::start(&scene, &[&arguments[..], &["--set", "console.listen=127.0.0.1:0"]].concat());

    let all = mixed(1_800);
    for (round, part) in all.chunks(all.len().div_ceil(4)).enumerate() {
        send(&scene, part);
        let began = Instant::now();
        // What is killed is a run that has begun to read.
        let first_batch = "cluster/_turnstile/mta-turnstile/spark/000001/checkpoint/offsets/0";
        while !scene.dir.path().join(first_batch).exists() {
            assert!(began.elapsed() < CLUSTER_PATIENCE, "the query does not begin");
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_millis(700 * (round as u64 + 1)));
        while !cluster.kill_executor().unwrap() {
            assert!(began.elapsed() < CLUSTER_PATIENCE, "no executor comes back");
            std::thread::sleep(Duration::from_millis(50));
        }
        if round == 2 {
            cluster.server.restart().unwrap();
        }
    }
    send(&scene, &closing());

    let embedded = scene.turnstile(&["run", ours.to_str().unwrap(), "--until-end"]);
    assert!(embedded.status.success(), "{}", text(&embedded));
    let expected = files(&scene.dir.path().join("embedded"));
    assert!(expected.len() > 40, "{}", expected.len());
    let (began, lake) = (Instant::now(), scene.dir.path().join("cluster"));
    while files(&lake).len() < expected.len() {
        assert!(began.elapsed() < CLUSTER_PATIENCE, "{} of {} files", files(&lake).len(), expected.len());
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(files(&lake), expected);

    // Its console shows the run, and where a window's messages stand.
    let page = console.page("/p/mta-turnstile");
    let read = messages(1_800).len() + all.len() - 1_800 + closing().len();
    let read = format!("{},{:03}", read / 1_000, read % 1_000);
    assert!(page.contains(&read), "no {read} in\n{page}");
    let listed = scene.turnstile(&["lake", "files", theirs.to_str().unwrap(), "--json"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let file: serde_json::Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    let page = console.page(&format!("/p/mta-turnstile/windows/{}", file["start"].as_str().unwrap()));
    assert!(page.contains("among others"), "{page}");
    console.stop();

    let audit = scene.turnstile(&["audit", theirs.to_str().unwrap()]);
    assert!(audit.status.success() && text(&audit).contains("all is well"), "{}", text(&audit));
    let asked = |pipeline: &PathBuf, sql: &str| {
        let answer = scene.turnstile(&["sql", "--pipeline", pipeline.to_str().unwrap(), "--format", "csv", sql]);
        assert!(answer.status.success(), "{sql}: {}", text(&answer));
        String::from_utf8(answer.stdout).unwrap()
    };
    for pipeline in [&ours, &theirs] {
        let loaded = scene.turnstile(&["warehouse", "run", pipeline.to_str().unwrap(), "--once"]);
        assert!(loaded.status.success(), "{}", text(&loaded));
        assert_eq!(asked(pipeline, "SELECT sum(difference) FROM _turnstile.conservation").lines().nth(1), Some("0"));
    }
    for sql in [
        "SELECT STATION, ENTRIES, EXITS FROM ext_turnstile WHERE STATION LIKE 'STATION%' ORDER BY 1, 2, 3",
        "SELECT * FROM ext_turnstile ORDER BY START, CA, UNIT, SCP",
        "SELECT * FROM fact_turnstile ORDER BY 1, 2, 3, 4",
    ] {
        let [embedded, cluster] = [&ours, &theirs].map(|pipeline| asked(pipeline, sql));
        assert!(embedded.lines().count() > 100, "{embedded}");
        assert_eq!(embedded, cluster, "{sql}");
    }
}
