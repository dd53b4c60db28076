//! The warehouse through the binary: `up`, `sql`, loads, models, PostgreSQL clients and targets.

use std::io::{BufRead, BufReader};
use std::process::Child;

use crate::scene::{Scene, signal, text};

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

    fn ask(&self, sql: &str) -> String {
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
    let answer = up.ask("SELECT STATION, ENTRIES, EXITS FROM ext_turnstile WHERE STATION LIKE '%' LIMIT 3");
    assert_eq!(answer.lines().next(), Some("station,entries,exits"));
    assert!(answer.lines().count() > 1, "{answer}");
    let loaded = up.scene.turnstile(&["warehouse", "run", "--once"]);
    assert!(loaded.status.success(), "{}", text(&loaded));
    assert_eq!(up.ask("SELECT count(*) > 0 FROM fact_turnstile").lines().nth(1), Some("true"));
    assert_eq!(up.ask("SELECT sum(difference) FROM _turnstile.conservation").lines().nth(1), Some("0"));
    assert!(up.ask("SELECT bool_and(_provisional) FROM live_turnstile").contains("true"));
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
