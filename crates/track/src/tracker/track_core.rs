//! Makes runs and tasks of a flow's events.
//!
//! In: events, and the time of each. Out: changes of one flow run. A function of its input, but for the ids that it
//! draws: reads no clock, does no I/O. Start at [`TrackCore::on`].

use std::collections::BTreeMap;
use std::fmt;

use turnstile_message::Counters;
use turnstile_values::human;
use uuid::Uuid;

use super::chain::CommitChain;
use super::loads::LoadTasks;
use super::names::TrackNames;
use super::tasks::TaskFactory;
use crate::change::RunChange;
use crate::event::{CommitReport, LogLevel, MoveReport, RetainReport, TrackEvent};
use crate::run::{FlowRun, RunLogLine, RunState, TaskRun};

/// What a flow run is, before it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowStart {
    /// The pipeline's name.
    pub pipeline: String,
    /// The host of this process.
    pub host: String,
    /// This process.
    pub pid: u32,
    /// Settings that a person may want to see; never a secret.
    pub parameters: BTreeMap<String, String>,
    /// What it does, if it only moves messages: then its one task lasts as long as the run.
    pub moves: Option<MessageMove>,
    /// The names of the flow and its tasks.
    pub names: TrackNames,
}

/// A run is late once the brokers have not answered for this long, microseconds: for two statuses, of which one comes a second.
const LATE_AFTER_US: i64 = 800_000;

/// What a flow does with messages of a topic that computes nothing of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageMove {
    /// It writes them to the topic.
    Produce,
    /// It reads them.
    Consume,
}

/// How a flow run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrackEnd {
    /// As it should: the topic's end was reached, or what was asked for is done.
    Completed {
        /// What it did, in one line, if there is something to say.
        message: Option<String>,
    },
    /// With this error, in one line.
    Failed {
        /// The error with its causes.
        error: String,
    },
    /// It was asked to, by a signal or by a person.
    Cancelled {
        /// By whom, in one line.
        cause: String,
    },
}

/// The state of one flow run.
pub struct TrackCore {
    run: FlowRun,
    factory: TaskFactory,
    chain: Option<CommitChain>,
    loads: LoadTasks,
    moving: Option<TaskRun>,
    windows: u64,
    files: u64,
    /// Since when the brokers do not answer.
    silent_since_us: Option<i64>,
    /// Why a commit is being tried again.
    retrying: Option<String>,
}

impl fmt::Debug for TrackCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackCore").field("run", &self.run).finish_non_exhaustive()
    }
}

impl TrackCore {
    /// A run that begins at `at_us`, microseconds since the epoch, UTC; `draw` draws ids. Its state is `PENDING` until
    /// its first event says that it runs.
    pub fn new(start: FlowStart, at_us: i64, mut draw: impl FnMut() -> Uuid + Send + 'static) -> Self {
        let what = match start.moves {
            None => "",
            Some(MessageMove::Produce) => " produce",
            Some(MessageMove::Consume) => " consume",
        };
        let run = FlowRun {
            id: draw(),
            flow: start.names.flow.clone(),
            name: format!("{}{what} {}", start.pipeline, human::instant(at_us / 1_000_000 * 1_000_000)),
            pipeline: start.pipeline,
            state: RunState::Pending,
            message: None,
            state_since_us: at_us,
            started_at_us: at_us,
            ended_at_us: None,
            seen_at_us: at_us,
            host: start.host,
            pid: start.pid,
            parameters: start.parameters,
        };
        let factory = TaskFactory::new(run.id, start.names, Box::new(draw));
        let mut core = Self {
            run,
            factory,
            chain: None,
            loads: LoadTasks::default(),
            moving: None,
            windows: 0,
            files: 0,
            silent_since_us: None,
            retrying: None,
        };
        if let Some(moves) = start.moves {
            let names = core.factory.names();
            let name = match moves {
                MessageMove::Produce => names.produce.clone(),
                MessageMove::Consume => names.consume.clone(),
            };
            core.moving = Some(core.factory.begin(name, at_us));
        }
        core
    }

    /// The run as it is now.
    pub fn run(&self) -> &FlowRun {
        &self.run
    }

