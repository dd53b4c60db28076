//! Failures are seen in a browser that has the overview open, soon and without loading it again.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::chromium::Chromium;
use crate::console_process::ConsoleProcess;
use crate::disk::Disk;
use crate::scene::{PATIENCE, SQL, Scene, messages};
use crate::shown_console::ShownConsole;

/// How soon a failure must be seen.
const SOON: Duration = Duration::from_secs(5);

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_broker_that_goes_away_is_seen_on_the_overview_within_five_seconds() {
    let scene = Scene::embedded(1);
    scene.send(messages(300).iter().map(String::as_bytes));
    let mut shown = ShownConsole::run(scene, "commit = \"100 ms\"");
    shown.wait_for_messages(300);
    shown.open("");
    shown.browser.see("#state .pill", "running", PATIENCE);
    shown.scene.stop_broker();
    shown.browser.see("#state .pill", "waiting", SOON);
    shown.browser.see("#state", "The brokers do not answer.", SOON);
    shown.browser.see("#pulse .pill", "waiting", SOON);
    shown.browser.picture("broker-away-1280-light");
    assert_eq!(shown.browser.problems(), Vec::<String>::new());
    shown.console.stop();
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn bad_messages_are_seen_on_the_overview_within_five_seconds() {
    let scene = Scene::embedded(1);
    scene.send(messages(300).iter().map(String::as_bytes));
    let mut shown = ShownConsole::run(scene, "commit = \"100 ms\"");
    shown.wait_for_messages(300);
    shown.open("");
    shown.browser.see("#conservation tr", "dead-lettered 0", PATIENCE);
    shown.scene.send([b"nonsense".as_slice(), b"more", b"and more"]);
    shown.browser.see("#state .warning", "could not be processed", SOON);
    shown.browser.see("#conservation tr", "dead-lettered 3", SOON);
    shown.browser.picture("bad-messages-1280-light");
    assert_eq!(shown.browser.problems(), Vec::<String>::new());
    shown.console.stop();
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_full_lake_is_seen_on_the_overview_within_five_seconds_and_so_is_its_end() {
    let scene = Scene::embedded(1);
    let sent = messages(900);
    scene.send(sent[..300].iter().map(String::as_bytes));
    let disk = Disk::mount(&scene.lake(), "size=8m");
    let pipeline = scene.pipeline_with("commit = \"100 ms\"", "[console]\nlisten = \"127.0.0.1:0\"\n", SQL);
    let console = ConsoleProcess::of(scene.spawn_on(&disk, &["run", pipeline.to_str().unwrap()]));
    let mut browser = Chromium::start();
    browser.open(&console.url("/p/story"));
    browser.see("#conservation", "Read 300", PATIENCE);
    let filler = disk.path().join("filler");
    fill(&filler);
    scene.send(sent[300..600].iter().map(String::as_bytes));
    browser.see("#state .pill", "waiting", SOON);
    browser.see("#state", "No space left on device", SOON);
    browser.picture("lake-full-1280-light");
    std::fs::remove_file(&filler).unwrap();
    browser.see("#state .pill", "running", PATIENCE);
    browser.see("#conservation", "Read 600", PATIENCE);
    assert_eq!(browser.problems(), Vec::<String>::new());
    console.stop();
}

/// Writes until there is no space.
fn fill(filler: &Path) {
    let mut file = std::fs::File::create(filler).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
}
