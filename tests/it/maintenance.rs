//! The lake kept in order: days into one file, old files away, and every row still what it was.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Instant;

use crate::scene::{PATIENCE, SQL, Scene, data_files, expected, finish, messages, signal, text};
use crate::targets::{FACTS, assert_same, embedded_sums, oracle};

/// A day and two hours of readings, 7 s apart.
const READINGS: usize = 13_372;

/// Windows in that time.
const WINDOWS: usize = 312;

fn lake(scene: &Scene, verb: &str, pipeline: &Path, flags: &[&str]) -> String {
    let output = scene.turnstile(&[&["lake", verb, pipeline.to_str().unwrap()], flags].concat());
    assert!(output.status.success(), "{}", text(&output));
    both(&output)
}

/// The files below `folder`, at any depth, that the glob `**/*<ending>` finds.
fn globbed(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = entries.flat_map(|path| if path.is_dir() { globbed(&path, ending) } else { vec![path] });
    below.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

#[test]
fn a_search_for_data_files_below_the_root_of_a_lake_counts_each_row_once() {
    for (format, other) in [("parquet", "csv.gz"), ("csv.gz", "parquet")] {
        let scene = Scene::embedded(1);
        let folder = scene.dir.path().join("models");
        std::fs::create_dir(&folder).unwrap();
        let sql = "-- kind: incremental\n-- key: station, window_start\n-- window: window_start\n\
                   SELECT station, start AS window_start, entries FROM ext_turnstile\n";
        std::fs::write(folder.join("fact.sql"), sql).unwrap();
        let settings = format!(
            "format = \"{format}\"\ngrace = \"0 seconds\"\n[warehouse]\ntable = \"ext_turnstile\"\n\
             schedule = \"1 minute\"\nmodels = \"models\""
        );
        let pipeline = scene.pipeline_with("commit = { rows = 500 }", &settings, SQL);
        let file = pipeline.to_str().unwrap();
        // A dead letter, two days of windows, and some that stay open.
        scene.send(messages(READINGS).iter().map(String::as_bytes).chain([b"nonsense".as_slice()]));
        for _ in 0..2 {
            let run = scene.turnstile(&["run", file, "--until-end"]);
            assert!(run.status.success(), "{}", text(&run));
        }
        let loaded = scene.turnstile(&["models", "run", file]);
        assert!(loaded.status.success(), "{}", text(&loaded));
        for verb in ["compact", "gc"] {
            lake(&scene, verb, &pipeline, &[]);
        }
        let counts = "SELECT count(*) FROM ext_turnstile UNION ALL SELECT count(*) FROM fact";
        let counts = scene.turnstile(&["sql", "--pipeline", file, "--format", "csv", counts]);
        let counts = String::from_utf8(counts.stdout).unwrap();
        let expected: u64 = counts.lines().nth(1).unwrap().parse().unwrap();
        assert!(expected > 1_000 && counts.lines().nth(2).unwrap() == counts.lines().nth(1).unwrap(), "{counts}");
        let rows = |path: &PathBuf| {
            turnstile_lake::count_rows(&path.to_string_lossy(), &std::fs::read(path).unwrap()).unwrap()
        };
        assert_eq!(globbed(&scene.lake(), &format!(".{format}")).iter().map(rows).sum::<u64>(), expected, "{format}");
        assert_eq!(globbed(&scene.lake(), &format!(".{other}")), Vec::<PathBuf>::new());
    }
}

/// Publishes every window, and starts once more: the last commit's files are not known to be published until the next.
fn drain(scene: &Scene, pipeline: &Path) {
    for _ in 0..2 {
        let drained = scene.drain(pipeline);
        assert!(drained.status.success(), "{}", text(&drained));
    }
}

fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_day_becomes_one_file_old_windows_are_deleted_and_every_window_is_still_explained() {
    let scene = Scene::embedded(1);
    let messages = messages(READINGS);
    scene.send(messages.iter().map(String::as_bytes));
    let pipeline = scene.pipeline_with("", "grace = \"0 seconds\"\nretain = \"1 hour\"", SQL);
    drain(&scene, &pipeline);
    assert_eq!(data_files(&scene.lake()).len(), WINDOWS);

    let plan = lake(&scene, "compact", &pipeline, &["--dry-run"]);
    assert!(plan.contains("compact  window_date=2026-08-01  288 windows"), "{plan}");
    assert_eq!(data_files(&scene.lake()).len(), WINDOWS, "a dry run changes nothing");
    let done = lake(&scene, "compact", &pipeline, &[]);
    assert!(done.contains("1 compacted from 288 windows, 288 retired"), "{done}");
    let collected = lake(&scene, "gc", &pipeline, &["--set", "lake.retain=14 days"]);
    assert!(collected.contains("288 deleted"), "{collected}");
    assert_eq!(data_files(&scene.lake()).len(), WINDOWS - 287);
    assert_eq!(scene.rows(), expected(&messages));
    assert!(scene.audit(&pipeline).starts_with("all is well: 312 files (288 retired, 1 compacted objects)"));

    let explained = scene.turnstile(&["explain", "2026-08-01T08:00Z", pipeline.to_str().unwrap()]);
    let explained = both(&explained);
    assert!(
        explained.contains("now in   window_date=2026-08-01/story_20260801_m") && explained.contains("@"),
        "{explained}"
    );
    let listed = lake(&scene, "files", &pipeline, &[]);
    assert!(listed.lines().next().unwrap().contains("288 windows"), "{listed}");

    let due = lake(&scene, "gc", &pipeline, &["--dry-run"]);
    assert!(due.contains("the last of 288 windows ended 2026-08-02T00:00Z, retained for 1 hour"), "{due}");
    lake(&scene, "gc", &pipeline, &[]);
    lake(&scene, "gc", &pipeline, &[]);
    let left = scene.rows();
    assert!(!left.is_empty() && left.keys().all(|(start, _)| start.as_str() >= "2026-08-02T00:55"), "{left:?}");
    scene.audit(&pipeline);
}

#[test]
fn nothing_is_retired_that_a_warehouse_may_not_have_loaded() {
    let scene = Scene::embedded(1);
    let messages = messages(2_000);
    scene.send(messages.iter().map(String::as_bytes));
    let warehouse =
        "retain = \"1 hour\"\n[warehouse]\ntable = \"ext_story\"\nschedule = \"1 minute\"\nmodels = \"built-in\"";
    let pipeline = scene.pipeline_with("commit = { rows = 200 }", warehouse, SQL);
    drain(&scene, &pipeline);
    let kept = lake(&scene, "gc", &pipeline, &[]);
    assert!(kept.contains("there was nothing to do"), "{kept}");
    let why = lake(&scene, "gc", &pipeline, &["--dry-run"]);
    assert!(why.contains("not loaded by the embedded warehouse yet: it is at seq 0"), "{why}");
    assert_eq!(scene.rows(), expected(&messages));
}

#[test]
fn a_running_pipeline_compacts_past_days_while_it_reads() {
    let scene = Scene::embedded(1);
    let messages = messages(READINGS);
    scene.send(messages.iter().map(String::as_bytes));
    let settings = "grace = \"0 seconds\"\ncompact = \"daily\"\nmaintain = \"100 ms\"";
    // The last commit's files are known to be published with the next one, which comes when the partition is idle.
    let pipeline = scene.pipeline_with("commit = \"50 ms\"\nidle = \"2 seconds\"", settings, SQL);
    let running = scene.spawn(&["run", pipeline.to_str().unwrap()], &[]);
    let began = Instant::now();
    let day = scene.lake().join("window_date=2026-08-01");
    // Small files come first, and then there is one.
    while !std::fs::read_dir(&day).is_ok_and(|files| {
        let names: Vec<String> = files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.len() == 1 && names[0].starts_with("story_20260801_m")
    }) {
        assert!(began.elapsed() < PATIENCE, "the day is not compacted");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    signal(&running, "TERM");
    let ended = finish(running);
    assert!(ended.status.success(), "{}", text(&ended));
    assert!(scene.drain(&pipeline).status.success());
    assert_eq!(scene.rows(), expected(&messages));
    scene.audit(&pipeline);
}

#[test]
fn what_every_warehouse_has_loaded_is_retired_and_its_facts_stay() {
    let scene = Scene::embedded(1);
    let messages = messages(2_000);
    scene.send(messages.iter().map(String::as_bytes));
    let warehouse = "grace = \"0 seconds\"\nretain = \"1 hour\"\n[warehouse]\ntable = \"ext_turnstile\"\n\
                     schedule = \"1 minute\"\nmodels = \"built-in\"\n";
    let pipeline = scene.pipeline_with("commit = { rows = 200 }", warehouse, FACTS);
    drain(&scene, &pipeline);
    let file = pipeline.to_str().unwrap();
    let loaded = scene.turnstile(&["warehouse", "run", "--once", file]);
    assert!(loaded.status.success(), "{}", text(&loaded));

    // A database that cannot be reached may lack anything.
    let away = "warehouse.postgres={ url = \"postgres://loader@127.0.0.1:1/none\", connect_timeout = \"1 second\" }";
    let why = lake(&scene, "gc", &pipeline, &["--dry-run", "--set", away]);
    assert!(why.contains("postgres"), "{why}");
    let before = data_files(&scene.lake()).len();
    lake(&scene, "gc", &pipeline, &["--set", away]);
    assert_eq!(data_files(&scene.lake()).len(), before);

    lake(&scene, "gc", &pipeline, &[]);
    lake(&scene, "gc", &pipeline, &[]);
    let left = data_files(&scene.lake()).len();
    assert!(left < before / 2 && left >= 12, "{left} of {before}");
    let expected = oracle(&messages);
    assert_same(&embedded_sums(&scene, &pipeline, "fact_turnstile"), &expected, "facts");
    let kept = embedded_sums(&scene, &pipeline, "ext_turnstile");
    assert!(kept.len() < expected.len() && kept.iter().all(|(key, sums)| expected.get(key) == Some(sums)));
    scene.audit(&pipeline);
}
