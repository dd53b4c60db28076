//! What a person does in a browser: sends dead letters again, cancels a run, logs in; and the alerts that come before his eyes.

use std::time::Duration;

use crate::chromium::Chromium;
use crate::console_process::ConsoleProcess;
use crate::scene::{PATIENCE, SQL, Scene, messages};
use crate::shown_console::{ShownConsole, string};

/// How soon an alert must be seen.
const SOON: Duration = Duration::from_secs(5);

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_person_sends_dead_letters_again_and_sees_so_and_the_pipeline_reads_them() {
    let scene = Scene::embedded(1);
    scene.send(messages(100).iter().map(String::as_bytes).chain([b"nonsense".as_slice(), b"more of it"]));
    let mut shown = ShownConsole::run(scene, "commit = \"100 ms\"");
    shown.wait_for_messages(102);
    shown.open("/dead-letters");
    assert_eq!(shown.browser.texts("#reasons h2 .count"), ["2"]);
    // Nothing is sent before a person has read what it does.
    shown.browser.click("#reasons details.confirm > summary");
    assert!(shown.browser.texts("#reasons details.confirm")[0].contains("Correct the pipeline first"));
    shown.browser.picture("requeue-1280-light");
    let url = shown.browser.click_to("#reasons details.confirm button");
    assert!(url.starts_with(&shown.url("/dead-letters")), "{url}");
    let answers = shown.browser.texts("[role=status], [role=alert]");
    let sent = format!("2 to {}", shown.scene.topic);
    assert!(answers.iter().any(|text| text.contains(&sent)), "{answers:?}");
    shown.wait_for_messages(104);
    shown.browser.see("#reasons h2 .count", "4", PATIENCE);
    assert_eq!(shown.browser.problems(), Vec::<String>::new());
    shown.console.stop();
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_person_cancels_a_run_which_commits_what_it_has_read() {
    let scene = Scene::embedded(1);
    scene.send(messages(100).iter().map(String::as_bytes));
    let mut shown = ShownConsole::run(scene, "commit = \"100 ms\"");
    shown.wait_for_messages(100);
    let run = string(&shown.json_lines(&["runs", "list", "--json"])[0]["id"]);
    shown.open(&format!("/runs/{run}"));
    shown.browser.click("#cancel > summary");
    shown.browser.picture("cancel-1280-light");
    shown.browser.click_to("#cancel button");
    shown.console.wait();
    let run = shown.json_lines(&["runs", "list", "--json"]).remove(0);
    assert_eq!((&run["state"], &run["message"]), (&"CANCELLED".into(), &"a person cancelled it in the console".into()));
    assert_eq!(shown.slot()["counters"]["read"], 100);
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_console_with_a_token_shows_nothing_before_a_person_has_logged_in() {
    let scene = Scene::embedded(1);
    scene.send(messages(100).iter().map(String::as_bytes));
    let settings = "[console]\nlisten = \"127.0.0.1:0\"\ntoken_env = \"TOKEN\"\n";
    let pipeline = scene.pipeline_with("commit = \"100 ms\"", settings, SQL);
    let token = "a-token-of-twenty-chars";
    let console = ConsoleProcess::of(scene.spawn(&["run", pipeline.to_str().unwrap()], &[("TOKEN", token)]));
    assert_eq!(console.get("/p/story/windows").0, 401);
    let mut browser = Chromium::start();
    let url = console.url("/login");
    assert_eq!(browser.walk("login", &url), Vec::<String>::new());
    browser.open_still(&url);
    browser.fill("#token", "another-token-of-some");
    browser.click_to("button[type=submit]");
    assert_eq!(browser.texts(".problem"), ["That is not the token."]);
    assert!(!browser.texts("body")[0].contains("story"));
    browser.fill("#token", token);
    browser.click_to("button[type=submit]");
    browser.open(&console.url("/p/story"));
    browser.see("#conservation", "Read 100", PATIENCE);
    assert!(!browser.texts("body")[0].contains(token));
    console.stop();
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn an_alert_is_seen_on_the_overview_within_five_seconds() {
    let scene = Scene::embedded(1);
    scene.send(messages(100).iter().map(String::as_bytes));
    let settings = "[console]\nlisten = \"127.0.0.1:0\"\n[alerts]\ndead_letters_per_minute = 2\nfor = \"0 s\"\n";
    let pipeline = scene.pipeline_with("commit = \"100 ms\"", settings, SQL);
    let console = ConsoleProcess::start(&scene, &["run", pipeline.to_str().unwrap()]);
    let mut browser = Chromium::start();
    browser.open(&console.url("/p/story"));
    browser.see("#conservation", "Read 100", PATIENCE);
    assert!(!browser.texts("#notes")[0].contains("alert dead"));
    scene.send([b"nonsense".as_slice(), b"more", b"and more"]);
    browser.see("#notes", "alert dead_letters_per_minute", SOON);
    browser.picture("alert-1280-light");
    assert_eq!(browser.problems(), Vec::<String>::new());
    console.stop();
}
