//! A Chromium that a story drives: `browser/driver.js`, which Node runs, takes a request a line and answers it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const DRIVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/browser/driver.js");

/// How long the browser may take to end.
const FAREWELL: Duration = Duration::from_secs(10);

/// A browser with at most one page that a person has open.
pub(crate) struct Chromium {
    driver: Child,
    /// Taken when the driver is to end.
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// A row of a table: the texts of its cells, and where its first link leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShownRow {
    pub(crate) cells: Vec<String>,
    pub(crate) href: Option<String>,
}

impl Chromium {
    /// Starts the browser that `cargo xtask test` names.
    pub(crate) fn start() -> Self {
        let mut command = Command::new("node");
        command.arg(DRIVER).env("BROWSER", turnstile_testkit::browser()).env("SCREENSHOTS", screenshots());
        command.env("NODE_PATH", turnstile_testkit::browser_modules());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut driver = command.spawn().expect("node starts");
        let (requests, answers) = (driver.stdin.take(), BufReader::new(driver.stdout.take().unwrap()));
        let mut browser = Self { driver, requests, answers };
        // Its first answer is its version.
        browser.answer("start");
        browser
    }

    /// Opens a page and waits until it is live.
    pub(crate) fn open(&mut self, url: &str) {
        assert_eq!(self.ask(&json!({"do": "open", "url": url, "live": true})), 200, "{url}");
    }

    /// Opens a page that does not change while it is open.
    pub(crate) fn open_still(&mut self, url: &str) {
        assert_eq!(self.ask(&json!({"do": "open", "url": url})), 200, "{url}");
    }

    /// Opens the page at two widths, light and dark. Each line is something that is wrong with it; pictures are kept.
    pub(crate) fn walk(&mut self, name: &str, url: &str) -> Vec<String> {
        texts(&self.ask(&json!({"do": "walk", "name": name, "url": url})))
    }

    /// The same of a page that is answered with `status`.
    pub(crate) fn walk_answered(&mut self, name: &str, url: &str, status: u16) -> Vec<String> {
        texts(&self.ask(&json!({"do": "walk", "name": name, "url": url, "status": status})))
    }

    /// The texts of the open page's elements that `selector` finds.
    pub(crate) fn texts(&mut self, selector: &str) -> Vec<String> {
        texts(&self.ask(&json!({"do": "texts", "selector": selector})))
    }

    /// The body of the open page's first table that `selector` finds.
    pub(crate) fn rows(&mut self, selector: &str) -> Vec<ShownRow> {
        let rows = self.ask(&json!({"do": "rows", "selector": selector}));
        let row = |row: &Value| ShownRow { cells: texts(&row["cells"]), href: row["href"].as_str().map(str::to_owned) };
        rows.as_array().unwrap().iter().map(row).collect()
    }

    /// Waits until the open page shows `text` where `selector` finds it, without being loaded again; after how long it did.
    pub(crate) fn see(&mut self, selector: &str, text: &str, within: Duration) -> Duration {
        let within_ms = within.as_millis() as u64;
        let took = self.ask(&json!({"do": "see", "selector": selector, "text": text, "within_ms": within_ms}));
        Duration::from_millis(took.as_u64().unwrap())
    }

    /// Clicks on what `selector` finds.
    pub(crate) fn click(&mut self, selector: &str) {
        self.ask(&json!({"do": "click", "selector": selector}));
    }

    /// Clicks on what `selector` finds, which leads to another page; its address.
    pub(crate) fn click_to(&mut self, selector: &str) -> String {
        self.ask(&json!({"do": "click", "selector": selector, "leads": true})).as_str().unwrap().to_owned()
    }

    /// Presses keys that lead to another page; its address.
    pub(crate) fn navigate(&mut self, keys: &[&str]) -> String {
        self.ask(&json!({"do": "press", "keys": keys, "leads": true})).as_str().unwrap().to_owned()
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &[&str]) {
        self.ask(&json!({"do": "press", "keys": keys}));
    }

    /// Writes into a field.
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        self.ask(&json!({"do": "fill", "selector": selector, "text": text}));
    }

    /// Keeps a picture of the open page.
    pub(crate) fn picture(&mut self, name: &str) {
        self.ask(&json!({"do": "picture", "name": name}));
    }

    /// What was wrong with the open page since it was opened.
    pub(crate) fn problems(&mut self) -> Vec<String> {
        texts(&self.ask(&json!({"do": "problems"})))
    }

    fn ask(&mut self, request: &Value) -> Value {
        let requests = self.requests.as_mut().expect("the driver runs");
        writeln!(requests, "{request}").unwrap_or_else(|e| panic!("{request}: the driver ended: {e}"));
        self.answer(&request.to_string())
    }

    fn answer(&mut self, request: &str) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{request}: {e}: {line:?}"));
        match answer.get("error") {
            Some(error) => panic!("{error}"),
            None => answer["ok"].clone(),
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        self.requests.take();
        let began = Instant::now();
        while began.elapsed() < FAREWELL && matches!(self.driver.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        // The browser ends with its driver, however that ends.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Where pictures are kept: beside what cargo builds.
fn screenshots() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots")
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}
