//! Decides when alerts fire and resolve.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::TrackEvent;

use super::rule::{Alert, AlertChange, AlertCondition, AlertRule};
use super::signals::{AlertSignals, Breach};

/// Evaluates rules over a flow's events. A function of its calls: the clock is an argument.
#[derive(Debug)]
pub struct AlertEvaluator {
    pipeline: String,
    rules: Vec<AlertRule>,
    signals: AlertSignals,
    /// By rule and subject: what holds, or held until a moment ago. Bounded by the rules and the targets.
    states: BTreeMap<(usize, Option<String>), AlertState>,
}

#[derive(Debug)]
struct AlertState {
    /// When the condition began to hold.
    since_us: i64,
    /// Since when it does not hold, once it fired.
    clear_since_us: Option<i64>,
    /// What was fired.
    fired: Option<Alert>,
}

impl AlertEvaluator {
    /// Evaluates `rules` for `pipeline`.
    pub fn new(pipeline: impl Into<String>, rules: Vec<AlertRule>) -> Self {
        let (pipeline, signals) = (pipeline.into(), AlertSignals::new(&rules));
        Self { pipeline, rules, signals, states: BTreeMap::new() }
    }

    /// Takes an event that happened at `at_us` (microseconds since the epoch, UTC) into account.
    pub fn observe(&mut self, at_us: i64, event: &TrackEvent) -> Vec<AlertChange> {
        self.signals.observe(at_us, event);
        self.tick(at_us)
    }

    /// The run ended: with an error in one line, or as it should.
    pub fn run_ended(&mut self, at_us: i64, error: Option<&str>) -> Vec<AlertChange> {
        self.signals.set_run_failure(error.map(str::to_owned));
        self.tick(at_us)
    }

    /// Before a run's first event: the run before it failed at `since_us`. If it said so itself (`reported`), the alert is taken
    /// to have fired, and resolves when this run reads; a process that was killed said nothing, so it fires now.
    pub fn previous_run_failed(&mut self, at_us: i64, since_us: i64, error: &str, reported: bool) -> Vec<AlertChange> {
        self.signals.set_run_failure(Some(error.to_owned()));
        if reported {
            let watched = self.rules.iter().enumerate().filter(|(_, rule)| rule.condition == AlertCondition::RunFailed);
            for (number, rule) in watched {
                let breaches = self.signals.breaches(&rule.condition, at_us);
                let fired = breaches.first().map(|breach| alert(&self.pipeline, rule, breach, since_us, since_us));
                self.states.insert((number, None), AlertState { since_us, clear_since_us: None, fired });
            }
        }
        self.tick(at_us)
    }

    /// Evaluates all rules at `now_us`: to be called about once a second, since some depend on time alone.
    pub fn tick(&mut self, now_us: i64) -> Vec<AlertChange> {
        let mut changes = Vec::new();
        for (number, rule) in self.rules.iter().enumerate() {
            let breaches = self.signals.breaches(&rule.condition, now_us);
            for breach in &breaches {
                let state = self.states.entry((number, breach.subject.clone())).or_insert(AlertState {
                    since_us: now_us,
                    clear_since_us: None,
                    fired: None,
                });
                state.clear_since_us = None;
                if state.fired.is_none() && has_passed(state.since_us, now_us, rule.hold) {
                    let alert = alert(&self.pipeline, rule, breach, state.since_us, now_us);
                    state.fired = Some(alert.clone());
                    changes.push(AlertChange::Fired(alert));
                }
            }
            let holds = |subject: &Option<String>| breaches.iter().any(|breach| breach.subject == *subject);
            self.states.retain(|(of, subject), state| {
                if *of != number || holds(subject) {
                    return true;
                }
                // Before it fired, any break begins the wait again.
                let Some(fired) = &state.fired else { return false };
                let clear_since_us = *state.clear_since_us.get_or_insert(now_us);
                let resolved = has_passed(clear_since_us, now_us, rule.hold);
                if resolved {
                    changes.push(AlertChange::Resolved(Alert { at_us: now_us, ..fired.clone() }));
                }
                !resolved
            });
        }
        changes
    }

    /// The alerts that have fired and not resolved, in the order of the rules.
    pub fn firing(&self) -> Vec<&Alert> {
        self.states.values().filter_map(|state| state.fired.as_ref()).collect()
    }
}

fn alert(pipeline: &str, rule: &AlertRule, breach: &Breach, since_us: i64, at_us: i64) -> Alert {
    Alert {
        pipeline: pipeline.to_owned(),
        rule: rule.name.clone(),
        severity: rule.condition.severity(),
        subject: breach.subject.clone(),
        summary: breach.summary.clone(),
        value: breach.value,
        threshold: rule.condition.threshold(),
        since_us,
        at_us,
    }
}

fn has_passed(since_us: i64, now_us: i64, hold: Duration) -> bool {
    u128::try_from(now_us.saturating_sub(since_us)).is_ok_and(|passed| passed >= hold.as_micros())
}
