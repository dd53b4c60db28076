//! What is known of a flow at one moment, as far as rules ask for it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use turnstile_values::human;

use crate::event::{CommitReport, FileContent, StatusReport, TrackEvent};
use crate::metrics::counts::difference;

use super::rule::{AlertCondition, AlertRule};

/// Targets whose failures are watched at the same time.
const MAX_TARGETS: usize = 32;
const MINUTE_US: i64 = 60_000_000;
/// The reason of late messages that are kept as dead letters; they count as late.
const LATE: &str = "late";

/// A condition that holds now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Breach {
    /// By what, where there may be several.
    pub(super) subject: Option<String>,
    pub(super) summary: String,
    pub(super) value: Option<f64>,
}

#[derive(Debug, Default)]
pub(super) struct AlertSignals {
    lag_records: u64,
    lag_seconds: f64,
    watermark_us: Option<i64>,
    run_read: u64,
    standstills: Vec<Standstill>,
    /// Dead letters by the second in which they were committed, oldest first; at most a minute of them.
    dead_letters: VecDeque<(i64, u64)>,
    difference: f64,
    failed_loads: BTreeMap<String, String>,
    run_failure: Option<String>,
}

/// How long messages have been there without a move of the watermark, for one rule.
#[derive(Debug)]
struct Standstill {
    limit_us: i64,
    /// Since when messages wait or are read; begins again after a pause as long as the limit.
    from_us: Option<i64>,
    /// When that was seen last.
    until_us: i64,
}

impl AlertSignals {
    pub(super) fn new(rules: &[AlertRule]) -> Self {
        let limits = rules.iter().filter_map(|rule| match rule.condition {
            AlertCondition::WatermarkStalled { longer_than } => Some(micros(longer_than)),
            _ => None,
        });
        let standstills = limits.map(|limit_us| Standstill { limit_us, from_us: None, until_us: 0 }).collect();
        Self { standstills, ..Self::default() }
    }

    pub(super) fn observe(&mut self, at_us: i64, event: &TrackEvent) {
        match event {
            TrackEvent::Ready { .. } => {
                self.run_failure = None;
                (self.watermark_us, self.run_read) = (None, 0);
                self.standstills.iter_mut().for_each(|standstill| standstill.from_us = None);
            }
            TrackEvent::Status(status) => self.status(at_us, status),
            TrackEvent::Committed(commit) => self.commit(at_us, commit),
            TrackEvent::LoadFailed { target, error } => {
                if self.failed_loads.len() < MAX_TARGETS || self.failed_loads.contains_key(target) {
                    self.failed_loads.insert(target.clone(), error.clone());
                }
            }
            TrackEvent::Loaded(load) => {
                self.failed_loads.remove(&load.target);
            }
            TrackEvent::Retried { .. } | TrackEvent::Retained(_) | TrackEvent::Moved(_) | TrackEvent::Log { .. } => {}
        }
    }

    pub(super) fn set_run_failure(&mut self, error: Option<String>) {
        self.run_failure = error;
    }

    fn status(&mut self, at_us: i64, status: &StatusReport) {
        self.lag_records = status.lag.iter().fold(0, |sum, (_, records)| sum.saturating_add(*records));
        self.lag_seconds = status.lag_seconds.iter().fold(0.0, |oldest, (_, age)| oldest.max(*age));
        self.watermark_moved(status.watermark_us);
        let read = status.run_read != self.run_read;
        self.run_read = status.run_read;
        if read || self.lag_records > 0 {
            self.standstills.iter_mut().for_each(|standstill| standstill.messages_at(at_us));
        }
    }

    fn watermark_moved(&mut self, watermark_us: Option<i64>) {
        if watermark_us > self.watermark_us {
            self.watermark_us = watermark_us;
            self.standstills.iter_mut().for_each(|standstill| standstill.from_us = None);
        }
    }

