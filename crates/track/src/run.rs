//! Flow runs, task runs and their states, as Prefect names them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::LogLevel;

/// The state of a flow run or a task run.
///
/// Source: the state types of Prefect 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunState {
    /// It will run at a known time.
    Scheduled,
    /// It is about to run.
    Pending,
    /// It runs.
    Running,
    /// It runs, and waits for a broker or a store that does not answer. Prefect has it as a running one named `Late`.
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

impl RunState {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Scheduled,
        Self::Pending,
        Self::Running,
        Self::Late,
        Self::Completed,
        Self::Failed,
        Self::Crashed,
        Self::Cancelling,
        Self::Cancelled,
        Self::Paused,
    ];

    /// As the store writes it: `COMPLETED`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Scheduled => "SCHEDULED",
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Late => "LATE",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Crashed => "CRASHED",
            Self::Cancelling => "CANCELLING",
            Self::Cancelled => "CANCELLED",
            Self::Paused => "PAUSED",
        }
    }

    /// Its type in Prefect: `COMPLETED`.
    pub const fn prefect_type(self) -> &'static str {
        match self {
            Self::Late => Self::Running.code(),
            other => other.code(),
        }
    }

    /// Its name for people: `Completed`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "Scheduled",
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Late => "Late",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Crashed => "Crashed",
            Self::Cancelling => "Cancelling",
            Self::Cancelled => "Cancelled",
            Self::Paused => "Paused",
        }
    }

    /// The state of this code or name, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code().eq_ignore_ascii_case(text))
    }

    /// Whether a run stays in it for ever.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Crashed | Self::Cancelled)
    }
}

/// One run of a flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowRun {
    /// Drawn when it began; the same in Prefect.
    pub id: Uuid,
    /// The flow's name, such as `MTA Spark Data Stream flow`.
    pub flow: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The run's own name, for people.
    pub name: String,
    /// Its state.
    pub state: RunState,
    /// Why it is in this state, in one line.
    pub message: Option<String>,
    /// Since when, microseconds since the epoch, UTC; 0 where that is not kept. A run can be late more than once.
    #[serde(default)]
    pub state_since_us: i64,
    /// When it began, microseconds since the epoch, UTC.
    pub started_at_us: i64,
    /// When it ended.
    pub ended_at_us: Option<i64>,
    /// When it was last seen alive.
    pub seen_at_us: i64,
    /// The host of its process.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// Settings that a person may want to see; never a secret.
    pub parameters: BTreeMap<String, String>,
}

/// One run of a task of a flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRun {
    /// Drawn when it began; the same in Prefect.
    pub id: Uuid,
    /// The flow run that it is part of.
    pub flow_run: Uuid,
    /// The task's name, such as `Write to Storage`.
    pub task: String,
    /// Its number among the runs of that task in the flow run, from 0.
    pub number: u64,
    /// Its state.
    pub state: RunState,
    /// Why it is in this state, in one line.
    pub message: Option<String>,
    /// When it began, microseconds since the epoch, UTC.
    pub started_at_us: i64,
    /// When it ended.
    pub ended_at_us: Option<i64>,
    /// Task runs whose results it used.
    pub upstream: Vec<Uuid>,
    /// How many times it was tried again, and why the last time.
    pub retries: u32,
    /// Counts, such as `messages`, `windows`, `rows`.
    pub counts: BTreeMap<String, u64>,
    /// Names of the files that it made, with their addresses where they have one.
    pub files: Vec<(String, Option<String>)>,
}

/// A run that was found to have ended without a word.
#[derive(Debug, Clone, PartialEq)]
pub struct CrashedRun {
    /// The run, `CRASHED`.
    pub run: FlowRun,
    /// Its task runs that were going on, `CRASHED`.
    pub tasks: Vec<TaskRun>,
}

/// A line of a flow run's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLogLine {
    /// The flow run.
    pub flow_run: Uuid,
    /// When, microseconds since the epoch, UTC.
    pub at_us: i64,
    /// How much it matters.
    pub level: LogLevel,
    /// One line.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_one_code_everywhere() {
        for state in RunState::ALL {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{}\"", state.code()));
            assert_eq!((RunState::parse(state.code()), RunState::parse(state.name())), (Some(state), Some(state)));
        }
        assert_eq!(RunState::parse("lost"), None);
        assert_eq!((RunState::Late.prefect_type(), RunState::Failed.prefect_type()), ("RUNNING", "FAILED"));
    }
}
