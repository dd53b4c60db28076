//! Delivers the spool to the server, asks it whether a person cancelled the run, and sends heartbeats.
//!
//! One request at a time, within the budget. What fails is sent again until it succeeds, or the server refuses it for
//! good. Runs on its own thread: a slow disk or server slows nothing else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use turnstile_values::human;

use super::batch::{ReportPart, deliveries};
use super::budget::RequestBudget;
use super::error::PrefectError;
use super::outage::{OutageLine, PrefectOutage};
use super::payload;
use super::reporter_state::ReporterState;
use super::send::PrefectSender;
use super::spool::SpoolPosition;
use crate::run::RunState;
use crate::tracker::{CancelSignal, now_us};

/// Items of the spool that become requests together.
const STRETCH: usize = 500;
/// How often the state of things is looked at while nothing is to do.
const PAUSE: Duration = Duration::from_millis(50);
/// A server takes events before it stores them, and loses those of its last seconds when it is killed: after an outage,
/// events are sent again that were sent so shortly before it. They have ids; the server stores each once.
const EVENTS_AGAIN: Duration = Duration::from_secs(60);
/// Requests with events that are kept for that.
const EVENTS_KEPT: usize = 32;
/// An item that the server fails on this often, with status 500, is set aside.
const MAX_SERVER_FAULTS: u32 = 8;

/// A request that waits for its turn.
struct QueuedPart {
    part: ReportPart,
    /// It may have arrived.
    repeated: bool,
    /// It was delivered, and counted.
    counted: bool,
}

/// The delivery of one reporter.
pub(super) struct PrefectDelivery {
    pub(super) shared: Arc<ReporterState>,
    pub(super) sender: PrefectSender,
    pub(super) cancel: CancelSignal,
    budget: RequestBudget,
    outage: PrefectOutage,
    work: VecDeque<QueuedPart>,
    /// Where the spool is once `work` is done.
    work_end: Option<SpoolPosition>,
    /// What the spool held at the start may have arrived: the process before may have died before it noted that.
    first_stretch: bool,
    /// Events that were sent lately, and when.
    recent: VecDeque<(Instant, ReportPart)>,
    /// How often the first of `work` made the server fail.
    faults: u32,
    said_refused: bool,
    polled: Instant,
    beaten: Instant,
}

impl PrefectDelivery {
    /// A delivery that has not begun.
    pub(super) fn new(shared: Arc<ReporterState>, sender: PrefectSender, cancel: CancelSignal) -> Self {
        let now = Instant::now();
        let budget = RequestBudget::new(sender.settings.requests_per_minute, now);
        let first_stretch = !shared.spool.lock().is_empty();
        Self {
            shared,
            sender,
            cancel,
            budget,
            outage: PrefectOutage::new(),
            work: VecDeque::new(),
            work_end: None,
            first_stretch,
            recent: VecDeque::new(),
            faults: 0,
            said_refused: false,
            polled: now,
            beaten: now,
        }
    }

    /// Delivers until the tracker has ended and all is delivered, or the time for that is over.
    pub(super) async fn run(mut self) {
        let mut ended: Option<Instant> = None;
        loop {
            self.sender.current = self.shared.current.lock().clone();
            let now = Instant::now();
            if self.shared.has_ended() {
                let since = *ended.get_or_insert(now);
                if self.is_done() || now.saturating_duration_since(since) >= self.sender.settings.drain {
                    break;
                }
            }
            if let Some(wait) = self.wait(now) {
                tokio::time::sleep(wait).await;
                continue;
            }
            let sent = self.sender.client.sent();
            self.step(now).await;
            // One was taken from the budget before.
            self.budget.spend(self.sender.client.sent().saturating_sub(sent + 1));
            self.publish_state();
        }
        self.publish_state();
        let left = self.shared.spool.lock().bytes();
        if left > 0 {
            tracing::info!("{} for Prefect are delivered at the next start", human::size(left));
        }
    }

    fn is_done(&mut self) -> bool {
        self.work.is_empty() && self.shared.spool.lock().is_empty()
    }

    /// How long there is nothing to do, or nothing that may be done.
    fn wait(&mut self, now: Instant) -> Option<Duration> {
        let outage = self.outage.wait(now);
        if !outage.is_zero() {
            return Some(outage.min(PAUSE));
        }
        if !self.poll_is_due(now) && !self.beat_is_due(now) && self.is_done() {
            return Some(PAUSE);
        }
        self.budget.take(now).err().map(|wait| wait.min(PAUSE))
    }

    /// One request, more or less, which the budget has allowed.
    async fn step(&mut self, now: Instant) {
        if self.poll_is_due(now) {
            self.polled = now;
            self.poll().await;
        } else if self.beat_is_due(now) {
            self.beaten = now;
            self.beat().await;
        } else {
            self.deliver().await;
        }
    }

