//! Loads by a schedule: missed ones, two schedulers at once.

use std::time::{Duration, Instant};

use crate::scene::{PATIENCE, Scene, finish, messages, signal, text, until};
use crate::targets::{FACTS, assert_same, embedded_sums, oracle};

/// `[warehouse]` with the built-in models and this schedule.
fn warehouse(schedule: &str) -> String {
    format!("[warehouse]\ntable = \"ext_turnstile\"\nschedule = \"{schedule}\"\nmodels = \"built-in\"\n")
}

/// The loads that were recorded: windows and error of each.
fn loads(scene: &Scene, pipeline: &str) -> Vec<(u64, Option<String>)> {
    let status = scene.turnstile(&["warehouse", "status", "--json", "--last", "1000", pipeline]);
    assert!(status.status.success(), "{}", text(&status));
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let runs = status["runs"].as_array().unwrap();
    runs.iter().map(|run| (run["windows"].as_u64().unwrap(), run["error"].as_str().map(str::to_owned))).collect()
}

#[test]
fn a_load_that_was_missed_is_caught_up_once() {
    let scene = Scene::embedded(1);
    let pipeline = scene.pipeline_with("", &warehouse("0 4 29 2 *"), FACTS);
    let file = pipeline.to_str().unwrap();
    let all = messages(600);
    scene.send(all[..300].iter().map(String::as_bytes));
    assert!(scene.drain(&pipeline).status.success());
    // No load has ever run: the missed one runs at the start, though the next time is years away.
    let watching = scene.spawn(&["warehouse", "run", "--watch", file], &[]);
    until("the missed load has run", || loads(&scene, file).len() == 1);
    scene.send(all[300..].iter().map(String::as_bytes));
    assert!(scene.drain(&pipeline).status.success());
    std::thread::sleep(Duration::from_secs(2));
    signal(&watching, "INT");
    assert!(finish(watching).status.success());
    // Another scheduler finds that nothing is due.
    let again = scene.spawn(&["warehouse", "run", "--watch", file], &[]);
    std::thread::sleep(Duration::from_secs(2));
    signal(&again, "INT");
    assert!(finish(again).status.success());
    assert_eq!(loads(&scene, file).len(), 1);
}

#[test]
fn of_two_schedulers_each_window_is_loaded_by_one() {
    let scene = Scene::embedded(1);
    let pipeline = scene.pipeline_with("commit = { rows = 50 }", &warehouse("200 ms"), FACTS);
    let file = pipeline.to_str().unwrap();
    let all = messages(3_000);
    scene.send(all[..100].iter().map(String::as_bytes));
    assert!(scene.turnstile(&["run", file, "--until-end"]).status.success());
    let watching: Vec<_> = (0..2).map(|_| scene.spawn(&["warehouse", "run", "--watch", file], &[])).collect();
    for part in all[100..].chunks(290) {
        scene.send(part.iter().map(String::as_bytes));
        assert!(scene.turnstile(&["run", file, "--until-end"]).status.success());
    }
    assert!(scene.drain(&pipeline).status.success());
    let expected = oracle(&all);
    let began = Instant::now();
    while embedded_sums(&scene, &pipeline, "fact_turnstile") != expected && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(100));
    }
    for watching in watching {
        signal(&watching, "INT");
        let ended = finish(watching);
        assert!(ended.status.success(), "{}", text(&ended));
        assert!(!text(&ended).contains("warning"), "{}", text(&ended));
    }
    assert_same(&embedded_sums(&scene, &pipeline, "ext_turnstile"), &expected, "the lake");
    assert_same(&embedded_sums(&scene, &pipeline, "fact_turnstile"), &expected, "embedded");
    let loads = loads(&scene, file);
    assert!(loads.iter().all(|(_, error)| error.is_none()), "{loads:?}");
}
