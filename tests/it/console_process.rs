//! A process that serves the console, and what a client gets from it.

use std::io::{BufRead, BufReader, sink};
use std::process::Child;
use std::time::Duration;

use crate::scene::{Scene, signal, until};

/// A process that serves a console, and where. Dropping it kills it.
pub(crate) struct ConsoleProcess {
    child: Child,
    url: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl ConsoleProcess {
    /// Starts `args` and waits until it prints the console's address.
    pub(crate) fn start(scene: &Scene, args: &[&str]) -> Self {
        Self::of(scene.spawn(args, &[]))
    }

    /// The same of a process that was started a moment ago.
    pub(crate) fn of(mut child: Child) -> Self {
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut lines = stderr.lines().map(Result::unwrap);
        let mut printed = Vec::new();
        let url = loop {
            let Some(line) = lines.next() else { panic!("it prints no address but {printed:?}") };
            match line.strip_prefix("console   ") {
                Some(url) => break url.trim_end_matches('/').to_owned(),
                None => printed.push(line),
            }
        };
        // What it prints besides must not fill the pipes.
        std::thread::spawn(move || lines.for_each(|line| eprintln!("{line}")));
        let mut stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut sink()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        Self { child, url, client, runtime }
    }

    /// The address of `path`, such as `/p/story`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.runtime.block_on(async {
            let answer = self.client.get(self.url(path)).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    }

    /// The page without its tags.
    pub(crate) fn page(&self, path: &str) -> String {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        let mut text = String::new();
        let mut in_tag = false;
        for c in body.chars() {
            match c {
                '<' => in_tag = true,
                '>' => {
                    in_tag = false;
                    text.push(' ');
                }
                c if !in_tag => text.push(c),
                _ => {}
            }
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Waits until it has ended by itself, as it should.
    pub(crate) fn wait(&mut self) {
        let mut status = None;
        until("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.unwrap().success(), "{status:?}");
    }

    /// Ends it as Ctrl-C does.
    pub(crate) fn stop(mut self) {
        signal(&self.child, "INT");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for ConsoleProcess {
    fn drop(&mut self) {
        // One that has ended is not killed; one whose story failed must not stay.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
