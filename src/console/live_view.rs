//! What a running flow's events say, as pages show it.
//!
//! In: the flow's events. Out: the newest status and commit, a short history, notes. Bounded: old notes and points go.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use turnstile_console::data::{
    ConsoleNote, HistoryPoint, LagSummary, NoteSeverity, PipelineActivity, ThroughputSummary, WatermarkHolder,
};
use turnstile_message::TopicPartition;
use turnstile_track::AlertChange;
use turnstile_values::human;

use crate::flow::{self, CommitEvent, Event, EventStream, Status};

/// Points of the short histories: five minutes of a status a second.
const POINTS: usize = 300;

/// Notes that are kept.
const NOTES: usize = 50;

/// What marks the note of dead letters.
const COULD_NOT: &str = "could not be processed";

/// How long after the last of its messages a stream that is read to its end counts as quiet.
const QUIET_AFTER: Duration = Duration::from_secs(30);

/// What is known of a flow that runs in this process.
pub(crate) struct LiveView {
    state: Mutex<LiveState>,
    version: watch::Sender<u64>,
}

/// The newest of everything.
#[derive(Default)]
pub(crate) struct LiveState {
    started_at_us: i64,
    ready: bool,
    /// How it ended, and when.
    ended: Option<(i64, Result<(), String>)>,
    /// What it waits for, and since when.
    waiting: Option<(i64, String)>,
    pub(crate) status: Option<(i64, Status)>,
    pub(crate) commit: Option<CommitEvent>,
    pub(crate) notes: VecDeque<ConsoleNote>,
    rates: VecDeque<HistoryPoint>,
    lags: VecDeque<HistoryPoint>,
    bytes_per_second: f64,
    moved_at_us: i64,
    holder: Option<(TopicPartition, i64)>,
    /// Dead letters of this run.
    dead_lettered: u64,
}

impl LiveView {
    /// A flow that is about to start.
    pub(crate) fn starting() -> Arc<Self> {
        let state = LiveState { started_at_us: flow::now_us(), ..LiveState::default() };
        Arc::new(Self { state: Mutex::new(state), version: watch::Sender::new(0) })
    }

    /// A version that goes up when something has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Tells that something has changed that no event speaks of.
    pub(crate) fn touch(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// Reads what is known.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&LiveState) -> T) -> T {
        read(&self.state.lock())
    }

    /// Takes in events until the flow ends, on this thread.
    pub(crate) fn follow(&self, mut events: EventStream) {
        while let Some((at_us, event)) = events.blocking_next_with_time() {
            // A status comes once a second, after what it sums up; but none comes while a commit is tried again.
            let is_news = matches!(event, Event::Status(_) | Event::Retried { .. });
            self.state.lock().take(at_us, event);
            if is_news {
                self.touch();
            }
        }
        self.touch();
    }

    /// The flow has ended.
    pub(crate) fn end(&self, result: Result<(), String>) {
        self.state.lock().ended = Some((flow::now_us(), result));
        self.touch();
    }

    /// An alert fired or resolved.
    pub(crate) fn alert(&self, change: &AlertChange) {
        self.state.lock().take_alert(change);
        self.touch();
    }
}

impl LiveState {
    fn take(&mut self, at_us: i64, event: Event) {
        let note = |severity, text: String| ConsoleNote { at_us, severity, text, hint: None, resolved_at_us: None };
        match event {
            Event::Ready { .. } => self.ready = true,
            Event::Published { .. } => {}
            Event::DeadLetters { count, first, .. } => {
                self.dead_lettered += count;
                // A stream that brings them brings more: they are one note.
                self.notes.retain(|note| !note.text.contains(COULD_NOT));
                let count = human::plural(self.dead_lettered, "message");
                let text = format!("{count} {COULD_NOT} since this run began, of the newest the first: {first}");
                self.add_note(note(NoteSeverity::Warning, text));
            }
            Event::Committed(commit) => {
                self.waiting = None;
                self.commit = Some(commit);
            }
            Event::Retried { cause, .. } => {
                let since = self.waiting.as_ref().map_or(at_us, |(since, _)| *since);
                self.waiting = Some((since, cause));
            }
            Event::Status(status) => self.take_status(at_us, status),
            Event::Loaded(_) => {}
            Event::NotLoaded { error, .. } => {
                self.add_note(note(NoteSeverity::Error, flow::not_loaded_text(&error)));
            }
            Event::Maintained(round) => self.add_note(note(NoteSeverity::Info, round.summary)),
            Event::Note(text) => self.add_note(note(NoteSeverity::Info, text)),
        }
    }