    async fn deliver(&mut self) {
        if self.work.is_empty() {
            let peeked = self.shared.spool.lock().peek(STRETCH);
            match peeked {
                Ok((items, end)) => {
                    let repeated = std::mem::take(&mut self.first_stretch);
                    let parts = deliveries(items).into_iter();
                    self.work = parts.map(|part| QueuedPart { part, repeated, counted: false }).collect();
                    self.work_end = Some(end);
                }
                Err(error) => return self.failed(&PrefectError::Garbage(format!("nothing: the spool: {error}"))),
            }
        }
        let Some(first) = self.work.front() else { return self.finish_work() };
        match self.sender.send(&first.part, first.repeated).await {
            Ok(()) => {
                if let Some(done) = self.work.pop_front() {
                    self.delivered(done);
                }
                self.succeeded();
                self.next_work();
            }
            Err(error @ PrefectError::Busy { status: 500, .. }) if self.faults + 1 >= MAX_SERVER_FAULTS => {
                self.refused(&error);
                self.next_work();
            }
            Err(error) if error.is_passing() => {
                if matches!(error, PrefectError::Busy { status: 500, .. }) {
                    self.faults += 1;
                }
                if let Some(first) = self.work.front_mut() {
                    first.repeated |= error.may_have_arrived();
                }
                self.failed(&error);
            }
            Err(error) => {
                self.refused(&error);
                self.succeeded();
                self.next_work();
            }
        }
    }

    fn delivered(&mut self, done: QueuedPart) {
        if !done.counted {
            self.shared.count_delivered(done.part.len());
        }
        if matches!(done.part, ReportPart::Tasks(..)) {
            let now = Instant::now();
            self.recent.push_back((now, done.part));
            let old = |at: Instant| now.saturating_duration_since(at) > EVENTS_AGAIN;
            while self.recent.len() > EVENTS_KEPT || self.recent.front().is_some_and(|(at, _)| old(*at)) {
                self.recent.pop_front();
            }
        }
    }

    fn next_work(&mut self) {
        self.faults = 0;
        if self.work.is_empty() {
            self.finish_work();
        }
    }

    fn finish_work(&mut self) {
        if let Some(end) = self.work_end.take() {
            self.shared.spool.lock().advance(end);
        }
    }

    /// The server will never take it: halves of it are tried, and what is left is set aside.
    fn refused(&mut self, error: &PrefectError) {
        let Some(QueuedPart { part, repeated, counted }) = self.work.pop_front() else { return };
        if let Some([first, second]) = part.split() {
            for part in [second, first] {
                self.work.push_front(QueuedPart { part, repeated, counted });
            }
            return;
        }
        if !self.said_refused {
            self.said_refused = true;
            tracing::warn!("{error}; it is set aside, as later ones will be, and delivery goes on");
        }
        self.shared.spool.lock().set_aside(&format!("{error}: {part:?}"));
        self.shared.count_set_aside(part.len().max(1));
    }

    /// The run's id on the server, while it is there and goes on.
    fn running(&self) -> Option<(String, String)> {
        let run = self.sender.current.as_ref().filter(|run| !run.state.is_final())?;
        Some((self.sender.runs.known(run.id)?.clone(), run.name.clone()))
    }

    fn poll_is_due(&self, now: Instant) -> bool {
        let asked = self.cancel.token().is_cancelled();
        !asked && now.saturating_duration_since(self.polled) >= self.sender.settings.poll && self.running().is_some()
    }

    fn beat_is_due(&self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.beaten);
        since >= self.sender.settings.heartbeat && self.running().is_some()
    }

    async fn poll(&mut self) {
        let Some((id, _)) = self.running() else { return };
        match self.sender.client.get(&format!("/flow_runs/{id}")).await {
            Ok(run) => {
                self.succeeded();
                let state = run["state_type"].as_str().and_then(RunState::parse);
                if matches!(state, Some(RunState::Cancelling | RunState::Cancelled)) {
                    self.sender.cancelled_there = true;
                    self.cancel.request("a person cancelled it in Prefect");
                }
            }
            // The run was deleted there; there is nothing to ask for.
            Err(PrefectError::Refused { .. }) => {}
            Err(error) => self.failed(&error),
        }
    }

    async fn beat(&mut self) {
        let Some((id, name)) = self.running() else { return };
        let event = payload::heartbeat(&id, &name, now_us());
        match self.sender.client.post("/events", &serde_json::json!([event])).await {
            Ok(_) => self.succeeded(),
            Err(PrefectError::Refused { .. }) => {}
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &PrefectError) {
        let line = self.outage.failed(&error.to_string(), error.asked_wait(), Instant::now());
        if let Some(OutageLine::Began(cause)) = line {
            tracing::warn!(
                "{cause}; the stream goes on, and what is to be delivered is kept in {}",
                self.shared.place()
            );
            *self.shared.outage.lock() = Some(cause);
        }
    }

    fn succeeded(&mut self) {
        if let Some(OutageLine::Over(lasted)) = self.outage.succeeded(Instant::now()) {
            let lasted = human::rough_duration(i64::try_from(lasted.as_micros()).unwrap_or(i64::MAX));
            let place = self.shared.place();
            tracing::info!("the Prefect server answers again, after {lasted}; what is kept in {place} is delivered");
            *self.shared.outage.lock() = None;
            for (_, part) in std::mem::take(&mut self.recent).into_iter().rev() {
                self.work.push_front(QueuedPart { part, repeated: true, counted: true });
            }
        }
    }

    fn publish_state(&self) {
        let spool = self.shared.spool.lock();
        self.shared.set_spool_state(spool.bytes(), spool.dropped());
    }
}
