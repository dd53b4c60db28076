//! `turnstile run --engine spark`: what a cluster computes is what the embedded engine computes, whatever is killed meanwhile.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Output};
use std::time::{Duration, Instant};

use turnstile_testkit::servers::{SparkCluster, SparkHome, SparkServer, free_port};

use crate::scene::{Scene, data_files, expected, finish_within, messages, published_rows, signal, text};

/// A query on a loaded machine takes a minute to begin.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(300);

/// The pipeline's settings for both engines: what is late is dropped, as Spark does.
const STREAM: &str = "dedup = [\"ID\", \"STATION\", \"TIMESTAMP\"]\nlate = \"drop\"\nidle = \"1 hour\"";

fn home() -> SparkHome {
    SparkHome::at(&turnstile_testkit::spark()).jars(&turnstile_testkit::spark_jars())
}

/// A server for one story, with its files in `scene`'s folder.
fn server(scene: &Scene) -> SparkServer {
    let dir = scene.dir.path().join("spark");
    std::fs::create_dir_all(&dir).unwrap();
    SparkServer::start(&home(), &dir).unwrap()
}

/// The lake of the Spark runs, beside that of the embedded ones.
fn spark_lake(scene: &Scene) -> PathBuf {
    scene.dir.path().join("spark-lake")
}

fn lake_setting(scene: &Scene) -> String {
    format!("lake.url=file:{}", spark_lake(scene).display())
}

/// Messages with everything that a pipeline meets, and then one far later for each partition, which closes all windows before.
fn mixed(count: usize) -> Vec<Vec<u8>> {
    let good = messages(count);
    let mut all: Vec<Vec<u8>> = Vec::new();
    for (at, message) in good.iter().enumerate() {
        all.push(message.clone().into_bytes());
        if at % 97 == 0 {
            all.push(message.clone().into_bytes());
        }
        if at % 211 == 5 {
            all.push(format!("A001,R001,{at}").into_bytes());
            all.push(vec![b'"', 0xff, b'"']);
        }
    }
    all
}

/// Closes the windows of [`mixed`] and [`messages`]: a reading of two days later for every turnstile, so in every partition.
fn closing() -> Vec<Vec<u8>> {
    let far = |turnstile: usize| {
        format!(
            "A{turnstile:03},R{turnstile:03},00-00-00,STATION 9,456NQR,BMT,08-03-26,00:00:00,REGULAR,1,1,end-{turnstile},\
             2026-08-03 00:00:00"
        )
    };
    (0..12).map(|turnstile| far(turnstile).into_bytes()).collect()
}

fn send(scene: &Scene, messages: &[Vec<u8>]) {
    scene.send(messages.iter().map(Vec::as_slice));
}

fn files(lake: &Path) -> BTreeMap<String, Vec<u8>> {
    let name = |file: &PathBuf| file.strip_prefix(lake).unwrap().display().to_string();
    data_files(lake).iter().map(|file| (name(file), std::fs::read(file).unwrap())).collect()
}

/// A run on the cluster until everything is read.
fn run_on(scene: &Scene, pipeline: &Path, remote: &str, more: &[&str]) -> Output {
    let lake = lake_setting(scene);
    let arguments = ["run", pipeline.to_str().unwrap(), "--engine", "spark", "--remote", remote, "--set", &lake];
    finish_slowly(scene.spawn(&[&arguments[..], more].concat(), &[]))
}

fn finish_slowly(child: Child) -> Output {
    finish_within(child, CLUSTER_PATIENCE)
}

