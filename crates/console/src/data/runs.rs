//! Flow runs and task runs.

use super::overview::NoteSeverity;

/// The state of a run, as Prefect names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunCondition {
    /// It will run at a known time.
    Scheduled,
    /// It is about to run.
    Pending,
    /// It runs.
    Running,
    /// It runs, and waits for a broker or a store that does not answer.
    Late,
    /// It ended as it should.
    Completed,
    /// It ended with an error.
    Failed,
    /// Its process ended without a word.
    Crashed,
    /// It was asked to end.
    Cancelling,
    /// It ended because it was asked to.
    Cancelled,
    /// It waits.
    Paused,
}

/// A page of flow runs.
#[derive(Debug, Clone, Default)]
pub struct RunPage {
    /// Newest first.
    pub runs: Vec<RunListing>,
    /// How many there are in all.
    pub total: u64,
}

/// One flow run in a list.
#[derive(Debug, Clone)]
pub struct RunListing {
    /// Its id, part of a URL: letters, digits, `-`.
    pub id: String,
    /// The run's own name.
    pub name: String,
    /// The flow's name.
    pub flow: String,
    /// Its state.
    pub condition: RunCondition,
    /// Why it is in this state, in one line.
    pub message: Option<String>,
    /// When it began.
    pub started_at_us: i64,
    /// When it ended.
    pub ended_at_us: Option<i64>,
    /// Where it ran: host and process.
    pub process: String,
}

/// One flow run.
#[derive(Debug, Clone)]
pub struct RunDetail {
    /// As it is listed.
    pub run: RunListing,
    /// Settings that a person may want to see; never a secret.
    pub parameters: Vec<(String, String)>,
    /// The newest task runs, oldest first.
    pub tasks: Vec<TaskListing>,
    /// How many task runs there are in all.
    pub tasks_total: u64,
    /// The newest lines of its log, oldest first.
    pub logs: Vec<RunLogEntry>,
    /// How many lines there are in all.
    pub logs_total: u64,
    /// Whether "cancel" is offered.
    pub can_cancel: bool,
}

/// One task run.
#[derive(Debug, Clone)]
pub struct TaskListing {
    /// The task's name, such as `Write to Storage`.
    pub task: String,
    /// Its number among the runs of that task, from 0.
    pub number: u64,
    /// Its state.
    pub condition: RunCondition,
    /// Why it is in this state, in one line.
    pub message: Option<String>,
    /// When it began.
    pub started_at_us: i64,
    /// When it ended.
    pub ended_at_us: Option<i64>,
    /// How many times it was tried again.
    pub retries: u32,
    /// Counts, such as `messages`, `windows`, `rows`.
    pub counts: Vec<(String, u64)>,
    /// Names of the files that it made, and where a browser can open them.
    pub files: Vec<(String, Option<String>)>,
}

/// A line of a run's log.
#[derive(Debug, Clone)]
pub struct RunLogEntry {
    /// When.
    pub at_us: i64,
    /// How much it matters.
    pub severity: NoteSeverity,
    /// One line.
    pub text: String,
}
