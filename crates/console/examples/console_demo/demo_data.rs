//! A console's data, made up: full, empty or failing; it changes with every step.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::sync::{Notify, watch};
use turnstile_console::data::*;
use turnstile_message::Counters;

use super::demo_values as values;
use super::{demo_runs, demo_tables, demo_windows};

/// What the data is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DemoMood {
    /// Everything is there, with some trouble.
    Full,
    /// Nothing has happened yet.
    Empty,
    /// Nothing can be read.
    Failing,
}

/// Made-up data.
pub(crate) struct DemoConsole {
    mood: DemoMood,
    windows: u64,
    version: watch::Sender<u64>,
    /// How often a page was asked for.
    pub(crate) asked: AtomicU64,
    /// How many messages were sent again.
    pub(crate) requeued: AtomicU64,
    /// Lets an action with the reason `slow` end.
    pub(crate) slow: Notify,
    /// How many actions have begun.
    pub(crate) begun: AtomicU64,
    started_us: i64,
}

impl DemoConsole {
    /// `windows`: how many windows there are.
    pub(crate) fn new(mood: DemoMood, windows: u64) -> Self {
        let version = watch::Sender::new(1);
        let started_us = now_us() - 47 * 60_000_000;
        Self {
            mood,
            windows,
            version,
            asked: AtomicU64::new(0),
            requeued: AtomicU64::new(0),
            slow: Notify::new(),
            begun: AtomicU64::new(0),
            started_us,
        }
    }

    /// Something changes.
    pub(crate) fn step(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    fn ask<T: Default>(&self, pipeline: &str, full: impl FnOnce(u64) -> T) -> Result<T, ConsoleError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if pipeline != values::PIPELINE && pipeline != "mta-stations" {
            return Err(ConsoleError::NotFound { what: "pipeline", name: pipeline.to_owned() });
        }
        match self.mood {
            DemoMood::Full => Ok(full(*self.version.borrow())),
            DemoMood::Empty => Ok(T::default()),
            DemoMood::Failing => Err(failure()),
        }
    }

    fn newest_start_us(&self) -> i64 {
        now_us() / values::WINDOW_US * values::WINDOW_US
    }
}

/// The clock that pages are shown by.
pub(crate) fn now_us() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

fn failure() -> ConsoleError {
    ConsoleError::Unavailable {
        fact: "the ledger of gs://lake/<turnstile> cannot be read".to_owned(),
        hint: Some("Check the network and the credentials; the page tries again by itself.".to_owned()),
        source: Some("connection refused".into()),
    }
}

#[async_trait]
impl ConsoleData for DemoConsole {
    fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn read_only(&self) -> Option<String> {
        (self.mood == DemoMood::Empty).then(|| "nothing runs here, so this console only reads".to_owned())
    }

    async fn pipelines(&self) -> Result<Vec<PipelineListing>, ConsoleError> {
        let listing = |name: &str, running| PipelineListing { name: name.to_owned(), running };
        Ok(vec![listing(values::PIPELINE, true), listing("mta-stations", false)])
    }

    async fn overview(&self, pipeline: &str) -> Result<PipelineOverview, ConsoleError> {
        self.ask(pipeline, |version| values::overview(version, self.started_us, self.newest_start_us(), now_us()))
    }

    async fn windows(&self, pipeline: &str, selection: WindowSelection) -> Result<WindowPage, ConsoleError> {
        self.ask(pipeline, |_| demo_windows::window_page(selection, self.windows, self.newest_start_us()))
    }

    async fn window(&self, pipeline: &str, start_us: i64) -> Result<WindowDetail, ConsoleError> {
        let newest = self.newest_start_us();
        let at = (newest - start_us) / values::WINDOW_US;
        let found = self.ask(pipeline, |_| {
            let known = start_us % values::WINDOW_US == 0 && (0..self.windows as i64).contains(&at);
            known.then(|| demo_windows::window_detail(at as u64, newest))
        })?;
        found.ok_or_else(|| ConsoleError::NotFound { what: "window", name: values::instant(start_us) })
    }