    /// What a listener needs first: the run itself.
    pub fn begin(&mut self) -> Vec<RunChange> {
        let mut changes = vec![RunChange::Flow(self.run.clone())];
        if let Some(task) = self.moving.clone() {
            changes.extend(self.goes_on(self.run.started_at_us));
            let topic = self.run.parameters.get("topic").map(|topic| format!(" of topic {topic}")).unwrap_or_default();
            let begun = self.log(LogLevel::Info, format!("{}{topic}", task.task), self.run.started_at_us);
            changes.extend([RunChange::Task(task), begun]);
        }
        changes
    }

    /// The changes that an event makes, at `at_us`. None once the run has ended.
    pub fn on(&mut self, event: &TrackEvent, at_us: i64) -> Vec<RunChange> {
        if self.run.state.is_final() {
            return Vec::new();
        }
        self.run.seen_at_us = self.run.seen_at_us.max(at_us);
        match event {
            TrackEvent::Ready { topics, partitions, resumed_at, counters, .. } => {
                let from = resumed_at.map_or_else(String::new, |seq| format!(", from commit {seq}"));
                let partitions = human::plural(*partitions as u64, "partition");
                self.ready(format!("reading {topics}, {partitions}{from}"), counters.clone(), at_us)
            }
            TrackEvent::Committed(commit) => self.committed(commit, at_us),
            TrackEvent::Status(status) => {
                let since_us = status.brokers_silent.then_some(at_us);
                self.silent_since_us = since_us.map(|now_us| self.silent_since_us.unwrap_or(now_us));
                self.goes_on(at_us)
            }
            TrackEvent::Loaded(load) => self.loads.loaded(&mut self.factory, load),
            TrackEvent::LoadFailed { target, error } => {
                let mut changes = self.loads.failed(&mut self.factory, target, error, at_us);
                changes.push(self.log(LogLevel::Error, format!("{target} was not loaded: {error}"), at_us));
                changes
            }
            TrackEvent::Retained(report) => vec![RunChange::Task(self.retained(report))],
            TrackEvent::Moved(report) => self.moved(report, at_us),
            TrackEvent::Retried { action, cause } => {
                if let Some(chain) = &mut self.chain {
                    chain.retried(action, cause);
                }
                let text = format!("{action} is tried again: {cause}");
                self.retrying = Some(text.clone());
                let mut changes = vec![self.log(LogLevel::Warning, text, at_us)];
                changes.extend(self.goes_on(at_us));
                changes
            }
            TrackEvent::Log { level, text } => vec![self.log(*level, text.clone(), at_us)],
        }
    }

    /// The run is alive.
    pub fn seen(&mut self, at_us: i64) -> Vec<RunChange> {
        self.run.seen_at_us = self.run.seen_at_us.max(at_us);
        vec![RunChange::Seen { flow_run: self.run.id, at_us: self.run.seen_at_us }]
    }

    /// Someone asked the run to end.
    pub fn cancelling(&mut self, cause: &str, at_us: i64) -> Vec<RunChange> {
        if self.run.state.is_final() || self.run.state == RunState::Cancelling {
            return Vec::new();
        }
        self.enter(RunState::Cancelling, Some(human::one_line(cause)), at_us);
        vec![RunChange::Flow(self.run.clone()), self.log(LogLevel::Info, format!("asked to end: {cause}"), at_us)]
    }

    /// The run has ended; so have its tasks. A second end changes nothing.
    pub fn end(&mut self, end: &TrackEnd, at_us: i64) -> Vec<RunChange> {
        if self.run.state.is_final() {
            return Vec::new();
        }
        let asked = self.run.message.take().filter(|_| self.run.state == RunState::Cancelling);
        let (state, message) = match (end, asked) {
            (TrackEnd::Failed { error }, _) => (RunState::Failed, Some(error.clone())),
            (TrackEnd::Cancelled { cause }, None) => (RunState::Cancelled, Some(cause.clone())),
            // It was asked to, and stopped: that it then ended as planned is no other end.
            (_, Some(asked)) => (RunState::Cancelled, Some(asked)),
            (TrackEnd::Completed { message }, None) => {
                let summary = || {
                    if let Some(task) = &self.moving {
                        return human::plural(task.counts.get("messages").copied().unwrap_or_default(), "message");
                    }
                    let (windows, files) = (human::plural(self.windows, "window"), human::plural(self.files, "file"));
                    format!("{windows}, {files}")
                };
                (RunState::Completed, Some(message.clone().unwrap_or_else(summary)))
            }
        };
        let message = message.map(|text| human::one_line(&text));
        let mut tasks = self.chain.take().map(|chain| chain.end(state, at_us)).into_iter().collect::<Vec<_>>();
        tasks.extend(self.loads.end(state, at_us));
        tasks.extend(self.moving.take());
        let mut changes: Vec<_> = tasks.into_iter().map(|task| close(task, state, message.as_deref(), at_us)).collect();
        if let (RunState::Failed, Some(error)) = (state, &message) {
            changes.push(self.log(LogLevel::Error, error.clone(), at_us));
        }
        self.enter(state, message, at_us);
        self.run.ended_at_us = Some(at_us.max(self.run.started_at_us));
        self.run.seen_at_us = self.run.seen_at_us.max(at_us);
        changes.push(RunChange::Flow(self.run.clone()));
        changes
    }

