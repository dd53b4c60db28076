//! One chain of tasks for each commit that published windows: read, aggregate, write.
//!
//! A commit without windows makes no task: commits are a second apart, and a person looks for windows. What it counted, and its
//! dead letters, go into the next chain. Reading lasts from one such commit's cut to the next; aggregating from the cut to the
//! commit; writing from the commit to the last file at its final name.

use turnstile_message::Counters;
use turnstile_values::human;
use uuid::Uuid;

use super::tasks::TaskFactory;
use crate::change::{RunChange, WindowArtifact};
use crate::event::{CommitReport, FileContent, FileReport};
use crate::run::{RunState, TaskRun};

/// The tasks of a run's commits, and what they have counted.
pub(super) struct CommitChain {
    /// The read task that runs now.
    read: TaskRun,
    /// Cumulative, at the commit before the current chain.
    before: Counters,
    /// Cumulative, at the last commit.
    last: Counters,
    /// Commits since the last chain.
    commits: u64,
    /// Files of dead letters since then.
    waiting: WaitingFiles,
    retries: u32,
    cause: Option<String>,
}

/// Names that are kept of files that wait for a chain; more are counted only.
const WAITING_NAMES: usize = 100;

/// Files of commits without windows.
#[derive(Default)]
struct WaitingFiles {
    names: Vec<(String, Option<String>)>,
    files: u64,
    rows: u64,
    bytes: u64,
}

impl WaitingFiles {
    fn add(&mut self, files: &[FileReport]) {
        let room = WAITING_NAMES.saturating_sub(self.names.len());
        self.names.extend(files.iter().take(room).map(|file| (file.name.clone(), file.url.clone())));
        self.files += files.len() as u64;
        self.rows += files.iter().map(|file| file.rows).sum::<u64>();
        self.bytes += files.iter().map(|file| file.bytes).sum::<u64>();
    }
}

/// What a commit changed.
pub(super) struct PublishedChain {
    /// The changes.
    pub(super) changes: Vec<RunChange>,
    /// The task that wrote files, if there are any.
    pub(super) write: Option<Uuid>,
    /// Windows among the files.
    pub(super) windows: u64,
}

impl CommitChain {
    /// Begins to read, at `at_us`, where `before` was counted. Also gives the task for its listeners.
    pub(super) fn begin(factory: &mut TaskFactory, before: Counters, at_us: i64) -> (Self, TaskRun) {
        let read = factory.begin(factory.names().read.clone(), at_us);
        let last = before.clone();
        let waiting = WaitingFiles::default();
        (Self { read: read.clone(), before, last, commits: 0, waiting, retries: 0, cause: None }, read)
    }

    /// Something of the commit at hand was tried again.
    pub(super) fn retried(&mut self, action: &str, cause: &str) {
        self.retries = self.retries.saturating_add(1);
        self.cause = Some(human::one_line(&format!("{action}: {cause}")));
    }

    /// A commit whose files are at their final names at `at_us`.
    pub(super) fn commit(
        &mut self,
        factory: &mut TaskFactory,
        pipeline: &str,
        commit: &CommitReport,
        at_us: i64,
    ) -> PublishedChain {
        self.commits += 1;
        self.last = commit.counters.clone();
        let windows = commit.files.iter().filter(|file| matches!(file.content, FileContent::Window { .. })).count();
        let windows = windows as u64;
        if windows == 0 {
            self.waiting.add(&commit.files);
            return PublishedChain { changes: Vec::new(), write: None, windows };
        }
        let took_us = i64::try_from(commit.took.as_micros()).unwrap_or(i64::MAX);
        let cut_at_us = at_us.saturating_sub(took_us).max(self.read.started_at_us);
        let committed_at_us = commit.committed_at_us.clamp(cut_at_us, at_us.max(cut_at_us));
        let next = factory.begin(factory.names().read.clone(), cut_at_us);
        let mut read = std::mem::replace(&mut self.read, next.clone());
        self.count_read(&mut read);
        finish(&mut read, cut_at_us);
        let aggregate = self.aggregate(factory, commit, &read, committed_at_us, windows);
        let write = self.write(factory, commit, &aggregate, at_us.max(committed_at_us));
        self.before = self.last.clone();
        self.commits = 0;
        let id = write.id;
        let artifacts = commit.files.iter().filter_map(|file| artifact(file, pipeline, &write));
        let artifacts: Vec<_> = artifacts.map(RunChange::Window).collect();
        let mut changes = [read, aggregate, write, next].map(RunChange::Task).to_vec();
        changes.extend(artifacts);
        PublishedChain { changes, write: Some(id), windows }
    }

