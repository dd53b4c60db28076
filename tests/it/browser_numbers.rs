//! Numbers that the console's pages show in a browser are those of the ledger, the warehouse and the store of runs.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::chromium::ShownRow;
use crate::scene::{PATIENCE, Scene, messages};
use crate::shown_console::{ShownConsole, string};

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn numbers_in_the_pages_are_those_of_the_ledger() {
    let scene = Scene::embedded(2);
    let sent = messages(1_500);
    scene.send(sent.iter().map(String::as_bytes).chain([b"nonsense".as_slice(), b"and more of it"]));
    let mut shown = ShownConsole::run(scene, "commit = \"100 ms\"");
    shown.wait_for_messages(1_502);
    overview_is_the_ledgers(&mut shown);
    windows_are_the_ledgers(&mut shown);
    partitions_and_dead_letters_are_the_ledgers(&mut shown);
    charts_are_of_the_warehouses_rows(&mut shown);
    runs_are_those_of_the_store(&mut shown);
    shown.console.stop();
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn late_rows_and_duplicates_are_shown_with_their_windows() {
    let scene = Scene::embedded(1);
    let sent = messages(1_500);
    scene.send(sent.iter().map(String::as_bytes));
    let mut shown = ShownConsole::run(scene, "commit = \"100 ms\"\ndedup = [\"ID\"]");
    shown.wait_for_messages(1_500);
    // Three rows of the first window, which has closed, and two of the last, which is open.
    let again = [&sent[..3], &sent[1_498..]].concat();
    shown.scene.send(again.iter().map(String::as_bytes));
    shown.wait_for_messages(1_505);
    shown.open("/windows/2026-08-01T00:00:00Z");
    shown.browser.see("#window dl.facts div", "Late 3", PATIENCE);
    assert!(shown.browser.texts("#window dl.facts div").contains(&"Duplicates 0".to_owned()));
    let explained = shown.printed(&["explain", "2026-08-01T00:00Z"]);
    assert!(
        explained.contains("not in 2026-08-01T00:00Z .. 2026-08-01T00:05Z: 3 late rows, 0 duplicates"),
        "{explained}"
    );
    shown.open("/windows");
    same("late rows and duplicates", || {
        let rows = shown.browser.rows("#windows table.data");
        let counts = rows.iter().map(|row| (number(&row.cells[4]), number(&row.cells[5])));
        let sums = counts.fold((0, 0), |sum, (late, duplicates)| (sum.0 + late, sum.1 + duplicates));
        let slot = shown.slot();
        let kept = |name: &str| slot["counters"][name].as_u64().unwrap();
        (sums, (kept("late"), kept("duplicate")))
    });
    let open = shown.browser.rows("#windows table.data").remove(0);
    assert_eq!((open.cells[1].as_str(), open.cells[4].as_str(), open.cells[5].as_str()), ("open", "0", "2"));
    shown.console.stop();
}

fn overview_is_the_ledgers(shown: &mut ShownConsole) {
    shown.open("");
    same("overview", || {
        let read = number(&shown.browser.texts("#conservation strong")[0]);
        let fates =
            shown.browser.rows("#conservation table").iter().map(|row| number(&row.cells[1])).collect::<Vec<_>>();
        let commit = shown.browser.texts("section[aria-labelledby=n-commit] p")[1].clone();
        let seq = number(commit.strip_prefix("number ").unwrap().split(", took").next().unwrap());
        let slot = shown.slot();
        let count = |name: &str| slot["counters"][name].as_u64().unwrap();
        let fates_kept = ["aggregated", "filtered", "duplicate", "late", "dead_lettered", "tombstones"].map(count);
        let kept = (count("read"), fates_kept.to_vec(), slot["seq"].as_u64().unwrap());
        ((read, fates, seq), kept)
    });
}

fn windows_are_the_ledgers(shown: &mut ShownConsole) {
    shown.open("/windows");
    same("windows", || {
        let rows = shown.browser.rows("#windows table.data");
        let published = rows.iter().filter(|row| row.cells[1] != "open");
        let window = |row: &ShownRow| (target(row), number(&row.cells[3]), number(&row.cells[6]));
        (published.map(window).collect(), shown.kept_windows())
    });
    let (start, rows, _) = shown.kept_windows().remove(0);
    let files = shown.json_lines(&["lake", "files", "--json"]);
    let file = files.iter().find(|file| file["start"] == start.as_str()).unwrap();
    shown.open(&format!("/windows/{start}"));
    let origin = &shown.browser.rows("#origin table.data")[0].cells;
    assert_eq!(number(&origin[2]), rows, "{origin:?}");
    assert!(string(&file["sha256"]).starts_with(origin[4].trim_end_matches('…')), "{origin:?} {file}");
    assert_eq!(number(&origin[5]), file["seq"].as_u64().unwrap(), "{origin:?}");
    let offsets = shown.browser.rows("#origin table.data.narrow");
    let from_offsets: u64 = offsets.iter().map(|row| number(&row.cells[3])).sum();
    let sql = format!("SELECT sum(n) FROM ext_story WHERE start = TIMESTAMP '{start}'");
    assert_eq!(from_offsets.to_string(), shown.queried(&sql)[0][0], "messages of {start}: {offsets:?}");

    let sql =
        format!("SELECT station, entries, exits, n FROM ext_story WHERE start = TIMESTAMP '{start}' ORDER BY station");
    let url = shown.url("/sql");
    shown.browser.open_still(&url);
    shown.browser.fill("#query", &sql);
    shown.browser.navigate(&["Control+Enter"]);
    let result = shown.browser.rows("#result table:has(caption)");
    let result: Vec<Vec<String>> = result.into_iter().map(|row| row.cells).collect();
    assert_eq!((result.len() as u64, &result), (rows, &shown.queried(&sql)));
    shown.browser.picture("sql-result-1280-light");
}

fn partitions_and_dead_letters_are_the_ledgers(shown: &mut ShownConsole) {
    shown.open("/partitions");
    same("partitions", || {
        let rows = shown.browser.rows("#partitions table.data");
        let at = |row: &ShownRow| (row.cells[0].clone(), number(&row.cells[4]));
        let slot = shown.slot();
        let kept = |position: &Value| {
            let name = format!("{}[{}]", string(&position["topic"]), position["partition"]);
            (name, position["next_offset"].as_u64().unwrap())
        };
        (rows.iter().map(at).collect::<Vec<_>>(), slot["positions"].as_array().unwrap().iter().map(kept).collect())
    });
    shown.open("/dead-letters");
    let counts: u64 = shown.browser.texts("#reasons h2 .count").iter().map(|count| number(count)).sum();
    assert_eq!(counts, shown.slot()["counters"]["dead_lettered"].as_u64().unwrap());
    let mut samples = shown.browser.texts("#reasons pre.bytes");
    samples.sort();
    assert_eq!(samples, ["and more of it", "nonsense"]);
}

fn charts_are_of_the_warehouses_rows(shown: &mut ShownConsole) {
    let sql = "SELECT station, sum(entries), sum(exits), sum(n) FROM ext_story GROUP BY station ORDER BY station";
    shown.open("/stations");
    same("charts", || {
        let stations = shown.browser.texts("#charts h2");
        let sums = shown.browser.texts("#charts section p strong");
        let chart = |(station, sums): (&String, &[String])| {
            let sums = sums.iter().map(|sum| number(sum).to_string());
            std::iter::once(station.clone()).chain(sums).collect::<Vec<_>>()
        };
        let mut charts: Vec<_> = stations.iter().zip(sums.chunks(3)).map(chart).collect();
        charts.sort();
        (charts, shown.queried(sql))
    });
    shown.browser.click("#values-0 > summary");
    assert_eq!(shown.browser.rows("#values-0 table").len(), shown.kept_windows().len(), "a point for each window");
}

fn runs_are_those_of_the_store(shown: &mut ShownConsole) {
    shown.open("/runs");
    let rows = shown.browser.rows("#runs table.data");
    let kept = shown.json_lines(&["runs", "list", "--json"]);
    let run = |run: &Value| (string(&run["id"]), string(&run["name"]), string(&run["state"]), string(&run["flow"]));
    let row = |row: &ShownRow| (target(row), row.cells[0].clone(), row.cells[1].to_uppercase(), row.cells[2].clone());
    assert_eq!(rows.iter().map(row).collect::<Vec<_>>(), kept.iter().map(run).collect::<Vec<_>>());
    let id = string(&kept[0]["id"]);
    shown.open(&format!("/runs/{id}"));
    shown.browser.click("#task-table > summary");
    same("tasks that have ended", || {
        let rows = shown.browser.rows("#task-table table.data");
        let mut tasks: Vec<_> =
            rows.iter().filter(|row| row.cells[1].starts_with("Completed")).map(|row| row.cells[0].clone()).collect();
        let run = shown.printed(&["runs", "show", &id, "--limit", "200", "--json"]);
        let run: Value = serde_json::from_str(&run).unwrap();
        let ended = run["tasks"].as_array().unwrap().iter().filter(|task| task["state"] == "COMPLETED");
        let mut kept: Vec<_> = ended.map(|task| format!("{} {}", string(&task["task"]), task["number"])).collect();
        tasks.sort();
        kept.sort();
        assert!(!kept.is_empty(), "{run}");
        (tasks, kept)
    });
}

/// Looks at both until they are the same: a commit may come between the two looks.
fn same<T: PartialEq + Debug>(what: &str, mut looks: impl FnMut() -> (T, T)) {
    let began = Instant::now();
    loop {
        let (shown, kept) = looks();
        if shown == kept {
            return;
        }
        assert!(began.elapsed() < PATIENCE / 2, "{what}: the page shows {shown:?}, where {kept:?} is kept");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A number as people read it.
fn number(text: &str) -> u64 {
    text.replace(',', "").parse().unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

/// The last part of the address that a row links to.
fn target(row: &ShownRow) -> String {
    row.href.as_deref().and_then(|href| href.rsplit('/').next()).unwrap().to_owned()
}
