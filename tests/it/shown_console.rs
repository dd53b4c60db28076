//! A pipeline that runs, its console in a browser, and what is kept of it elsewhere.

use serde_json::Value;

use crate::chromium::Chromium;
use crate::console_process::ConsoleProcess;
use crate::scene::{SQL, Scene, text, until};

const SETTINGS: &str =
    "[warehouse]\ntable = \"ext_story\"\nschedule = \"1 minute\"\n[console]\nlisten = \"127.0.0.1:0\"\n";

/// A pipeline that runs with its console.
pub(crate) struct ShownConsole {
    pub(crate) scene: Scene,
    pub(crate) file: String,
    pub(crate) console: ConsoleProcess,
    pub(crate) browser: Chromium,
}

impl ShownConsole {
    pub(crate) fn run(scene: Scene, stream: &str) -> Self {
        let file = scene.pipeline_with(stream, SETTINGS, SQL).to_str().unwrap().to_owned();
        let console = ConsoleProcess::start(&scene, &["run", &file]);
        Self { scene, file, console, browser: Chromium::start() }
    }

    /// The address of a page of the pipeline.
    pub(crate) fn url(&self, path: &str) -> String {
        self.console.url(&format!("/p/story{path}"))
    }

    pub(crate) fn open(&mut self, path: &str) {
        let url = self.url(path);
        self.browser.open(&url);
    }

    /// What `args` print of the pipeline.
    pub(crate) fn printed(&self, args: &[&str]) -> String {
        let printed = self.scene.turnstile(&[args, &[&self.file]].concat());
        assert!(printed.status.success(), "{args:?}: {}", text(&printed));
        String::from_utf8(printed.stdout).unwrap()
    }

    pub(crate) fn json_lines(&self, args: &[&str]) -> Vec<Value> {
        self.printed(args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The ledger's newest slot.
    pub(crate) fn slot(&self) -> Value {
        serde_json::from_str(&self.printed(&["status", "--json"])).unwrap()
    }

    /// Waits until the ledger has `count` messages.
    pub(crate) fn wait_for_messages(&self, count: u64) {
        let newest = ["status", &self.file, "--json"];
        until("all messages are committed", || {
            // There is no ledger before the first commit.
            let slot: Value = serde_json::from_slice(&self.scene.turnstile(&newest).stdout).unwrap_or_default();
            slot["counters"]["read"].as_u64() == Some(count)
        });
    }

    /// The published windows as the ledger has them, newest first: start, rows, version.
    pub(crate) fn kept_windows(&self) -> Vec<(String, u64, u64)> {
        let files = self.json_lines(&["lake", "files", "--json"]);
        let window =
            |file: &Value| (string(&file["start"]), file["rows"].as_u64().unwrap(), file["version"].as_u64().unwrap());
        let mut windows: Vec<_> = files.iter().map(window).collect();
        windows.sort();
        windows.reverse();
        windows
    }

    /// What a query returns, without its header.
    pub(crate) fn queried(&self, sql: &str) -> Vec<Vec<String>> {
        let answer = self.scene.turnstile(&["sql", "--pipeline", &self.file, "--format", "csv", sql]);
        assert!(answer.status.success(), "{}", text(&answer));
        let lines = String::from_utf8(answer.stdout).unwrap();
        lines.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
    }
}

pub(crate) fn string(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
