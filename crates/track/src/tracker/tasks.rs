//! Numbers the task runs of a flow run.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::names::TrackNames;
use crate::run::{RunState, TaskRun};

/// Begins task runs of one flow run.
pub(super) struct TaskFactory {
    flow_run: Uuid,
    names: TrackNames,
    draw: Box<dyn FnMut() -> Uuid + Send>,
    numbers: BTreeMap<String, u64>,
}

impl TaskFactory {
    /// Tasks of `flow_run`, with ids from `draw`.
    pub(super) fn new(flow_run: Uuid, names: TrackNames, draw: Box<dyn FnMut() -> Uuid + Send>) -> Self {
        Self { flow_run, names, draw, numbers: BTreeMap::new() }
    }

    /// The names of tasks.
    pub(super) fn names(&self) -> &TrackNames {
        &self.names
    }

    /// The next run of `task`, which is running since `started_at_us`.
    pub(super) fn begin(&mut self, task: String, started_at_us: i64) -> TaskRun {
        let next = self.numbers.entry(task.clone()).or_default();
        let number = *next;
        *next += 1;
        TaskRun {
            id: (self.draw)(),
            flow_run: self.flow_run,
            task,
            number,
            state: RunState::Running,
            message: None,
            started_at_us,
            ended_at_us: None,
            upstream: Vec::new(),
            retries: 0,
            counts: BTreeMap::new(),
            files: Vec::new(),
        }
    }
}
