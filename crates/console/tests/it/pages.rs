//! Every page with full, empty and failing data.

use std::time::Instant;

use crate::browser::{Answer, Console};
use crate::demo_data::{DemoMood, now_us};
use crate::demo_values::{WINDOW_US, instant};

const RUN: &str = "runs/0198a1b2-0000-4000-8000-000000000000";

/// The pages that need no window or run.
const PAGES: [&str; 8] = ["", "/windows", "/partitions", "/dead-letters", "/stations", "/runs", "/sql", "/pipeline"];

fn start_of(windows_ago: i64) -> String {
    instant((now_us() / WINDOW_US - windows_ago) * WINDOW_US)
}

async fn page(console: &Console, path: &str) -> Answer {
    console.get(&format!("/p/mta-turnstile{path}")).await
}

#[track_caller]
fn assert_says(answer: &Answer, texts: &[&str]) {
    let text = answer.text();
    for expected in texts {
        assert!(text.contains(expected), "no {expected:?} in {text}");
    }
}

#[tokio::test]
async fn every_page_shows_what_the_data_has() {
    let console = Console::start(DemoMood::Full).await;
    let (closed, open) = (start_of(7), start_of(0));
    let expected: [(String, &[&str]); 12] = [
        (
            String::new(),
            &[
                "running",
                "messages/s",
                "Partition mta-turnstile[3] holds it back",
                "adds up",
                "dead-lettered",
                "connection refused",
                "What to do:",
            ],
        ),
        ("/windows".into(), &["all 500", "open 2", "corrected", "Older →", "1–50 of 500 windows"]),
        ("/windows?show=corrected".into(), &["corrected", "2"]),
        (
            format!("/windows/{closed}"),
            &["Where these numbers come from", "9f86d081884c", "mta-turnstile[0]", "34 ST-PENN STA"],
        ),
        (format!("/windows/{open}"), &["Why it is not closed", "of event time to go", "holds it back"]),
        ("/partitions".into(), &["holds the watermark back", "caught up", "idle", "mta-turnstile[11]"]),
        ("/dead-letters".into(), &["late", "317", "type", "Send again…", "00 ff d8 41", "mta-turnstile[2] @ 1204771"]),
        ("/stations".into(), &["Entries and exits per station", "34 ST-PENN STA", "The busiest 8"]),
        ("/runs".into(), &["calm-heron", "Crashed", "brave-otter"]),
        (
            format!("/{RUN}"),
            &[
                "Running",
                "Write to Storage",
                "Table of tasks",
                "tried again: the store answered 503",
                "Cancel this run",
            ],
        ),
        ("/sql".into(), &["Query", "fact_turnstile", "Download CSV"]),
        ("/pipeline".into(), &["Dedup", "pipelines/mta-turnstile.toml", "***", "group key"]),
    ];
    for (path, texts) in expected {
        let answer = page(&console, &path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_says(&answer, texts);
    }
}

#[tokio::test]
async fn pages_without_data_say_what_is_missing_and_when_it_comes() {
    let console = Console::start(DemoMood::Empty).await;
    let expected: [(&str, &[&str]); 8] = [
        (
            "",
            &[
                "never run",
                "Nothing was read yet",
                "No message is committed yet.",
                "No file is published yet.",
                "Nothing to note.",
                "so this console only reads",
            ],
        ),
        ("/windows", &["No window is open.", "One opens when the first message"]),
        ("/partitions", &["No partition is assigned yet."]),
        ("/dead-letters", &["No message was rejected."]),
        ("/stations", &["No chart can be drawn yet."]),
        ("/runs", &["No run is recorded yet."]),
        ("/sql", &["There are no tables yet."]),
        ("/pipeline", &["The plan is not known here.", "The pipeline file is not at hand."]),
    ];
    for (path, texts) in expected {
        let answer = page(&console, path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_says(&answer, texts);
    }
}

#[tokio::test]
async fn pages_that_cannot_be_read_say_fact_cause_and_next_step() {
    let console = Console::start(DemoMood::Failing).await;
    for path in PAGES {
        let answer = page(&console, path).await;
        assert_eq!(answer.status, if path == "/sql" { 200 } else { 503 }, "{path}");
        assert_says(&answer, &["cannot be read", "Connection refused.", "What to do:"]);
        assert!(!answer.body.contains("<turnstile>"), "{path}");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_a_404_that_names_it() {
    let console = Console::start(DemoMood::Full).await;
    for (path, text) in [
        ("/p/nothing", "There is no pipeline"),
        ("/p/mta-turnstile/windows/1999-01-01T00:00:00Z", "1999-01-01T00:00:00Z"),
        ("/p/mta-turnstile/runs/none", "There is no run"),
        ("/p/mta-turnstile/stations?chart=none", "There is no chart"),
        ("/p/mta-turnstile/windows/now", "There is no such page"),
        ("/elsewhere", "There is no such page"),
        ("/assets/console-0000000000000000.css", "There is no such page"),
    ] {
        let answer = console.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_says(&answer, &[text]);
    }
}

#[tokio::test]
async fn values_of_messages_never_become_markup() {
    let console = Console::start(DemoMood::Full).await;
    let window = format!("/windows/{}", start_of(3));
    for path in PAGES.into_iter().chain([
        window.as_str(),
        "/stations?series=%3Cscript%3Ealert(1)%3C/script%3E",
        "/stations?series=%22%3E%3Cb%3E",
    ]) {
        let body = page(&console, path).await.body;
        for markup in ["<script>", "<img src=x", "<b>", "<Slow"] {
            assert!(!body.contains(markup), "{markup} in {path}");
        }
        assert!(!body.contains('\u{202e}'), "a character that turns text around in {path}");
    }
    assert!(page(&console, &window).await.body.contains("&lt;script&gt;alert(1)"));
    assert!(page(&console, &window).await.body.contains("STATION=&lt;b&gt;FULTON"));
}

#[tokio::test]
async fn no_page_has_inline_script_or_style() {
    let console = Console::start(DemoMood::Full).await;
    for path in PAGES {
        let body = page(&console, path).await.body;
        for inline in [" style=", "<style", " onclick=", " onload=", "javascript:"] {
            assert!(!body.contains(inline), "{inline} in {path}");
        }
        assert_eq!(body.matches("<script").count(), 1, "{path}");
        assert!(!body.contains("src=\"http") && !body.contains("href=\"//"), "something from elsewhere in {path}");
    }
}

#[tokio::test]
async fn every_chart_has_a_title_a_description_and_a_table() {
    let console = Console::start(DemoMood::Full).await;
    let body = page(&console, "/stations").await.body;
    let charts = body.matches("<svg class=\"chart\"").count();
    assert_eq!(charts, 8);
    assert_eq!(body.matches("<desc ").count(), charts);
    assert_eq!(body.matches("Values of the chart").count(), charts);
}

#[tokio::test]
async fn the_first_paint_weighs_less_than_200_kilobytes() {
    let console = Console::start(DemoMood::Full).await;
    for path in PAGES {
        let page = page(&console, path).await;
        let assets = ["stylesheet\" href=\"", "<script src=\"", "<img src=\""];
        let mut bytes = page.body.len();
        for marker in assets {
            let address = page.body.split(marker).nth(1).and_then(|rest| rest.split('"').next()).unwrap();
            let asset = console.get(address).await;
            assert_eq!(asset.status, 200, "{address}");
            assert!(asset.header("cache-control").contains("immutable"), "{address}");
            bytes += asset.body.len();
        }
        assert!(bytes < 200_000, "{path} weighs {bytes}");
    }
}

#[tokio::test]
async fn the_last_of_a_hundred_thousand_windows_comes_as_fast_as_the_first() {
    let console = Console::with(DemoMood::Full, 100_000, |_| {}).await;
    let mut slowest = Vec::new();
    for path in ["/windows", "/windows?after=99950", "/windows?after=1000000"] {
        let began = Instant::now();
        let answer = page(&console, path).await;
        slowest.push((began.elapsed(), answer.status, path));
        assert_says(&answer, &["all 100,000"]);
    }
    // The bound is that of the product, with room for a debug build on a busy machine.
    assert!(slowest.iter().all(|(took, status, _)| took.as_millis() < 1_000 && *status == 200), "{slowest:?}");
    assert_says(&page(&console, "/windows?after=99950").await, &["of 100,000 windows"]);
}

#[tokio::test]
async fn the_first_page_leads_to_the_first_pipeline() {
    let console = Console::start(DemoMood::Full).await;
    let answer = console.get("/").await;
    assert_eq!((answer.status, answer.header("location")), (303, "/p/mta-turnstile"));
}

#[tokio::test]
async fn a_chosen_theme_comes_with_the_page() {
    let console = Console::start(DemoMood::Full).await;
    let dark = console.ask("GET", "/p/mta-turnstile", &[("Cookie", "turnstile_theme=dark")], "").await;
    assert!(dark.body.contains("<html lang=\"en\" data-theme=\"dark\">"));
    let odd = console.ask("GET", "/p/mta-turnstile", &[("Cookie", "turnstile_theme=\"><script>")], "").await;
    assert!(odd.body.contains("<html lang=\"en\">"));
}
