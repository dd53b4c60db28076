//! Whether a run is alive and ready: the values behind `/healthz` and `/readyz`.
//!
//! In: [`TrackEvent`]s and the clock. Out: [`HealthReport`]s. Knows no HTTP: 200 when a report is good and 503 otherwise is
//! the server's part. Start at [`Health::liveness`].

use serde::Serialize;

use crate::event::TrackEvent;

/// A flow reports its status every second; without one for this long its loop is taken to be stuck.
pub const STATUS_OVERDUE_US: i64 = 30_000_000;

/// What is known of a run's health.
#[derive(Debug, Clone, Default)]
pub struct Health {
    started_at_us: i64,
    status_at_us: Option<i64>,
    partitions: Option<usize>,
    commit_failure: Option<String>,
    lake_failure: Option<String>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// Whether every check is good.
    pub ok: bool,
    /// The checks, in the order in which a run becomes ready.
    pub checks: Vec<HealthCheck>,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HealthCheck {
    /// `loop`, `partitions`, `commit`, `lake`.
    pub name: &'static str,
    /// Whether it is good.
    pub ok: bool,
    /// What is wrong, or how it is, in one line.
    pub detail: String,
}

impl Health {
    /// Of a run that began at `started_at_us` (microseconds since the epoch, UTC) and has reported nothing yet.
    pub fn new(started_at_us: i64) -> Self {
        Self { started_at_us, ..Self::default() }
    }

    /// Takes an event that happened at `at_us` into account.
    pub fn observe(&mut self, at_us: i64, event: &TrackEvent) {
        match event {
            TrackEvent::Ready { partitions, .. } => {
                self.partitions = Some(*partitions);
                self.status_at_us = Some(at_us);
            }
            TrackEvent::Status(_) => self.status_at_us = Some(at_us),
            TrackEvent::Committed(_) => {
                self.status_at_us = Some(at_us);
                (self.commit_failure, self.lake_failure) = (None, None);
            }
            // A commit and the publishing of its files are the only things that are tried again; both write to the lake.
            TrackEvent::Retried { cause, .. } => self.commit_failure = Some(cause.clone()),
            TrackEvent::Loaded(_)
            | TrackEvent::LoadFailed { .. }
            | TrackEvent::Retained(_)
            | TrackEvent::Moved(_)
            | TrackEvent::Log { .. } => {}
        }
    }

    /// Sets whether the lake answered when it was last asked; `Err` has the reason in one line. A commit that succeeds says
    /// that it is reachable as well.
    pub fn set_lake(&mut self, answer: Result<(), String>) {
        self.lake_failure = answer.err();
    }

    /// For `/healthz`: the process answers, and its loop has reported within [`STATUS_OVERDUE_US`], or began that recently.
    ///
    /// A start that waits for a broker reports nothing: until partitions are assigned the loop is not checked.
    pub fn liveness(&self, now_us: i64) -> HealthReport {
        HealthReport::of(vec![self.status_check(now_us)])
    }

    /// For `/readyz`: partitions are assigned, the loop is alive, the last attempt to commit did not fail, and the lake answers.
    pub fn readiness(&self, now_us: i64) -> HealthReport {
        let partitions = match self.partitions {
            None => HealthCheck::bad("partitions", "none is assigned yet"),
            Some(0) => HealthCheck::bad("partitions", "the topics have none"),
            Some(count) => HealthCheck::good("partitions", format!("{count} assigned")),
        };
        let commit =
            failure_check("commit", self.commit_failure.as_deref(), "the last attempt succeeded or none was made");
        let lake = failure_check("lake", self.lake_failure.as_deref(), "reachable");
        HealthReport::of(vec![partitions, self.status_check(now_us), commit, lake])
    }

