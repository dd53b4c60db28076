//! `turnstile run --engine spark`: what a cluster computes is what the embedded engine computes, whatever is killed meanwhile.

use std::io::Read;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use turnstile_testkit::servers::free_port;

use crate::scene::{Scene, expected, messages, published_rows, text};
use crate::spark_scene::{
    CLUSTER_PATIENCE, STREAM, audit, closing, cluster, counters, dead_letters, files, finish_slowly, lake_setting,
    mixed, run_on, send, server, spark_lake, spawn_on, stop, wait_for,
};

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
        assert_eq!(dead_letters(&scene, &pipeline, &scene.lake()), dead_letters(&scene, &pipeline, &lake));

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

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn late_messages_are_dead_letters_on_a_cluster_too() {
    const FILTERED: &str = "SELECT STATION, sum(ENTRIES) AS ENTRIES, sum(EXITS) AS EXITS, count(*) AS N FROM turnstile \
                            WHERE DESC = 'REGULAR' GROUP BY window(TIMESTAMP, '5 minutes'), STATION";
    let scene = Scene::apache("spark-late", 3);
    let server = server(&scene);
    let all = messages(600);
    let again = |at: usize, what: &str| all[at].replace("REGULAR", what).into_bytes();
    send(&scene, &mixed(600));
    send(&scene, &closing());
    let duplicates = STREAM;
    let [counted, dropped] = ["idle = \"1 hour\"", "idle = \"1 hour\"\nlate = \"drop\""];
    let mut scenes = Vec::new();
    for (turn, stream) in [duplicates, counted, dropped].into_iter().enumerate() {
        let name = format!("{turn}");
        let pipeline = scene.pipeline_with(stream, "", FILTERED);
        let [ours, theirs] = ["embedded", "spark"].map(|engine| scene.dir.path().join(format!("{engine}-{name}")));
        let own = pipeline.with_file_name(format!("late-{name}.toml"));
        std::fs::copy(&pipeline, &own).unwrap();
        scenes.push((own, ours, theirs));
    }
    let run = |pipeline: &Path, lake: &Path, on: &[&str]| {
        let lake = format!("lake.url=file:{}", lake.display());
        let arguments = ["run", pipeline.to_str().unwrap(), "--until-end", "--set", &lake];
        finish_slowly(scene.spawn(&[&arguments[..], on].concat(), &[]))
    };
    let remote = server.remote();
    let cluster = ["--engine", "spark", "--remote", remote.as_str()];
    let both = || {
        for (pipeline, ours, theirs) in &scenes {
            for (lake, on) in [(ours, &[][..]), (theirs, &cluster[..])] {
                let output = run(pipeline, lake, on);
                assert!(output.status.success(), "{}", text(&output));
            }
        }
    };
    both();
    // Days late; some are duplicates, one is no row, and the last is in time.
    let mut late: Vec<Vec<u8>> =
        (100..140).map(|at| again(at, if at % 4 == 0 { "RECOVR AUD" } else { "REGULAR" })).collect();
    late.extend([again(300, "REGULAR"), b"A001,R001,late".to_vec()]);
    late.extend(
        closing().into_iter().map(|message| String::from_utf8(message).unwrap().replace("end-", "then-").into_bytes()),
    );
    send(&scene, &late);
    both();
    for (turn, (pipeline, ours, theirs)) in scenes.iter().enumerate() {
        assert_eq!(files(ours), files(theirs), "{turn}");
        let [letters, same] = [ours, theirs].map(|lake| dead_letters(&scene, pipeline, lake));
        assert_eq!(letters, same, "{turn}");
        let late = letters.iter().filter(|letter| letter.contains("already closed")).count();
        assert_eq!(late, if turn < 2 { 41 } else { 0 }, "{letters:#?}");
        let [counted, same] = [ours, theirs].map(|lake| counters(&scene, pipeline, lake));
        assert_eq!(counted, same, "{turn}");
        assert_eq!(counted["late"], 41, "{counted}");
        assert_eq!(counted["others"]["unresolved"], serde_json::Value::Null, "{counted}");
    }
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn whatever_is_killed_every_window_is_published_once() {
    let scene = Scene::apache("spark-kills", 3);
    let mut cluster = cluster(&scene);
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
    scene.send(all[..500].iter().map(String::as_bytes));
    let began = Instant::now();
    while published_rows(&spark_lake(&scene)).is_empty() {
        assert!(began.elapsed() < CLUSTER_PATIENCE, "{}", text(&stop(run)));
        std::thread::sleep(Duration::from_millis(100));
    }
    let output = stop(run);
    assert!(output.status.success() && text(&output).contains("the query goes on"), "{}", text(&output));

    // Nothing is published, and the query reads on.
    scene.send(all[500..].iter().map(String::as_bytes));
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

    let misplaced = scene.turnstile(&["run", pipeline.to_str().unwrap(), "--on-stop", "leave"]);
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

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_message_for_a_window_that_was_published_before_the_move_is_late() {
    let scene = Scene::apache("spark-moved-late", 2);
    let server = server(&scene);
    let pipeline = scene.pipeline(STREAM);
    let lake = lake_setting(&scene);
    let all = messages(400);
    scene.send(all[..300].iter().map(String::as_bytes));
    let run = scene.turnstile(&["run", pipeline.to_str().unwrap(), "--until-end", "--set", &lake]);
    assert!(run.status.success(), "{}", text(&run));
    assert!(published_rows(&spark_lake(&scene)).len() > 4, "{}", text(&run));
    let moved = scene.turnstile(&["migrate", pipeline.to_str().unwrap(), "--to", "spark", "--set", &lake]);
    assert!(moved.status.success(), "{}", text(&moved));

    // The query knows no watermark yet, and would take them.
    let late: Vec<Vec<u8>> = (0..7).map(|at| all[at].replace("id-", "late-").into_bytes()).collect();
    send(&scene, &late);
    scene.send(all[300..].iter().map(String::as_bytes));
    send(&scene, &closing());
    let run = run_on(&scene, &pipeline, &server.remote(), &["--until-end"]);
    assert!(run.status.success(), "{}", text(&run));
    assert_eq!(published_rows(&spark_lake(&scene)), expected(&all));
    let letters = dead_letters(&scene, &pipeline, &spark_lake(&scene));
    assert_eq!(letters.iter().filter(|letter| letter.contains("already closed")).count(), late.len(), "{letters:#?}");
    assert_eq!(counters(&scene, &pipeline, &spark_lake(&scene))["late"], late.len() as u64);
    audit(&scene, &pipeline);
}