    async fn partitions(&self, pipeline: &str) -> Result<PartitionOverview, ConsoleError> {
        self.ask(pipeline, |version| demo_windows::partitions(version, now_us()))
    }

    async fn dead_letters(&self, pipeline: &str) -> Result<DeadLetterSummary, ConsoleError> {
        self.ask(pipeline, |_| demo_runs::dead_letters(now_us()))
    }

    async fn requeue(&self, pipeline: &str, reason: &str) -> Result<RequeueSummary, ConsoleError> {
        self.ask(pipeline, |_| ())?;
        self.begun.fetch_add(1, Ordering::Relaxed);
        if reason == "slow" {
            self.slow.notified().await;
        }
        if reason == "late" {
            let hint = Some("Set late = \"correct\" first.".to_owned());
            return Err(ConsoleError::Refused { fact: "late rows would be late again".to_owned(), hint });
        }
        self.requeued.fetch_add(9, Ordering::Relaxed);
        Ok(RequeueSummary { sent: 9, topics: vec![("mta-turnstile".to_owned(), 9)], note: None })
    }

    async fn charts(&self, pipeline: &str) -> Result<Vec<ChartSpec>, ConsoleError> {
        self.ask(pipeline, |_| demo_tables::charts())
    }

    async fn chart(&self, pipeline: &str, request: SqlRequest) -> Result<SqlTable, ConsoleError> {
        self.ask(pipeline, |_| demo_tables::chart(&request.text, self.newest_start_us()))
    }

    async fn tables(&self, pipeline: &str) -> Result<Vec<TableListing>, ConsoleError> {
        self.ask(pipeline, |_| demo_tables::tables())
    }

    async fn sql(&self, pipeline: &str, request: SqlRequest) -> Result<SqlTable, ConsoleError> {
        self.ask(pipeline, |_| ())?;
        let problem = |fact: &str, column, hint: &str| {
            Err(ConsoleError::Sql(SqlProblem {
                fact: fact.to_owned(),
                line: Some(1),
                column: Some(column),
                hint: Some(hint.to_owned()),
            }))
        };
        match request.text.split_whitespace().next().unwrap_or("").to_ascii_lowercase().as_str() {
            "sleep" => {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                Ok(SqlTable::default())
            }
            "select" | "with" => Ok(demo_tables::query(&request, self.newest_start_us())),
            _ => problem("only queries that read are allowed", 1, "Begin with SELECT or WITH."),
        }
    }

    async fn description(&self, pipeline: &str) -> Result<PipelineDescription, ConsoleError> {
        self.ask(pipeline, |_| demo_runs::description())
    }

    async fn runs(&self, pipeline: &str, _offset: u64, _limit: usize) -> Result<RunPage, ConsoleError> {
        self.ask(pipeline, |_| demo_runs::runs(self.started_us))
    }

    async fn run(&self, pipeline: &str, id: &str, _: usize, _: usize) -> Result<RunDetail, ConsoleError> {
        let found = self.ask(pipeline, |_| demo_runs::run(id, self.started_us, now_us()))?;
        found.ok_or_else(|| ConsoleError::NotFound { what: "run", name: id.to_owned() })
    }

    async fn cancel(&self, pipeline: &str, id: &str) -> Result<(), ConsoleError> {
        self.run(pipeline, id, 0, 0).await.map(|_| ())
    }
}

/// Counters that add up.
pub(crate) fn counters(version: u64) -> Counters {
    let aggregated = 4_812_330 + version * 6_000;
    let mut counters = Counters { aggregated, duplicate: 1_204, late: 317, dead_lettered: 45, ..Counters::default() };
    counters.read = aggregated + 1_204 + 317 + 45;
    counters.corrections = 12;
    counters
}