    fn status_check(&self, now_us: i64) -> HealthCheck {
        match self.status_at_us {
            None => HealthCheck::good("loop", format!("starting for {} s", whole_seconds(self.started_at_us, now_us))),
            Some(at_us) if now_us.saturating_sub(at_us) > STATUS_OVERDUE_US => {
                HealthCheck::bad("loop", format!("no status for {} s", whole_seconds(at_us, now_us)))
            }
            Some(at_us) => HealthCheck::good("loop", format!("status {} s ago", whole_seconds(at_us, now_us))),
        }
    }
}

impl HealthReport {
    /// What is wrong, in one line, if something is.
    ///
    /// # Errors
    /// The details of the checks that are not good.
    pub fn problem(&self) -> Result<(), String> {
        let bad: Vec<String> = self
            .checks
            .iter()
            .filter(|check| !check.ok)
            .map(|check| format!("{}: {}", check.name, check.detail))
            .collect();
        if bad.is_empty() { Ok(()) } else { Err(bad.join("; ")) }
    }

    fn of(checks: Vec<HealthCheck>) -> Self {
        Self { ok: checks.iter().all(|check| check.ok), checks }
    }
}

impl HealthCheck {
    fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, ok: true, detail: detail.into() }
    }

    fn bad(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, ok: false, detail: detail.into() }
    }
}

fn failure_check(name: &'static str, failure: Option<&str>, good: &str) -> HealthCheck {
    match failure {
        Some(failure) => HealthCheck::bad(name, failure),
        None => HealthCheck::good(name, good),
    }
}

fn whole_seconds(from_us: i64, to_us: i64) -> i64 {
    to_us.saturating_sub(from_us).max(0) / 1_000_000
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::{CommitReport, StatusReport};

    const SECOND_US: i64 = 1_000_000;

    fn ready(partitions: usize) -> TrackEvent {
        let counters = Default::default();
        TrackEvent::Ready { topics: "t".into(), partitions, resumed_at: None, counters, took: Duration::ZERO }
    }

    #[test]
    fn a_run_is_ready_once_its_partitions_are_assigned() {
        let mut health = Health::new(0);
        assert!(health.liveness(600 * SECOND_US).ok, "a start that waits for its broker is alive");
        assert!(!health.readiness(SECOND_US).ok);
        health.observe(SECOND_US, &ready(0));
        assert!(!health.readiness(SECOND_US).ok, "nothing can be read");
        health.observe(SECOND_US, &ready(3));
        assert!(health.readiness(SECOND_US).ok);
    }

    #[test]
    fn a_loop_that_reports_nothing_for_too_long_is_neither_alive_nor_ready() {
        let mut health = Health::new(0);
        health.observe(0, &ready(1));
        health.observe(SECOND_US, &TrackEvent::Status(StatusReport::default()));
        assert!(health.liveness(SECOND_US + STATUS_OVERDUE_US).ok);
        let late = SECOND_US + STATUS_OVERDUE_US + 1;
        assert!(!health.liveness(late).ok && !health.readiness(late).ok);
    }

    #[test]
    fn a_failing_commit_makes_a_run_unready_until_one_succeeds_but_leaves_it_alive() {
        let mut health = Health::new(0);
        health.observe(0, &ready(1));
        health.observe(0, &TrackEvent::Retried { action: "commit", cause: "503 from the store".into() });
        let report = health.readiness(0);
        let failed: Vec<_> =
            report.checks.iter().filter(|check| !check.ok).map(|check| check.detail.as_str()).collect();
        assert_eq!(failed, ["503 from the store"]);
        assert!(health.liveness(0).ok);
        health.observe(0, &TrackEvent::Committed(CommitReport::default()));
        assert!(health.readiness(0).ok);
    }

    #[test]
    fn a_lake_that_does_not_answer_makes_a_run_unready() {
        let mut health = Health::new(0);
        health.observe(0, &ready(1));
        health.set_lake(Err("connection refused".into()));
        assert!(!health.readiness(0).ok);
        health.set_lake(Ok(()));
        assert!(health.readiness(0).ok);
    }
}