fn audit(scene: &Scene, pipeline: &Path) {
    let audit = scene.turnstile(&["audit", pipeline.to_str().unwrap(), "--lake", spark_lake(scene).to_str().unwrap()]);
    assert!(audit.status.success() && text(&audit).contains("all is well"), "{}", text(&audit));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_cluster_publishes_the_files_of_the_embedded_engine() {
    let scene = Scene::apache("spark-parity", 3);
    let server = server(&scene);
    send(&scene, &mixed(3_000));
    send(&scene, &closing());
    for format in ["csv.gz", "parquet"] {
        let pipeline = scene.pipeline_with(STREAM, &format!("format = \"{format}\""), crate::scene::SQL);
        let _ = std::fs::remove_dir_all(scene.lake());
        let _ = std::fs::remove_dir_all(spark_lake(&scene));
        let embedded = scene.turnstile(&["run", pipeline.to_str().unwrap(), "--until-end"]);
        assert!(embedded.status.success(), "{}", text(&embedded));
        let run = run_on(&scene, &pipeline, &server.remote(), &["--until-end"]);
        assert!(run.status.success(), "{}", text(&run));

        let (ours, theirs) = (files(&scene.lake()), files(&spark_lake(&scene)));
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{}", text(&run));
        assert!(ours.len() > 60, "{}", ours.len());
        let different: Vec<&String> =
            ours.iter().filter(|(name, bytes)| theirs[*name] != **bytes).map(|(name, _)| name).collect();
        assert_eq!(different, [""; 0], "{format}");
        audit(&scene, &pipeline);

        // The same messages were rejected, and nothing else was lost.
        let lake = spark_lake(&scene);
        let of = |lake: &Path| {
            let lake = lake.to_str().unwrap();
            let shown = scene.turnstile(&["deadletter", "show", pipeline.to_str().unwrap(), "--lake", lake, "--json"]);
            assert!(shown.status.success(), "{}", text(&shown));
            let lines = String::from_utf8(shown.stdout).unwrap();
            let mut letters: Vec<(String, i64, String)> = lines
                .lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
                .map(|letter| {
                    (letter["partition"].to_string(), letter["offset"].as_i64().unwrap(), letter["value"].to_string())
                })
                .collect();
            letters.sort();
            letters
        };
        assert_eq!(of(&scene.lake()), of(&lake));

        // A file leads back to its messages, and they make it again.
        let name = ours.keys().nth(30).unwrap();
        let explained =
            scene.turnstile(&["explain", name, pipeline.to_str().unwrap(), "--lake", lake.to_str().unwrap()]);
        assert!(text(&explained).contains("within"), "{}", text(&explained));
        let replay = ["replay", name, pipeline.to_str().unwrap(), "--lake", lake.to_str().unwrap(), "--to", "again"];
        let replayed = scene.turnstile(&replay);
        assert!(replayed.status.success() && text(&replayed).contains("byte for byte"), "{}", text(&replayed));
        std::fs::remove_dir_all(scene.dir.path().join("again")).unwrap();

        // A second run finds nothing new.
        let again = run_on(&scene, &pipeline, &server.remote(), &["--until-end"]);
        assert!(again.status.success(), "{}", text(&again));
        assert_eq!(files(&lake), theirs);
    }
}

/// A run that goes on.
fn spawn_on(scene: &Scene, pipeline: &Path, remote: &str, more: &[&str]) -> Child {
    let lake = lake_setting(scene);
    let arguments = ["run", pipeline.to_str().unwrap(), "--engine", "spark", "--remote", remote, "--set", &lake];
    scene.spawn(&[&arguments[..], more].concat(), &[])
}

/// Waits until exactly `messages` are in the lake of the Spark runs.
fn wait_for(scene: &Scene, messages: &[String], mut each: impl FnMut()) {
    let (began, expected) = (Instant::now(), expected(messages));
    loop {
        let rows = published_rows(&spark_lake(scene));
        if rows == expected {
            return;
        }
        assert!(
            began.elapsed() < CLUSTER_PATIENCE,
            "{} of {} rows after {:?}",
            rows.len(),
            expected.len(),
            began.elapsed()
        );
        each();
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn whatever_is_killed_every_window_is_published_once() {
    let scene = Scene::apache("spark-kills", 3);
    let dir = scene.dir.path().join("spark");
    std::fs::create_dir_all(&dir).unwrap();
    let mut cluster = SparkCluster::start(&home(), &dir, 2).unwrap();
    let remote = cluster.server.remote();
    let pipeline = scene.pipeline(STREAM);
    let all = messages(3_000);
    let mut run = spawn_on(&scene, &pipeline, &remote, &[]);
    let (mut executors, mut restarts) = (0, 0);
    for (round, part) in all.chunks(all.len().div_ceil(20)).enumerate() {
        scene.send(part.iter().map(String::as_bytes));
        let began = Instant::now();
        // In the middle of a batch, at another point of it each time.
        std::thread::sleep(Duration::from_millis(300 + 170 * (round as u64 % 7)));
        while !cluster.kill_executor().unwrap() {
            assert!(began.elapsed() < CLUSTER_PATIENCE, "no executor comes back: {}", text(&stop(run)));
            std::thread::sleep(Duration::from_millis(50));
        }
        executors += 1;
        match round {
            // The driver, and with it the session and the query.
            5 | 12 => cluster.server.restart().unwrap(),
            // The publisher.
            8 | 15 => {
                run.kill().unwrap();
                run.wait().unwrap();
                restarts += 1;
                run = spawn_on(&scene, &pipeline, &remote, &[]);
            }
            _ => {}
        }
    }
    assert_eq!((executors, restarts), (20, 2));
    send(&scene, &closing());
    wait_for(&scene, &all, || {
        if let Some(status) = run.try_wait().unwrap() {
            panic!("the run ended ({status}): {}", String::from_utf8_lossy(&read_all(&mut run)));
        }
    });
    let output = stop(run);
    assert!(output.status.success(), "{}", text(&output));
    audit(&scene, &pipeline);
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_query_that_is_left_goes_on_and_the_next_run_publishes_what_it_finished() {
    let scene = Scene::apache("spark-left", 2);
    let server = server(&scene);
    let pipeline = scene.pipeline(STREAM);
    let all = messages(1_000);
    let run = spawn_on(&scene, &pipeline, &server.remote(), &["--on-stop", "leave"]);
    send(&scene, &all[..500].iter().map(|message| message.clone().into_bytes()).collect::<Vec<_>>());
    let began = Instant::now();
    while published_rows(&spark_lake(&scene)).is_empty() {
        assert!(began.elapsed() < CLUSTER_PATIENCE, "{}", text(&stop(run)));
        std::thread::sleep(Duration::from_millis(100));
    }
    let output = stop(run);
    assert!(output.status.success() && text(&output).contains("the query goes on"), "{}", text(&output));

    // Nothing is published, and the query reads on.
    send(&scene, &all[500..].iter().map(|message| message.clone().into_bytes()).collect::<Vec<_>>());
    send(&scene, &closing());
    let log = server.process().log().to_owned();
    let batches = || std::fs::read_to_string(&log).unwrap().matches("Committed").count();
    let before = batches();
    while batches() < before + 2 {
        assert!(began.elapsed() < 2 * CLUSTER_PATIENCE, "the query that was left does nothing");
        std::thread::sleep(Duration::from_millis(100));
    }

    // The embedded engine does not take what is a cluster's, and a run here has no end to drain to.
    let lake = lake_setting(&scene);
    let embedded = scene.turnstile(&["run", pipeline.to_str().unwrap(), "--set", &lake]);
    assert_eq!(embedded.status.code(), Some(8), "{}", text(&embedded));
    assert!(text(&embedded).contains("--engine spark"), "{}", text(&embedded));
    let drained = run_on(&scene, &pipeline, &server.remote(), &["--drain"]);
    assert_eq!(drained.status.code(), Some(2), "{}", text(&drained));

    let run = spawn_on(&scene, &pipeline, &server.remote(), &[]);
    wait_for(&scene, &all, || {});
    let output = stop(run);
    assert!(output.status.success(), "{}", text(&output));
    audit(&scene, &pipeline);
}

#[test]
fn a_server_that_is_down_and_a_pipeline_of_the_other_engine_are_refused_at_once() {
    let scene = Scene::embedded(1);
    let pipeline = scene.pipeline(STREAM);
    let remote = format!("sc://127.0.0.1:{}", free_port().unwrap());
    let began = Instant::now();
    let down = run_on(&scene, &pipeline, &remote, &[]);
    assert_eq!(down.status.code(), Some(4), "{}", text(&down));
    assert!(text(&down).contains("cannot be reached"), "{}", text(&down));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    let nowhere = scene.turnstile(&["run", pipeline.to_str().unwrap(), "--engine", "spark"]);
    assert_eq!(nowhere.status.code(), Some(2), "{}", text(&nowhere));
    assert!(text(&nowhere).contains("SPARK_REMOTE"), "{}", text(&nowhere));
    let misplaced = scene.turnstile(&["run", pipeline.to_str().unwrap(), "--remote", &remote]);
    assert_eq!(misplaced.status.code(), Some(2), "{}", text(&misplaced));

    // Open windows of the embedded engine stay its own.
    send(&scene, &messages(200).into_iter().map(String::into_bytes).collect::<Vec<_>>());
    let lake = lake_setting(&scene);
    let other = scene.pipeline_with(STREAM, "", &crate::scene::SQL.replace("count(*)", "count(ID)"));
    std::fs::remove_dir_all(spark_lake(&scene)).unwrap();
    let embedded = scene.turnstile(&["run", other.to_str().unwrap(), "--set", &lake, "--until-end"]);
    assert!(embedded.status.success(), "{}", text(&embedded));
    let refused = run_on(&scene, &other, &remote, &[]);
    assert_eq!(refused.status.code(), Some(8), "{}", text(&refused));
    assert!(text(&refused).contains("the embedded engine"), "{}", text(&refused));
}

/// Asks a run to end, and waits for it.
fn stop(run: Child) -> Output {
    signal(&run, "INT");
    finish_slowly(run)
}

fn read_all(run: &mut Child) -> Vec<u8> {
    let mut said = Vec::new();
    run.stderr.as_mut().unwrap().read_to_end(&mut said).unwrap();
    said
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_pipeline_moves_to_a_cluster_and_back_and_no_window_is_missing_or_doubled() {
    let scene = Scene::apache("spark-moves", 3);
    let server = server(&scene);
    let pipeline = scene.pipeline(STREAM);
    let all = messages(3_000);
    let lake = lake_setting(&scene);
    let migrate = |to: &str| {
        let moved = scene.turnstile(&["migrate", pipeline.to_str().unwrap(), "--to", to, "--set", &lake]);
        assert!(moved.status.success(), "{}", text(&moved));
        text(&moved)
    };
    let never = scene.turnstile(&["migrate", pipeline.to_str().unwrap(), "--to", "spark", "--set", &lake]);
    assert!(!never.status.success() && text(&never).contains("has"), "{}", text(&never));
    let mut before = Vec::new();
    for (turn, part) in all.chunks(500).enumerate() {
        // Rejected messages and duplicates are in what is read again, too.
        for (at, message) in part.iter().enumerate() {
            before.push(message.clone().into_bytes());
            if at % 50 == 49 {
                before.push(message.clone().into_bytes());
                before.push(format!("A001,R001,{turn}-{at}").into_bytes());
            }
        }
        // Once the cluster reads nothing but what was read before: its windows stay open, and must not be forgotten.
        if turn != 3 {
            send(&scene, &before);
            before.clear();
        }
        if turn % 2 == 0 {
            let run = scene.turnstile(&["run", pipeline.to_str().unwrap(), "--until-end", "--set", &lake]);
            assert!(run.status.success(), "{}", text(&run));
            let moved = migrate("spark");
            assert!(moved.contains("messages read again      spark-moves"), "{moved}");
            assert!(migrate("spark").contains("already"));
        } else {
            let run = run_on(&scene, &pipeline, &server.remote(), &["--until-end"]);
            assert!(run.status.success(), "{}", text(&run));
            let moved = migrate("embedded");
            assert!(moved.contains("messages read again      spark-moves"), "{moved}");
        }
    }
    send(&scene, &closing());
    let run = scene.turnstile(&["run", pipeline.to_str().unwrap(), "--until-end", "--set", &lake]);
    assert!(run.status.success(), "{}", text(&run));
    assert_eq!(published_rows(&spark_lake(&scene)), expected(&all));
    audit(&scene, &pipeline);
    // Each rejected message is in the dead letters once.
    let lake = spark_lake(&scene);
    let shown = ["deadletter", "show", pipeline.to_str().unwrap(), "--lake", lake.to_str().unwrap(), "--json"];
    let shown = scene.turnstile(&shown);
    assert_eq!(String::from_utf8(shown.stdout).unwrap().lines().count(), 60);
}
