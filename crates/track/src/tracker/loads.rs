//! Tasks of loads: one for each load, through all of its attempts, and one for its tests.

use std::collections::{BTreeMap, VecDeque};

use turnstile_values::human;
use uuid::Uuid;

use super::tasks::TaskFactory;
use crate::change::RunChange;
use crate::event::LoadReport;
use crate::run::{RunState, TaskRun};

/// How many written commits a load can name as its input; older ones are left out.
const UPSTREAM_LIMIT: usize = 64;

/// The loads of a run.
#[derive(Default)]
pub(super) struct LoadTasks {
    /// Loads that failed and are tried again, by target.
    trying: BTreeMap<String, TaskRun>,
    /// Commits that wrote files, with their tasks, the newest last.
    written: VecDeque<(u64, Uuid)>,
    /// The commit up to which a target has loaded.
    loaded_to: BTreeMap<String, u64>,
}

impl LoadTasks {
    /// Task `write` wrote the files of commit `seq`.
    pub(super) fn written(&mut self, seq: u64, write: Uuid) {
        self.written.push_back((seq, write));
        if self.written.len() > UPSTREAM_LIMIT {
            self.written.pop_front();
        }
    }

    /// A load of `target` failed at `at_us` and is tried again.
    pub(super) fn failed(
        &mut self,
        factory: &mut TaskFactory,
        target: &str,
        error: &str,
        at_us: i64,
    ) -> Vec<RunChange> {
        let known = self.trying.entry(target.to_owned());
        let task = known.or_insert_with(|| factory.begin(factory.names().load.clone(), at_us));
        task.retries = task.retries.saturating_add(1);
        task.message = Some(human::one_line(&format!("{target}: {error}")));
        vec![RunChange::Task(task.clone())]
    }

    /// A load succeeded.
    pub(super) fn loaded(&mut self, factory: &mut TaskFactory, load: &LoadReport) -> Vec<RunChange> {
        let earlier = self.trying.remove(&load.target);
        let mut task = earlier.unwrap_or_else(|| factory.begin(factory.names().load.clone(), load.started_at_us));
        let from = self.loaded_to.insert(load.target.clone(), load.to_seq);
        let used = self.written.iter().filter(|(seq, _)| from.is_none_or(|from| *seq > from) && *seq <= load.to_seq);
        task.upstream = used.map(|(_, write)| *write).collect();
        let counts = [("windows", load.windows), ("rows", load.rows), ("load", load.load), ("commit", load.to_seq)];
        task.counts.extend(counts.map(|(name, count)| (name.to_owned(), count)));
        let again = if task.retries == 0 { String::new() } else { format!(" after {} failed attempts", task.retries) };
        let (windows, rows) = (human::plural(load.windows, "window"), human::plural(load.rows, "row"));
        task.message = Some(format!("{}: {windows}, {rows}{again}", load.target));
        task.state = RunState::Completed;
        task.ended_at_us = Some(load.ended_at_us.max(task.started_at_us));
        let tests = (load.tests_passed + load.tests_failed > 0).then(|| tests(factory, load, &task));
        [Some(task), tests].into_iter().flatten().map(RunChange::Task).collect()
    }

    /// What is still tried when the run ends in `state`: a load that never succeeded has failed.
    pub(super) fn end(&mut self, state: RunState, at_us: i64) -> Vec<TaskRun> {
        let left = std::mem::take(&mut self.trying).into_values();
        left.map(|mut task| {
            if state == RunState::Completed {
                task.state = RunState::Failed;
                task.ended_at_us = Some(at_us.max(task.started_at_us));
            }
            task
        })
        .collect()
    }
}

/// The tests of a load. They end when it does; how long they took is not known.
fn tests(factory: &mut TaskFactory, load: &LoadReport, task: &TaskRun) -> TaskRun {
    let ended_at_us = task.ended_at_us.unwrap_or(task.started_at_us);
    let mut tests = factory.begin(factory.names().tests.clone(), ended_at_us);
    tests.upstream = vec![task.id];
    tests.state = RunState::Completed;
    tests.ended_at_us = Some(ended_at_us);
    let counts = [("passed", load.tests_passed), ("failed", load.tests_failed)];
    tests.counts.extend(counts.map(|(name, count)| (name.to_owned(), count)));
    tests.message = Some(match load.tests_failed {
        0 => format!("{} passed", load.tests_passed),
        failed => format!("{} passed, {failed} failed and only warn", load.tests_passed),
    });
    tests
}