    fn ready(&mut self, text: String, counters: Counters, at_us: i64) -> Vec<RunChange> {
        let mut changes = self.goes_on(at_us);
        let (chain, task) = CommitChain::begin(&mut self.factory, counters, self.run.started_at_us);
        self.chain = Some(chain);
        changes.push(RunChange::Task(task));
        changes.push(self.log(LogLevel::Info, text, at_us));
        changes
    }

    fn committed(&mut self, commit: &CommitReport, at_us: i64) -> Vec<RunChange> {
        self.retrying = None;
        let mut changes = self.goes_on(at_us);
        let (factory, begun_at_us) = (&mut self.factory, self.run.started_at_us);
        let chain = self.chain.get_or_insert_with(|| CommitChain::begin(factory, Counters::default(), begun_at_us).0);
        let published = chain.commit(&mut self.factory, &self.run.pipeline, commit, at_us);
        self.windows += published.windows;
        self.files += commit.files.len() as u64;
        if let Some(write) = published.write {
            self.loads.written(commit.seq, write);
        }
        changes.extend(published.changes);
        changes
    }

    /// It runs, or it is late: it waits for a broker or a store.
    fn goes_on(&mut self, at_us: i64) -> Vec<RunChange> {
        let silent = self.silent_since_us.filter(|since_us| at_us - since_us >= LATE_AFTER_US);
        let waits = self.retrying.clone().or_else(|| silent.map(|_| "the brokers do not answer".to_owned()));
        let state = if waits.is_some() { RunState::Late } else { RunState::Running };
        let can_change = matches!(self.run.state, RunState::Pending | RunState::Running | RunState::Late);
        if !can_change || self.run.state == state {
            return Vec::new();
        }
        self.enter(state, waits.map(|why| human::one_line(&why)), at_us);
        vec![RunChange::Flow(self.run.clone())]
    }

    fn enter(&mut self, state: RunState, message: Option<String>, at_us: i64) {
        self.run.state = state;
        self.run.message = message;
        self.run.state_since_us = at_us;
    }

    fn log(&self, level: LogLevel, text: String, at_us: i64) -> RunChange {
        RunChange::Log(RunLogLine { flow_run: self.run.id, at_us, level, text: human::one_line(&text) })
    }

    fn retained(&mut self, report: &RetainReport) -> TaskRun {
        let mut task = self.factory.begin(self.factory.names().retain.clone(), report.started_at_us);
        task.state = RunState::Completed;
        task.ended_at_us = Some(report.ended_at_us.max(report.started_at_us));
        let counts = [("windows", report.windows), ("files", report.files), ("bytes", report.bytes)];
        task.counts.extend(counts.map(|(name, count)| (name.to_owned(), count)));
        let (files, size) = (human::plural(report.files, "file"), human::size(report.bytes));
        task.message = Some(format!("{files} deleted, {size}"));
        task
    }

    fn moved(&mut self, report: &MoveReport, at_us: i64) -> Vec<RunChange> {
        let mut changes = self.goes_on(at_us);
        if let Some(task) = &mut self.moving {
            let counts = [("messages", report.messages), ("failed", report.failed)];
            task.counts.extend(counts.map(|(name, count)| (name.to_owned(), count)));
            task.message = Some(human::plural(report.messages, "message"));
            changes.push(RunChange::Task(task.clone()));
        }
        changes
    }
}

/// A task that ends with its run.
fn close(mut task: TaskRun, state: RunState, message: Option<&str>, at_us: i64) -> RunChange {
    if !task.state.is_final() {
        task.state = state;
        task.ended_at_us = Some(at_us.max(task.started_at_us));
        if state != RunState::Completed {
            task.message = message.map(str::to_owned);
        }
    }
    RunChange::Task(task)
}
