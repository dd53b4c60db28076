//! The console: its pages show what the ledger has, while a pipeline runs and when none does.

use crate::console_process::ConsoleProcess;
use crate::scene::{Scene, finish, messages, text, until};

#[test]
fn every_page_of_a_running_pipeline_shows_what_its_ledger_has() {
    let scene = Scene::embedded(2);
    let sent = messages(3_000);
    scene.send(sent.iter().map(String::as_bytes).chain([b"nonsense".as_slice()]));
    let warehouse =
        "[warehouse]\ntable = \"ext_story\"\nschedule = \"1 minute\"\n[console]\nlisten = \"127.0.0.1:0\"\n";
    let pipeline = scene.pipeline_with("commit = \"100 ms\"", warehouse, crate::scene::SQL);
    let file = pipeline.to_str().unwrap();
    let served = ConsoleProcess::start(&scene, &["run", file]);
    until("all is read", || served.get("/metrics").1.contains("fate=\"dead_lettered\"} 1"));
    let overview = served.page("/p/story");
    assert!(overview.contains("3,001"), "messages read: {overview}");
    let windows = served.page("/p/story/windows");
    assert!(windows.contains("2026-08-01"), "{windows}");
    let letters = served.page("/p/story/dead-letters");
    assert!(letters.contains("nonsense"), "{letters}");
    for page in ["partitions", "runs", "sql", "pipeline", "stations"] {
        let text = served.page(&format!("/p/story/{page}"));
        assert!(!text.contains("cannot be"), "{page}: {text}");
    }
    let (status, ready) = served.get("/readyz");
    assert_eq!(status, 200, "{ready}");
    assert_eq!(served.get("/p/nosuch").0, 404);
    served.stop();
    // Nothing runs: the same from the lake.
    let served = ConsoleProcess::start(&scene, &["console", file]);
    let overview = served.page("/p/story");
    assert!(overview.contains("3,001") && overview.contains("It ended as it should"), "{overview}");
    let files = crate::scene::data_files(&scene.lake());
    let newest = files.last().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    assert!(overview.contains(&newest), "{newest}: {overview}");
    served.stop();
}

#[test]
fn one_console_shows_every_pipeline_of_a_lake_those_too_whose_files_are_not_named() {
    let scene = Scene::embedded(1);
    scene.send(messages(300).iter().map(String::as_bytes));
    let pipeline = scene.pipeline("");
    let file = pipeline.to_str().unwrap();
    assert!(scene.turnstile(&["run", file, "--drain"]).status.success());
    let other = scene.dir.path().join("other.toml");
    let text_of_other = std::fs::read_to_string(&pipeline).unwrap().replace("name = \"story\"", "name = \"other\"");
    std::fs::write(&other, text_of_other).unwrap();
    assert!(scene.turnstile(&["run", other.to_str().unwrap(), "--until-end"]).status.success());
    let lake = scene.lake();
    for (arguments, whole) in [
        (vec!["console", file], vec!["story"]),
        (vec!["console", file, other.to_str().unwrap()], vec!["story", "other"]),
        (vec!["console", "--lake", lake.to_str().unwrap()], vec![]),
    ] {
        let args = [&arguments[..], &["--listen", "127.0.0.1:0"]].concat();
        let served = ConsoleProcess::start(&scene, &args);
        for name in ["story", "other"] {
            let overview = served.page(&format!("/p/{name}"));
            assert!(overview.contains("Read 300") && overview.contains("story"), "{name}: {overview}");
            let unknown = overview.contains("What this pipeline loads is not known here");
            assert_eq!(unknown, !whole.contains(&name), "{name}: {overview}");
            let windows = served.page(&format!("/p/{name}/windows"));
            assert!(windows.contains("2026-08-01"), "{name}: {windows}");
            for page in ["partitions", "dead-letters"] {
                let page = served.page(&format!("/p/{name}/{page}"));
                assert!(!page.contains("only the ledger"), "{page}");
            }
            for page in ["runs", "pipeline", "sql"] {
                let (status, page) = served.get(&format!("/p/{name}/{page}"));
                let lacks = page.contains(&format!("Of {name} only the ledger is known here"));
                assert_eq!(lacks, !whole.contains(&name), "{arguments:?} {status} {page}");
            }
        }
        assert_eq!(served.get("/p/nosuch").0, 404);
        served.stop();
    }
    let twice = scene.turnstile(&["console", file, file]);
    assert!(text(&twice).contains("two of the pipelines are named \"story\""), "{}", text(&twice));
}

#[test]
fn a_console_beyond_loopback_needs_a_token_and_tls_or_the_run_is_refused() {
    let scene = Scene::embedded(1);
    let pipeline = scene.pipeline("");
    let refused = scene.turnstile(&["run", pipeline.to_str().unwrap(), "--set", "console.listen=0.0.0.0:0"]);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    assert!(text(&refused).contains("without a token and TLS"), "{}", text(&refused));
    let runs = scene.turnstile(&["runs", "list", pipeline.to_str().unwrap(), "--state", "failed"]);
    assert!(text(&runs).contains("without a token and TLS"), "{}", text(&runs));
    let running = scene.spawn(
        &[
            "run",
            pipeline.to_str().unwrap(),
            "--set",
            "console.token_env=NOWHERE",
            "--set",
            "console.listen=127.0.0.1:0",
        ],
        &[],
    );
    let refused = finish(running);
    assert!(text(&refused).contains("there is not a token for the console"), "{}", text(&refused));
}