    fn commit(&mut self, at_us: i64, commit: &CommitReport) {
        self.watermark_moved(commit.watermark_us);
        self.difference = difference(&commit.counters);
        let reasons = commit.files.iter().filter_map(|file| match &file.content {
            FileContent::DeadLetters(reasons) => Some(reasons),
            FileContent::Window { .. } => None,
        });
        let count = reasons.flatten().filter(|(reason, _)| *reason != LATE).map(|(_, count)| count).sum();
        let second = at_us.div_euclid(1_000_000);
        match self.dead_letters.back_mut() {
            Some((last, letters)) if *last == second => *letters += count,
            _ => self.dead_letters.push_back((second, count)),
        }
        while self.dead_letters.front().is_some_and(|(first, _)| second - first >= 60) {
            self.dead_letters.pop_front();
        }
    }

    /// Why the condition holds at `now_us`; empty when it does not.
    pub(super) fn breaches(&self, condition: &AlertCondition, now_us: i64) -> Vec<Breach> {
        let one = |holds: bool, value: f64, summary: String| match holds {
            true => vec![Breach { subject: None, summary, value: Some(value) }],
            false => Vec::new(),
        };
        match condition {
            AlertCondition::LagRecords { over } => {
                let summary = format!("{} messages are left to read, more than {}", self.lag_records, over);
                one(self.lag_records > *over, self.lag_records as f64, summary)
            }
            AlertCondition::LagSeconds { over } => {
                let age = self.lag_seconds;
                let summary = format!("the next message is {age:.0} s old, more than {} s", over.as_secs_f64());
                one(age > over.as_secs_f64(), age, summary)
            }
            AlertCondition::WatermarkStalled { longer_than } => {
                let standstill_us = self.standstill_us(now_us, micros(*longer_than));
                let since = human::rough_duration(standstill_us);
                let summary = format!("the watermark has not moved for {since} although there are messages");
                one(standstill_us > 0, standstill_us as f64 / 1e6, summary)
            }
            AlertCondition::DeadLettersPerMinute { over } => {
                let count = self.dead_letters_of_last_minute(now_us);
                let summary = format!("{count} messages were rejected within a minute, more than {over}");
                one(count > *over, count as f64, summary)
            }
            AlertCondition::ConservationBroken => {
                let difference = self.difference;
                let summary = format!("the messages read differ from the sum of their fates by {difference}");
                one(difference != 0.0, difference, summary)
            }
            AlertCondition::LoadFailed => {
                let breach = |(target, error): (&String, &String)| Breach {
                    subject: Some(target.clone()),
                    summary: format!("loading {target} failed: {error}"),
                    value: None,
                };
                self.failed_loads.iter().map(breach).collect()
            }
            AlertCondition::RunFailed => {
                let breach =
                    |error: &String| Breach { subject: None, summary: format!("the run failed: {error}"), value: None };
                self.run_failure.iter().map(breach).collect()
            }
        }
    }

    fn standstill_us(&self, now_us: i64, limit_us: i64) -> i64 {
        let of_rule = self.standstills.iter().find(|standstill| standstill.limit_us == limit_us);
        of_rule.map_or(0, |standstill| standstill.lasts_us(now_us, self.lag_records > 0))
    }

    fn dead_letters_of_last_minute(&self, now_us: i64) -> u64 {
        let from = now_us.saturating_sub(MINUTE_US).div_euclid(1_000_000);
        self.dead_letters.iter().filter(|(second, _)| *second > from).map(|(_, count)| count).sum()
    }
}

impl Standstill {
    fn messages_at(&mut self, at_us: i64) {
        let paused = at_us.saturating_sub(self.until_us) > self.limit_us;
        if self.from_us.is_none() || paused {
            self.from_us = Some(at_us);
        }
        self.until_us = at_us;
    }

    /// How long it has lasted, if that is longer than allowed; else 0.
    fn lasts_us(&self, now_us: i64, messages_wait: bool) -> i64 {
        let until_us = if messages_wait { now_us } else { self.until_us };
        let Some(from_us) = self.from_us else { return 0 };
        let paused = now_us.saturating_sub(until_us) > self.limit_us;
        let lasted_us = until_us.saturating_sub(from_us);
        if paused || lasted_us <= self.limit_us { 0 } else { now_us.saturating_sub(from_us) }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
