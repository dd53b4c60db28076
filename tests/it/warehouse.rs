//! The warehouse through the binary: `up`, `sql`, loads, models, PostgreSQL clients and targets.

use std::io::{BufRead, BufReader};
use std::process::Child;

use crate::scene::{Scene, signal, text, until};

/// `up` with a warehouse that loads each second, until its first window is published.
struct Running {
    scene: Scene,
    child: Child,
    rest: std::thread::JoinHandle<()>,
}

impl Running {
    fn begin() -> Self {
        let scene = Scene::embedded(1);
        let args = [
            "up",
            "--port",
            "0",
            "--speed",
            "600",
            "--stations",
            "2",
            "--json",
            "--set",
            "warehouse.schedule=\"1 second\"",
            "--set",
            "warehouse.listen=\"127.0.0.1:0\"",
        ];
        let mut child = scene.spawn(&args, &[]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let published = |line: String| line.contains("\"published\"");
        assert!(lines.by_ref().any(published), "nothing was published");
        // What it says on is read, so that it does not wait for us.
        let rest = std::thread::spawn(move || lines.for_each(drop));
        Self { scene, child, rest }
    }

    fn query(&self, sql: &str) -> String {
        let answer = self.scene.turnstile(&["sql", "--format", "csv", sql]);
        assert!(answer.status.success(), "{sql}: {}", text(&answer));
        String::from_utf8(answer.stdout).unwrap()
    }

    fn end(mut self) -> Scene {
        signal(&self.child, "INT");
        assert!(self.child.wait().unwrap().success());
        self.rest.join().unwrap();
        self.scene
    }
}

#[test]
fn what_up_publishes_can_be_asked_and_is_loaded() {
    let up = Running::begin();
    let answer = up.query("SELECT STATION, ENTRIES, EXITS FROM ext_turnstile WHERE STATION LIKE '%' LIMIT 3");
    assert_eq!(answer.lines().next(), Some("station,entries,exits"));
    assert!(answer.lines().count() > 1, "{answer}");
    let loaded = up.scene.turnstile(&["warehouse", "run", "--once"]);
    assert!(loaded.status.success(), "{}", text(&loaded));
    assert_eq!(up.query("SELECT count(*) > 0 FROM fact_turnstile").lines().nth(1), Some("true"));
    assert_eq!(up.query("SELECT sum(difference) FROM _turnstile.conservation").lines().nth(1), Some("0"));
    assert!(up.query("SELECT bool_and(_provisional) FROM live_turnstile").contains("true"));
    // With nothing more to come, all that was published is loaded, and its sums are the same.
    let scene = up.end();
    let loaded = scene.turnstile(&["warehouse", "run", "--once"]);
    assert!(loaded.status.success(), "{}", text(&loaded));
    let same = "SELECT (SELECT sum(entries) FROM fact_turnstile) = (SELECT sum(entries) FROM ext_turnstile)";
    let answer = scene.turnstile(&["sql", "--format", "csv", same]);
    assert!(text(&answer).contains("true"), "{}", text(&answer));
    let tested = scene.turnstile(&["models", "test"]);
    assert!(tested.status.success(), "{}", text(&tested));
}

#[test]
fn a_question_that_is_wrong_is_answered_with_place_and_hint() {
    let up = Running::begin();
    let wrong = up.scene.turnstile(&["sql", "SELECT 1 FROM ext_turnstil"]);
    assert!(!wrong.status.success());
    assert!(text(&wrong).contains("did you mean ext_turnstile?"), "{}", text(&wrong));
    let wrong = up.scene.turnstile(&["sql", "SELECT 1 FROM ext_turnstile ORDER entries"]);
    assert!(text(&wrong).contains('^'), "{}", text(&wrong));
    let refused = up.scene.turnstile(&["sql", "DROP TABLE ext_turnstile"]);
    assert!(!refused.status.success(), "{}", text(&refused));
    let checked = up.scene.turnstile(&["models", "check"]);
    assert!(text(&checked).contains("fact_turnstile"), "{}", text(&checked));
    up.end();
}

/// The argument of `-x` among a command's words.
fn option<'a>(words: &'a [&str], name: &str) -> &'a str {
    let at = words.iter().position(|word| *word == name).unwrap_or_else(|| panic!("no {name} in {words:?}"));
    words[at + 1]
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn the_lines_that_up_prints_are_answered_by_sql_and_by_psql() {
    let scene = Scene::embedded(1);
    let mut child = scene.spawn(&["up", "--port", "0", "--speed", "600", "--stations", "2"], &[]);
    let stderr = child.stderr.take().unwrap();
    let lines = std::thread::spawn(move || BufReader::new(stderr).lines().map(Result::unwrap).collect::<Vec<String>>());
    let kept = scene.dir.path().join("turnstile-data/up.json");
    until("the pipeline is kept", || kept.exists());
    let asked = "SELECT STATION, ENTRIES, EXITS FROM ext_turnstile WHERE STATION LIKE 'Test%' LIMIT 5";
    let query = || scene.turnstile(&["sql", asked]);
    until("the query is answered", || text(&query()).contains("Test-Station00"));
    // psql finds the same table, while the pipeline runs.
    let runs = scene.turnstile(&["sql", "--format", "json", "SELECT count(*) AS n FROM ext_turnstile"]);
    assert!(text(&runs).contains("\"n\":"), "{}", text(&runs));
    signal(&child, "INT");
    assert!(child.wait().unwrap().success());
    let lines = lines.join().unwrap();
    let line = |name: &str| lines.iter().rev().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap();
    assert_eq!(line("query "), format!("turnstile sql \"{asked}\""), "{lines:?}");
    assert_eq!(lines.last().unwrap().split_whitespace().next(), Some("query"), "{lines:?}");
    let words: Vec<&str> = line("warehouse ").split_whitespace().collect();
    assert_eq!((words[0], option(&words, "-U"), words.last()), ("psql", "turnstile", Some(&"turnstile")), "{words:?}");

    // What was loaded is served alone too.
    let serve = ["warehouse", "serve", "--listen", "127.0.0.1:0"];
    let mut serving = scene.spawn(&serve, &[]);
    let stderr = serving.stderr.take().unwrap();
    let mut said = BufReader::new(stderr).lines().map(Result::unwrap);
    let line = said.find(|line| line.contains("psql -h")).expect("where it listens");
    let words: Vec<&str> = line.split_whitespace().collect();
    let psql = |sql: &str| {
        let mut command = std::process::Command::new("psql");
        command.args(["-X", "-A", "-t", "-h", option(&words, "-h"), "-p", option(&words, "-p"), "-U", "turnstile"]);
        let output = command.args(["-d", "turnstile", "-c", sql]).output().unwrap();
        assert!(output.status.success(), "{sql}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(psql(asked).lines().count(), 5);
    assert!(psql("\\d ext_turnstile").contains("entries"));
    assert_eq!(psql("SELECT sum(difference) FROM _turnstile.conservation").trim(), "0");
    signal(&serving, "INT");
    drop(said);
    assert!(serving.wait().unwrap().success());
}
