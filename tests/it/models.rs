//! A user's own models through the binary: checked, loaded, tested, described, rebuilt.

use std::path::{Path, PathBuf};

use crate::scene::{Scene, messages, text};
use crate::targets::FACTS;

const BY_STATION: &str = "\
-- kind: incremental
-- key: station, window_start
-- window: window_start
-- description: What each station counted.
-- column station: The station. [not_null, relationship(stations.station)]
-- column entries: People who entered. [not_null]
-- check: conservation(entries)
SELECT station, start AS window_start, sum(entries) AS entries FROM ext_turnstile GROUP BY station, start
";

const STATIONS: &str = "\
-- kind: dimension
-- key: station
-- description: Stations.
-- column station: Its name. [unique]
SELECT DISTINCT station FROM ext_turnstile
";

const TOTALS: &str = "\
-- kind: table
-- key: station
-- description: All that a station ever counted.
-- column entries: People who entered. [not_null]
SELECT station, sum(entries) AS entries FROM by_station GROUP BY station
";

/// A drained stream with these models next to its pipeline file.
fn scene(models: &[(&str, &str)]) -> (Scene, PathBuf) {
    let scene = Scene::embedded(1);
    let folder = scene.dir.path().join("models");
    std::fs::create_dir(&folder).unwrap();
    for (name, sql) in models {
        std::fs::write(folder.join(format!("{name}.sql")), sql).unwrap();
    }
    let warehouse =
        "[warehouse]\ntable = \"ext_turnstile\"\nschedule = \"1 minute\"\nmodels = \"models\"\nload_rows = 100\n";
    let pipeline = scene.pipeline_with("commit = { rows = 500 }", warehouse, FACTS);
    scene.send(messages(1_200).iter().map(String::as_bytes));
    let drained = scene.drain(&pipeline);
    assert!(drained.status.success(), "{}", text(&drained));
    (scene, pipeline)
}

fn says(scene: &Scene, pipeline: &Path, verb: &[&str]) -> String {
    let output = scene.turnstile(&[verb, &[pipeline.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{verb:?}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn number(scene: &Scene, pipeline: &Path, sql: &str) -> i64 {
    let answer = scene.turnstile(&["sql", "--pipeline", pipeline.to_str().unwrap(), "--format", "csv", sql]);
    assert!(answer.status.success(), "{sql}: {}", text(&answer));
    String::from_utf8(answer.stdout).unwrap().lines().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_user_s_models_are_checked_loaded_tested_described_and_rebuilt() {
    let (scene, pipeline) = scene(&[("by_station", BY_STATION), ("stations", STATIONS), ("totals", TOTALS)]);
    let checked = says(&scene, &pipeline, &["models", "check"]);
    let order = ["by_station", "totals"].map(|name| checked.find(&format!("{name} ")).unwrap());
    assert!(order.is_sorted(), "{checked}");

    let loaded = says(&scene, &pipeline, &["models", "run"]);
    assert!(loaded.contains("tests passed"), "{loaded}");
    let whole = |scene: &Scene| {
        let lake = number(scene, &pipeline, "SELECT sum(entries) FROM ext_turnstile");
        for table in ["by_station", "totals"] {
            assert_eq!(number(scene, &pipeline, &format!("SELECT sum(entries) FROM {table}")), lake, "{table}");
        }
        assert_eq!(number(scene, &pipeline, "SELECT count(*) FROM totals"), 4);
    };
    whole(&scene);
    assert_eq!(says(&scene, &pipeline, &["models", "run"]), "nothing new\n");

    let refreshed = says(&scene, &pipeline, &["models", "run", "--full-refresh", "by_station"]);
    assert!(refreshed.contains("load "), "{refreshed}");
    whole(&scene);
    let tested = says(&scene, &pipeline, &["models", "test"]);
    assert!(tested.trim_end().ends_with("0 failed"), "{tested}");
    let described = says(&scene, &pipeline, &["models", "docs"]);
    assert!(described.contains("All that a station ever counted.") && described.contains("by_station"), "{described}");

    // A model that comes later finds what is there.
    let doubled = "-- kind: incremental\n-- key: station, window_start\n-- window: window_start\n\
                   SELECT station, window_start, 2 * entries AS entries FROM by_station\n";
    std::fs::write(scene.dir.path().join("models/doubled.sql"), doubled).unwrap();
    says(&scene, &pipeline, &["models", "run"]);
    let twice = "SELECT (SELECT sum(entries) FROM doubled) - 2 * (SELECT sum(entries) FROM by_station)";
    assert_eq!(number(&scene, &pipeline, twice), 0);
}

#[test]
fn tests_of_models_pass_while_the_lake_is_ahead_of_what_was_loaded() {
    let (scene, pipeline) = scene(&[("by_station", BY_STATION), ("stations", STATIONS), ("totals", TOTALS)]);
    says(&scene, &pipeline, &["models", "run"]);
    scene.send(messages(2_400)[1_200..].iter().map(String::as_bytes));
    let drained = scene.drain(&pipeline);
    assert!(drained.status.success(), "{}", text(&drained));
    let sum = |table: &str| number(&scene, &pipeline, &format!("SELECT sum(entries) FROM {table}"));
    assert!(sum("ext_turnstile") > sum("by_station"), "the lake has windows that no load has read");
    let tested = says(&scene, &pipeline, &["models", "test"]);
    assert!(tested.contains("conservation") && tested.trim_end().ends_with("0 failed"), "{tested}");
    let both = "SELECT (SELECT sum(entries) FROM ext_turnstile) - (SELECT sum(entries) FROM by_station)";
    assert_eq!(number(&scene, &pipeline, both), 0, "one statement sees one position");
}

#[test]
fn a_failed_test_discards_the_load_and_exits_with_its_code() {
    let wrong = BY_STATION.replace("sum(entries)", "sum(entries) + 1");
    let (scene, pipeline) = scene(&[("by_station", &wrong), ("stations", STATIONS)]);
    let loaded = scene.turnstile(&["warehouse", "run", "--once", pipeline.to_str().unwrap()]);
    assert_eq!(loaded.status.code(), Some(9), "{}", text(&loaded));
    assert!(text(&loaded).contains("conservation"), "{}", text(&loaded));
    let status = says(&scene, &pipeline, &["warehouse", "status"]);
    assert!(status.contains("failed: ") && status.contains("has loaded nothing yet"), "{status}");
}

#[test]
fn wrong_models_are_refused_with_their_path_before_a_message_is_read() {
    let cycle = "-- kind: view\nSELECT * FROM b\n";
    let (scene, pipeline) = scene(&[("a", cycle), ("b", "-- kind: view\nSELECT * FROM a\n")]);
    for verb in [&["models", "check"][..], &["warehouse", "run", "--once"], &["run"]] {
        let refused = scene.turnstile(&[verb, &[pipeline.to_str().unwrap()]].concat());
        assert_eq!(refused.status.code(), Some(3), "{verb:?}: {}", text(&refused));
        let said = text(&refused);
        assert!(said.contains("a.sql") || said.contains("b.sql"), "{verb:?}: {said}");
    }
    std::fs::write(scene.dir.path().join("models/b.sql"), "-- kind: dimension\nSELECT 1 AS one FROM ext_turnstile\n")
        .unwrap();
    let refused = scene.turnstile(&["models", "check", pipeline.to_str().unwrap()]);
    assert!(text(&refused).contains("b.sql") && text(&refused).contains("key"), "{}", text(&refused));
}
