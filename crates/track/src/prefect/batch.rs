//! Sorts a stretch of the spool into requests. Pure.
//!
//! Order is kept where it matters: a flow run's state before and after everything else of it, and every kind of item
//! among its like. Many windows become one table: a run that is far behind costs few requests.

use uuid::Uuid;

use crate::change::{RunChange, WindowArtifact};
use crate::run::{FlowRun, RunLogLine, TaskRun};

/// Windows of a stretch that have a table each; more are one table.
const SINGLE_TABLES: usize = 3;
/// Log lines and task runs in one request.
const MAX_ITEMS: usize = 200;

/// One request, before it is JSON.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ReportPart {
    /// A flow run's state.
    Flow(Box<FlowRun>),
    /// Task runs of a flow run.
    Tasks(Uuid, Vec<TaskRun>),
    /// Log lines of a flow run.
    Logs(Uuid, Vec<RunLogLine>),
    /// A table of windows of a flow run.
    Windows(Uuid, Vec<WindowArtifact>),
    /// Links to the files of those windows.
    Links(Uuid, Vec<WindowArtifact>),
}

impl ReportPart {
    /// How many items it is.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Flow(_) => 1,
            Self::Tasks(_, items) => items.len() as u64,
            Self::Logs(_, items) => items.len() as u64,
            Self::Windows(_, items) => items.len() as u64,
            // Its windows are counted already.
            Self::Links(..) => 0,
        }
    }

    /// Two halves, for when the server refuses the whole because of one item.
    pub(super) fn split(&self) -> Option<[Self; 2]> {
        fn halves<T: Clone>(items: &[T]) -> Option<[Vec<T>; 2]> {
            let middle = items.len() / 2;
            (middle > 0).then(|| [items[..middle].to_vec(), items[middle..].to_vec()])
        }
        match self {
            Self::Flow(_) => None,
            Self::Tasks(run, items) => Some(halves(items)?.map(|half| Self::Tasks(*run, half))),
            Self::Logs(run, items) => Some(halves(items)?.map(|half| Self::Logs(*run, half))),
            Self::Windows(run, items) => Some(halves(items)?.map(|half| Self::Windows(*run, half))),
            Self::Links(run, items) => Some(halves(items)?.map(|half| Self::Links(*run, half))),
        }
    }
}

/// The requests for `items`, in the order in which to send them.
pub(super) fn deliveries(items: Vec<RunChange>) -> Vec<ReportPart> {
    let (mut all, mut group) = (Vec::new(), ReportGroup::default());
    for item in items {
        let run = match &item {
            RunChange::Flow(_) => None,
            RunChange::Task(task) => Some(task.flow_run),
            RunChange::Log(line) => Some(line.flow_run),
            RunChange::Window(window) => Some(window.flow_run),
            // Heartbeats are not spooled.
            RunChange::Seen { .. } => continue,
        };
        if run.is_none() || run != group.run {
            group.finish(&mut all);
            group.run = run;
        }
        match item {
            RunChange::Flow(run) => all.push(ReportPart::Flow(Box::new(run))),
            RunChange::Task(task) => group.tasks.push(task),
            RunChange::Log(line) => group.logs.push(line),
            RunChange::Window(window) => group.windows.push(window),
            RunChange::Seen { .. } => {}
        }
    }
    group.finish(&mut all);
    all
}

/// Items of one flow run between two of its states.
#[derive(Default)]
struct ReportGroup {
    run: Option<Uuid>,
    tasks: Vec<TaskRun>,
    logs: Vec<RunLogLine>,
    windows: Vec<WindowArtifact>,
}

impl ReportGroup {
    fn finish(&mut self, all: &mut Vec<ReportPart>) {
        let group = std::mem::take(self);
        let Some(run) = group.run else { return };
        all.extend(group.tasks.chunks(MAX_ITEMS).map(|part| ReportPart::Tasks(run, part.to_vec())));
        all.extend(group.logs.chunks(MAX_ITEMS).map(|part| ReportPart::Logs(run, part.to_vec())));
        let size = if group.windows.len() > SINGLE_TABLES { MAX_ITEMS } else { 1 };
        for part in group.windows.chunks(size) {
            all.push(ReportPart::Windows(run, part.to_vec()));
            if part.iter().any(|window| window.url.is_some()) {
                all.push(ReportPart::Links(run, part.to_vec()));
            }
        }
    }
}
