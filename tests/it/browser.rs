//! The console in a real browser: who can read its pages, and what comes to them while they are open.
//!
//! Pictures of every page are kept in `screenshots` in the target folder.

use crate::chromium::Chromium;
use crate::console_process::ConsoleProcess;
use crate::scene::{PATIENCE, Scene, messages};
use crate::shown_console::{ShownConsole, string};

/// The pages of every pipeline, and the keys that lead there.
const PAGES: [(&str, &str, &str); 8] = [
    ("overview", "", "o"),
    ("windows", "/windows", "w"),
    ("partitions", "/partitions", "p"),
    ("dead-letters", "/dead-letters", "d"),
    ("stations", "/stations", "s"),
    ("runs", "/runs", "r"),
    ("sql", "/sql", "q"),
    ("pipeline", "/pipeline", "f"),
];

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn every_page_can_be_read_by_everyone_at_both_widths_and_in_both_schemes() {
    let scene = Scene::embedded(2);
    let sent = messages(1_500);
    scene.send(sent.iter().map(String::as_bytes).chain([b"nonsense".as_slice()]));
    let mut shown = ShownConsole::run(scene, "commit = \"100 ms\"");
    shown.wait_for_messages(1_501);
    let published = shown.kept_windows();
    let run = string(&shown.json_lines(&["runs", "list", "--json"])[0]["id"]);
    let more = [("window", format!("/windows/{}", published[0].0)), ("run", format!("/runs/{run}"))];
    let pages = PAGES.iter().map(|(name, path, _)| (*name, (*path).to_owned())).chain(more);
    let mut problems = Vec::new();
    for (name, path) in pages {
        let url = shown.url(&path);
        problems.extend(shown.browser.walk(name, &url));
    }
    let nowhere = shown.url("/nosuch");
    problems.extend(shown.browser.walk_answered("nowhere", &nowhere, 404));
    assert_eq!(problems, Vec::<String>::new());
    shown.console.stop();
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn pages_without_data_and_of_a_lake_alone_can_be_read_too() {
    let mut shown = ShownConsole::run(Scene::embedded(1), "");
    let mut problems = Vec::new();
    let url = shown.url("");
    problems.extend(shown.browser.walk("empty-overview", &url));
    shown.scene.send(messages(300).iter().map(String::as_bytes));
    shown.wait_for_messages(300);
    shown.console.stop();
    let console = ConsoleProcess::start(&shown.scene, &["console", &shown.file]);
    for (name, path, _) in PAGES.iter().filter(|(name, ..)| !["sql", "pipeline", "stations"].contains(name)) {
        let url = console.url(&format!("/p/story{path}"));
        problems.extend(shown.browser.walk(&format!("stopped-{name}"), &url));
    }
    assert_eq!(problems, Vec::<String>::new());
    console.stop();
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn what_is_wrong_with_a_page_is_found() {
    let page = "<!doctype html><html lang=en><title>t</title><meta http-equiv=Content-Security-Policy \
                content=\"script-src 'self'\"><body style='background:white'><main><h1>A page with faults</h1>\
                <p style='color:#bbb'>Words that are too pale to be read.</p><div style='width:2000px'>wide</div>\
                <img src='data:,'><script>1</script></main>";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("faults.html");
    std::fs::write(&file, page).unwrap();
    // A page of the disk is answered with 200.
    let found = Chromium::start().walk("faults", &format!("file://{}", file.display()));
    for fault in [
        "1280 px light: 728 px wider",
        "390 px dark: the page is light",
        "Content Security Policy",
        "color-contrast",
        "image-alt",
    ] {
        assert!(found.iter().any(|problem| problem.contains(fault)), "{fault}: {found:#?}");
    }
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn windows_close_before_a_person_s_eyes_when_more_messages_come() {
    let scene = Scene::embedded(1);
    let sent = messages(1_100);
    scene.send(sent[..600].iter().map(String::as_bytes));
    let mut shown = ShownConsole::run(scene, "commit = \"100 ms\"");
    shown.wait_for_messages(600);
    shown.open("/windows");
    let closed = "01:00–01:05 closed";
    assert!(!shown.browser.texts("#windows tbody tr").iter().any(|row| row.contains(closed)));
    shown.browser.see("#windows tbody tr", "01:00–01:05 open", PATIENCE);
    shown.scene.send(sent[600..900].iter().map(String::as_bytes));
    shown.browser.see("#windows tbody tr", closed, PATIENCE);
    // The page of a window that is open: it closes, and its rows and file come.
    shown.open("/windows/2026-08-01T01:35:00Z");
    assert_eq!(shown.browser.texts("#window .pill"), ["open"]);
    assert_eq!(shown.browser.texts("#h-why"), ["Why it is not closed"]);
    shown.scene.send(sent[900..].iter().map(String::as_bytes));
    shown.browser.see("#window .pill", "closed", PATIENCE);
    shown.browser.see("#rows tbody tr", "STATION 3", PATIENCE);
    shown.browser.see("#origin tbody tr", ".csv.gz", PATIENCE);
    assert_eq!(shown.browser.texts("#h-why"), Vec::<String>::new());
    assert_eq!(shown.browser.problems(), Vec::<String>::new());
    shown.console.stop();
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn every_page_is_reached_with_the_keyboard_alone() {
    let scene = Scene::embedded(1);
    scene.send(messages(300).iter().map(String::as_bytes));
    let mut shown = ShownConsole::run(scene, "commit = \"100 ms\"");
    shown.wait_for_messages(300);
    shown.open("");
    for (name, path, key) in PAGES {
        assert_eq!(shown.browser.navigate(&["g", key]), shown.url(path), "{name}");
        assert_eq!(shown.browser.texts("nav.sections [aria-current]").len(), 1, "{name}");
    }
    shown.browser.press(&["?"]);
    assert_eq!(shown.browser.texts("dialog[open] h2"), ["Keyboard"]);
    shown.browser.press(&["Escape"]);
    assert_eq!(shown.browser.texts("dialog[open] h2"), Vec::<String>::new());
    assert_eq!(shown.browser.navigate(&["/"]), shown.url("/sql"));
    shown.console.stop();
}