    fn take_status(&mut self, at_us: i64, status: Status) {
        let before = self.status.take();
        let moved = before.as_ref().is_none_or(|(_, before)| before.read != status.read);
        if moved {
            self.moved_at_us = at_us;
        }
        if let Some((before_us, before)) = before.filter(|(before_us, _)| *before_us < at_us) {
            let bytes = status.read_bytes.saturating_sub(before.read_bytes);
            self.bytes_per_second = bytes as f64 * 1e6 / (at_us - before_us) as f64;
        }
        push(&mut self.rates, HistoryPoint { at_us, value: status.rate });
        if let Some(lag) = status.lag {
            push(&mut self.lags, HistoryPoint { at_us, value: lag as f64 });
        }
        let holder = self.slowest(&status);
        self.holder = match (holder, self.holder.take()) {
            (Some(now), Some((before, since))) if now == before => Some((before, since)),
            (Some(now), _) => Some((now, at_us)),
            (None, _) => None,
        };
        self.status = Some((at_us, status));
    }

    /// The partition whose event time is the lowest of those that are not idle; none where there is only one.
    fn slowest(&self, status: &Status) -> Option<TopicPartition> {
        let active = || status.partitions.iter().filter(|partition| !self.is_idle(&partition.partition));
        if active().count() < 2 {
            return None;
        }
        active().min_by_key(|partition| partition.event_us.unwrap_or(i64::MIN)).map(|at| at.partition.clone())
    }

    /// Whether the newest commit has the partition as idle.
    pub(crate) fn is_idle(&self, partition: &TopicPartition) -> bool {
        let positions = self.commit.as_ref().map(|commit| commit.slot.positions.as_slice()).unwrap_or_default();
        positions.iter().any(|position| position.partition == *partition && position.idle)
    }

    /// The partition that holds the watermark back.
    pub(crate) fn holder(&self) -> Option<WatermarkHolder> {
        let (partition, since_us) = self.holder.clone()?;
        let (_, status) = self.status.as_ref()?;
        let progress = status.partitions.iter().find(|progress| progress.partition == partition)?;
        Some(WatermarkHolder { max_event_us: progress.event_us, partition, since_us: Some(since_us), idle_at_us: None })
    }

    /// Whether it runs, and how.
    pub(crate) fn activity(&self, process: &str) -> PipelineActivity {
        if let Some((at_us, result)) = &self.ended {
            return match result {
                Ok(()) => PipelineActivity::Stopped { at_us: *at_us },
                Err(why) => PipelineActivity::Failed { at_us: *at_us, why: why.clone() },
            };
        }
        if let Some((since_us, why)) = &self.waiting {
            return PipelineActivity::Waiting { since_us: *since_us, why: why.clone() };
        }
        if !self.ready {
            return PipelineActivity::Starting { since_us: self.started_at_us };
        }
        match &self.status {
            Some((at_us, status)) if status.lag.is_none() => PipelineActivity::Waiting {
                since_us: self.lags.back().map_or(*at_us, |point| point.at_us),
                why: "the brokers do not answer".to_owned(),
            },
            Some((at_us, status)) if status.lag == Some(0) && is_past(self.moved_at_us, *at_us) => {
                PipelineActivity::Quiet { since_us: self.moved_at_us }
            }
            _ => PipelineActivity::Running { since_us: self.started_at_us, process: process.to_owned() },
        }
    }

    /// How fast it reads; nothing once it has ended.
    pub(crate) fn throughput(&self) -> Option<ThroughputSummary> {
        let (_, status) = self.status.as_ref().filter(|_| self.ended.is_none())?;
        Some(ThroughputSummary {
            messages_per_second: status.rate,
            bytes_per_second: Some(self.bytes_per_second),
            history: self.rates.iter().copied().collect(),
        })
    }

    /// How far it is behind.
    pub(crate) fn lag(&self) -> Option<LagSummary> {
        let (at_us, status) = self.status.as_ref()?;
        let seconds = status.partitions.iter().filter_map(|partition| partition.lag_seconds(*at_us));
        let gaining = status.rate;
        let records = status.lag;
        Some(LagSummary {
            records,
            seconds: seconds.reduce(f64::max),
            catch_up_seconds: records.filter(|lag| *lag > 0 && gaining > 0.0).map(|lag| lag as f64 / gaining),
            history: self.lags.iter().copied().collect(),
        })
    }

    fn take_alert(&mut self, change: &AlertChange) {
        match change {
            AlertChange::Fired(alert) => self.add_note(ConsoleNote {
                at_us: alert.at_us,
                severity: NoteSeverity::Error,
                text: format!("alert {}: {}", alert.rule, alert.summary),
                hint: None,
                resolved_at_us: None,
            }),
            AlertChange::Resolved(alert) => {
                let fired = format!("alert {}: ", alert.rule);
                let open = |note: &&mut ConsoleNote| note.resolved_at_us.is_none() && note.text.starts_with(&fired);
                if let Some(note) = self.notes.iter_mut().find(open) {
                    note.resolved_at_us = Some(alert.at_us);
                }
            }
        }
    }