    /// The task that was reading when the run ended in `state`.
    pub(super) fn end(self, state: RunState, at_us: i64) -> TaskRun {
        let mut read = self.read.clone();
        self.count_read(&mut read);
        read.files = self.waiting.names;
        if state == RunState::Completed {
            finish(&mut read, at_us);
        }
        read
    }

    fn count_read(&self, read: &mut TaskRun) {
        let (now, before) = (&self.last, &self.before);
        let counts = [
            ("messages", now.read.saturating_sub(before.read)),
            ("duplicates", now.duplicate.saturating_sub(before.duplicate)),
            ("late", now.late.saturating_sub(before.late)),
            ("dead_letters", now.dead_lettered.saturating_sub(before.dead_lettered)),
            ("filtered", now.filtered.saturating_sub(before.filtered)),
            ("commits", self.commits),
        ];
        read.counts.extend(counts.map(|(name, count)| (name.to_owned(), count)));
        read.message = Some(human::plural(counts[0].1, "message"));
    }

    fn aggregate(
        &self,
        factory: &mut TaskFactory,
        commit: &CommitReport,
        read: &TaskRun,
        ended_at_us: i64,
        windows: u64,
    ) -> TaskRun {
        let started_at_us = read.ended_at_us.unwrap_or(read.started_at_us);
        let mut task = factory.begin(factory.names().aggregate.clone(), started_at_us);
        task.upstream = vec![read.id];
        let aggregated = self.last.aggregated.saturating_sub(self.before.aggregated);
        let rows = commit.files.iter().filter(|file| matches!(file.content, FileContent::Window { .. }));
        let counts = [
            ("aggregated", aggregated),
            ("windows", windows),
            ("rows", rows.map(|file| file.rows).sum()),
            ("open_windows", commit.open_windows as u64),
        ];
        task.counts.extend(counts.map(|(name, count)| (name.to_owned(), count)));
        task.message = Some(human::plural(windows, "window"));
        finish(&mut task, ended_at_us);
        task
    }

    fn write(
        &mut self,
        factory: &mut TaskFactory,
        commit: &CommitReport,
        aggregate: &TaskRun,
        ended_at_us: i64,
    ) -> TaskRun {
        let started_at_us = aggregate.ended_at_us.unwrap_or(aggregate.started_at_us);
        let mut task = factory.begin(factory.names().write.clone(), started_at_us);
        task.upstream = vec![aggregate.id];
        let mut written = std::mem::take(&mut self.waiting);
        let names = commit.files.iter().map(|file| (file.name.clone(), file.url.clone()));
        task.files = written.names.drain(..).chain(names).collect();
        written.add(&commit.files);
        let WaitingFiles { files, rows, bytes, .. } = written;
        let counts = [("files", files), ("rows", rows), ("bytes", bytes), ("commit", commit.seq)];
        task.counts.extend(counts.map(|(name, count)| (name.to_owned(), count)));
        task.retries = std::mem::take(&mut self.retries);
        let files = human::plural(files, "file");
        let again = self.cause.take().map_or_else(String::new, |cause| format!("; tried again: {cause}"));
        task.message = Some(format!("{files}, {}{again}", human::size(bytes)));
        finish(&mut task, ended_at_us);
        task
    }
}

fn finish(task: &mut TaskRun, at_us: i64) {
    task.state = RunState::Completed;
    task.ended_at_us = Some(at_us.max(task.started_at_us));
}

fn artifact(file: &FileReport, pipeline: &str, write: &TaskRun) -> Option<WindowArtifact> {
    let FileContent::Window { start_us, end_us, version, messages } = file.content else { return None };
    let sources: Vec<_> = file.sources.iter().map(ToString::to_string).collect();
    Some(WindowArtifact {
        flow_run: write.flow_run,
        task_run: write.id,
        pipeline: pipeline.to_owned(),
        start_us,
        end_us,
        version,
        messages,
        rows: file.rows,
        bytes: file.bytes,
        file: file.name.clone(),
        url: file.url.clone(),
        sources: sources.join(", "),
    })
}
