//! Changes of runs: what the tracker makes of events, and what the store and Prefect receive.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::run::{FlowRun, RunLogLine, TaskRun};

/// A change of a run. Runs and tasks come whole each time: a listener that missed one has the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RunChange {
    /// A flow run began, or its state changed.
    Flow(FlowRun),
    /// A task run began, or its state changed.
    Task(TaskRun),
    /// A line of a log.
    Log(RunLogLine),
    /// A window was published.
    Window(WindowArtifact),
    /// The run is alive, every few seconds.
    Seen {
        /// The flow run.
        flow_run: Uuid,
        /// When, microseconds since the epoch, UTC.
        at_us: i64,
    },
}

/// A published version of a window, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowArtifact {
    /// The flow run.
    pub flow_run: Uuid,
    /// The task run that wrote it.
    pub task_run: Uuid,
    /// The pipeline's name.
    pub pipeline: String,
    /// First instant, microseconds since the epoch, UTC.
    pub start_us: i64,
    /// First instant after it.
    pub end_us: i64,
    /// 1, or more for a correction.
    pub version: u32,
    /// Messages that are part of it.
    pub messages: u64,
    /// Rows of its file.
    pub rows: u64,
    /// Bytes of its file.
    pub bytes: u64,
    /// The file's name below the lake's root.
    pub file: String,
    /// Where it can be opened, when the lake has such addresses.
    pub url: Option<String>,
    /// The offsets that it was made from: `topic[0]@5..=9`, separated by commas.
    pub sources: String,
}