    fn add_note(&mut self, note: ConsoleNote) {
        // What is said again and again is one note.
        if let Some(last) = self.notes.front_mut().filter(|last| last.text == note.text) {
            last.at_us = note.at_us;
            return;
        }
        self.notes.push_front(note);
        self.notes.truncate(NOTES);
    }
}

fn is_past(since_us: i64, now_us: i64) -> bool {
    now_us - since_us > QUIET_AFTER.as_micros() as i64
}

fn push(history: &mut VecDeque<HistoryPoint>, point: HistoryPoint) {
    history.push_back(point);
    if history.len() > POINTS {
        history.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::PartitionProgress;

    fn progress(partition: i32, event_us: i64) -> PartitionProgress {
        let partition = TopicPartition::new("t", partition);
        PartitionProgress {
            partition,
            next_offset: 5,
            end_offset: Some(9),
            event_us: Some(event_us),
            timestamp_ms: Some(1_000),
        }
    }

    fn status(read: u64, lag: Option<u64>, partitions: Vec<PartitionProgress>) -> Event {
        Event::Status(Status { read, lag, partitions, read_bytes: read * 10, rate: 2.0, ..Status::default() })
    }

    const SECOND: i64 = 1_000_000;

    #[test]
    fn the_partition_that_holds_the_watermark_back_is_named_with_the_time_since_when() {
        let mut live = LiveState::default();
        live.take(SECOND, status(1, Some(4), vec![progress(0, 70), progress(1, 50)]));
        live.take(2 * SECOND, status(2, Some(4), vec![progress(0, 90), progress(1, 60)]));
        let holder = live.holder().unwrap();
        assert_eq!((holder.partition.partition, holder.since_us, holder.max_event_us), (1, Some(SECOND), Some(60)));
        live.take(3 * SECOND, status(3, Some(4), vec![progress(0, 90), progress(1, 95)]));
        assert_eq!(live.holder().unwrap().since_us, Some(3 * SECOND));
        live.take(4 * SECOND, status(3, Some(4), vec![progress(0, 90)]));
        assert_eq!(live.holder(), None, "one partition alone holds nothing back");
    }

    #[test]
    fn the_activity_of_a_flow_follows_from_its_events() {
        let mut live = LiveState { started_at_us: SECOND, ..LiveState::default() };
        assert_eq!(live.activity("p"), PipelineActivity::Starting { since_us: SECOND });
        let counters = turnstile_message::Counters::default();
        let ready =
            Event::Ready { topics: "t".into(), partitions: 1, resumed_at: None, counters, took: Duration::ZERO };
        live.take(SECOND, ready);
        live.take(2 * SECOND, status(1, Some(4), vec![progress(0, 1)]));
        assert!(matches!(live.activity("p"), PipelineActivity::Running { since_us: SECOND, .. }));
        assert_eq!(live.lag().unwrap().seconds, Some(1.0));
        assert_eq!(live.lag().unwrap().catch_up_seconds, Some(2.0));
        live.take(3 * SECOND, status(11, Some(0), vec![]));
        assert_eq!(live.throughput().unwrap().bytes_per_second, Some(100.0));
        live.take(60 * SECOND, status(11, Some(0), vec![]));
        assert_eq!(live.activity("p"), PipelineActivity::Quiet { since_us: 3 * SECOND });
        live.take(61 * SECOND, status(11, None, vec![]));
        assert!(matches!(live.activity("p"), PipelineActivity::Waiting { since_us, .. } if since_us == 60 * SECOND));
        live.take(62 * SECOND, Event::Retried { cause: "full".into(), wait: Duration::ZERO });
        live.take(63 * SECOND, Event::Retried { cause: "still full".into(), wait: Duration::ZERO });
        let waits = PipelineActivity::Waiting { since_us: 62 * SECOND, why: "still full".into() };
        assert_eq!(live.activity("p"), waits);
        live.ended = Some((64 * SECOND, Err("gone".into())));
        assert_eq!(live.activity("p"), PipelineActivity::Failed { at_us: 64 * SECOND, why: "gone".into() });
        assert!(live.throughput().is_none());
    }

    #[test]
    fn the_same_note_again_is_one_and_old_ones_go() {
        let mut live = LiveState::default();
        (0..80).for_each(|n| live.take(n, Event::Note(format!("note {}", n / 2))));
        assert_eq!((live.notes.len(), live.notes[0].text.as_str(), live.notes[0].at_us), (40, "note 39", 79));
        (0..80).for_each(|n| live.take(n, Event::Note(n.to_string())));
        assert_eq!(live.notes.len(), NOTES);
    }
}
