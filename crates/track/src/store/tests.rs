use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use uuid::Uuid;

use super::*;
use crate::change::RunChange;
use crate::event::{LogLevel, TrackEvent};
use crate::run::{FlowRun, RunLogLine, RunState, TaskRun};
use crate::tracker::{FlowStart, TrackEnd, TrackNames, TrackerBuilder};

fn flow(id: u128, pipeline: &str, started_at_us: i64) -> FlowRun {
    FlowRun {
        id: Uuid::from_u128(id),
        flow: "a flow".into(),
        pipeline: pipeline.into(),
        name: format!("run {id}"),
        state: RunState::Running,
        message: None,
        state_since_us: 0,
        started_at_us,
        ended_at_us: None,
        seen_at_us: started_at_us,
        host: "here".into(),
        pid: 7,
        parameters: BTreeMap::from([("topic".into(), "mta".into())]),
    }
}

fn ended(mut run: FlowRun, state: RunState, at_us: i64) -> FlowRun {
    (run.state, run.ended_at_us, run.seen_at_us) = (state, Some(at_us), at_us);
    run
}

fn task(flow_run: &FlowRun, number: u64) -> TaskRun {
    TaskRun {
        id: Uuid::from_u128(flow_run.id.as_u128() << 64 | u128::from(number)),
        flow_run: flow_run.id,
        task: "Write to Storage".into(),
        number,
        state: RunState::Running,
        message: Some("1 file".into()),
        started_at_us: number as i64,
        ended_at_us: None,
        upstream: vec![Uuid::from_u128(9)],
        retries: 2,
        counts: BTreeMap::from([("rows".into(), number)]),
        files: vec![("w.csv.gz".into(), Some("https://lake/w.csv.gz".into())), ("x".into(), None)],
    }
}

fn line(run: &FlowRun, level: LogLevel, text: &str) -> RunChange {
    RunChange::Log(RunLogLine { flow_run: run.id, at_us: 1, level, text: text.into() })
}

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("below/runs.sqlite")
    }

    fn open(&self) -> RunStore {
        self.open_with(&RetentionLimits::default())
    }

    fn open_with(&self, limits: &RetentionLimits) -> RunStore {
        RunStore::open(&self.path(), limits).unwrap()
    }
}

#[test]
fn a_run_with_its_tasks_and_log_is_read_back_as_it_was_stored_by_another_reader() {
    let place = Place::new();
    let mut store = place.open();
    let run = flow(1, "mta", 5);
    let (first, mut second) = (task(&run, 0), task(&run, 1));
    let tasks = [first.clone(), second.clone()].map(RunChange::Task);
    store.apply(&[RunChange::Flow(run.clone())]).unwrap();
    store.apply(&tasks).unwrap();
    second.state = RunState::Completed;
    second.ended_at_us = Some(99);
    let logged = [line(&run, LogLevel::Info, "one"), line(&run, LogLevel::Error, "two")];
    store.apply(&[RunChange::Task(second.clone())]).unwrap();
    store.apply(&logged).unwrap();

    let reader = RunStore::open_read_only(&place.path()).unwrap();
    let shown = reader.show(run.id, 10).unwrap().unwrap();
    assert_eq!(shown, RunDetails { run: run.clone(), tasks: vec![first, second.clone()], task_count: 2 });
    let newest = reader.show(run.id, 1).unwrap().unwrap();
    assert_eq!((newest.tasks, newest.task_count), (vec![second], 2));
    let texts = |least| reader.logs(run.id, least, 10).unwrap().into_iter().map(|line| line.text).collect::<Vec<_>>();
    assert_eq!(
        (texts(LogLevel::Info), texts(LogLevel::Warning)),
        (vec!["one".into(), "two".into()], vec!["two".to_owned()])
    );
    assert_eq!(reader.show(Uuid::nil(), 1).unwrap(), None);
}

#[test]
fn runs_are_listed_by_pipeline_and_state_the_newest_first() {
    let place = Place::new();
    let mut store = place.open();
    let runs = [flow(1, "a", 10), ended(flow(2, "a", 20), RunState::Failed, 25), flow(3, "b", 30), flow(4, "a", 40)];
    store.apply(&runs.map(RunChange::Flow)).unwrap();
    let list = |pipeline: Option<&str>, state, limit| {
        let filter = RunFilter { pipeline: pipeline.map(str::to_owned), state };
        let runs = store.runs(&filter, limit).unwrap();
        runs.into_iter().map(|run| run.id.as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, 10), [4, 3, 2, 1]);
    assert_eq!(list(Some("a"), None, 2), [4, 2]);
    assert_eq!(list(Some("a"), Some(RunState::Running), 10), [4, 1]);
    assert_eq!(list(None, Some(RunState::Failed), 10), [2]);
    let found = |text: &str| store.find(text).unwrap().map(|run| run.id.as_u128());
    assert_eq!(found(&Uuid::from_u128(3).to_string()), Some(3));
    assert_eq!((found("0000"), found(""), found("*")), (None, None, None), "several, or no id at all");
}

#[test]
fn a_run_that_was_killed_is_seen_as_crashed_by_the_next_start() {
    let place = Place::new();
    let (gone, alive, other) = (flow(1, "mta", 10), flow(2, "mta", 20), flow(3, "other", 30));
    let done = ended(flow(4, "mta", 40), RunState::Completed, 45);
    {
        let mut store = place.open();
        store.apply(&[gone.clone(), alive.clone(), other.clone(), done.clone()].map(RunChange::Flow)).unwrap();
        store.apply(&[RunChange::Task(task(&gone, 0)), RunChange::Seen { flow_run: gone.id, at_us: 15 }]).unwrap();
    }
    let mut store = place.open();
    let is_alive = |host: &str, pid: u32, seen_at_us: i64| {
        assert_eq!((host, pid), ("here", 7));
        seen_at_us == 20
    };
    let crashed = store.crashed_since("mta", 100, is_alive).unwrap();
    assert_eq!(crashed.iter().map(|crashed| crashed.run.id).collect::<Vec<_>>(), [gone.id]);
    let shown = store.show(gone.id, 5).unwrap().unwrap();
    assert_eq!((shown.run.state, shown.run.ended_at_us), (RunState::Crashed, Some(15)));
    assert_eq!(
        shown.run.message.as_deref(),
        Some("process 7 of host here ended without a word, last seen 1970-01-01T00:00:00Z")
    );
    assert_eq!(shown.tasks, crashed[0].tasks);
    assert_eq!((shown.tasks[0].state, shown.tasks[0].ended_at_us), (RunState::Crashed, Some(15)));
    for (run, state) in [(&alive, RunState::Running), (&other, RunState::Running), (&done, RunState::Completed)] {
        assert_eq!(store.show(run.id, 0).unwrap().unwrap().run.state, state);
    }
    assert!(store.crashed_since("mta", 100, |_, _, seen| seen == 20).unwrap().is_empty(), "once");
}

#[test]
fn a_request_to_end_is_not_overwritten_by_a_change_that_was_on_its_way() {
    let place = Place::new();
    let mut store = place.open();
    let run = flow(1, "mta", 10);
    store.apply(&[RunChange::Flow(run.clone())]).unwrap();
    assert_eq!(store.cancel_requested(run.id).unwrap(), None);
    let mut other = place.open();
    assert_eq!(other.request_cancel(run.id, "a person").unwrap(), CancelOutcome::Requested);
    store.apply(&[RunChange::Flow(run.clone())]).unwrap();
    assert_eq!(store.cancel_requested(run.id).unwrap().as_deref(), Some("a person"));
    store.apply(&[RunChange::Flow(ended(run.clone(), RunState::Cancelled, 20))]).unwrap();
    assert_eq!(other.request_cancel(run.id, "again").unwrap(), CancelOutcome::Ended(RunState::Cancelled));
    assert_eq!(other.request_cancel(Uuid::nil(), "x").unwrap(), CancelOutcome::Unknown);
}

#[test]
fn old_runs_many_runs_many_tasks_and_many_lines_are_deleted() {
    let place = Place::new();
    let limits = RetentionLimits {
        max_age: Duration::from_secs(100),
        max_runs: 2,
        max_tasks_per_run: 3,
        max_log_lines_per_run: 4,
    };
    let mut store = place.open_with(&limits);
    let now_us = 1_000_000_000;
    let old = ended(flow(1, "mta", 10), RunState::Completed, 20);
    let recent: Vec<_> =
        (2..6).map(|n| ended(flow(n, "mta", now_us - 50 + n as i64), RunState::Failed, now_us)).collect();
    let running = flow(9, "mta", 5);
    let all = [&old, &running].into_iter().chain(&recent).cloned();
    let mut changes: Vec<_> = all.map(RunChange::Flow).collect();
    changes.extend((0..6).map(|n| RunChange::Task(task(&running, n))));
    changes.extend((0..6).map(|n| line(&running, LogLevel::Info, &n.to_string())));
    changes.push(RunChange::Task(task(&old, 0)));
    store.apply(&changes).unwrap();
    assert_eq!(store.retain(now_us).unwrap(), 3);
    let left: Vec<_> = store.runs(&RunFilter::default(), 10).unwrap().iter().map(|run| run.id.as_u128()).collect();
    assert_eq!(left, [5, 4, 9], "a run that goes on is kept");
    let shown = store.show(running.id, 10).unwrap().unwrap();
    assert_eq!(shown.tasks.iter().map(|task| task.number).collect::<Vec<_>>(), [3, 4, 5]);
    let lines = store.logs(running.id, LogLevel::Info, 10).unwrap();
    assert_eq!(lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["2", "3", "4", "5"]);
    let orphans: i64 = store
        .connection
        .query_row("SELECT count(*) FROM task_runs WHERE flow_run NOT IN (SELECT id FROM flow_runs)", [], |r| r.get(0))
        .unwrap();
    assert_eq!(orphans, 0);
}

#[test]
fn a_damaged_file_is_moved_aside_and_a_new_store_begun() {
    let place = Place::new();
    std::fs::create_dir_all(place.path().parent().unwrap()).unwrap();
    std::fs::write(place.path(), "this is not a database, by any means at all, and long enough".repeat(50)).unwrap();
    let error = RunStore::open(&place.path(), &RetentionLimits::default()).unwrap_err();
    assert!(matches!(error, RunStoreError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("runs.sqlite is damaged"), "{error}");
    let opened = RunStore::open_or_replace(&place.path(), &RetentionLimits::default(), 1_234_000_000).unwrap();
    let (aside, _) = opened.replaced.unwrap();
    assert!(aside.ends_with("runs.sqlite.damaged-1234") && aside.exists());
    assert!(opened.store.runs(&RunFilter::default(), 1).unwrap().is_empty());
}

#[test]
fn a_newer_version_a_foreign_database_and_a_missing_file_are_refused_by_name_and_left_alone() {
    let place = Place::new();
    place.open();
    Connection::open(place.path()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    for error in [
        RunStore::open(&place.path(), &RetentionLimits::default()).unwrap_err(),
        RunStore::open_read_only(&place.path()).unwrap_err(),
        RunStore::open_or_replace(&place.path(), &RetentionLimits::default(), 0).unwrap_err(),
    ] {
        assert!(matches!(error, RunStoreError::Newer { found: 99, known: 1, .. }), "{error:?}");
        assert!(error.to_string().contains("runs.sqlite has version 99"), "{error}");
    }
    let foreign = place.dir.path().join("other.sqlite");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    let error = RunStore::open(&foreign, &RetentionLimits::default()).unwrap_err();
    assert!(matches!(error, RunStoreError::Foreign { .. }), "{error:?}");
    let mode: String = Connection::open(&foreign).unwrap().query_row("PRAGMA journal_mode", [], |r| r.get(0)).unwrap();
    assert_eq!(mode, "delete", "it was not changed");
    let missing = RunStore::open_read_only(&place.dir.path().join("none.sqlite")).unwrap_err();
    assert!(matches!(missing, RunStoreError::Missing { .. }), "{missing:?}");
}

#[test]
fn reading_works_while_another_process_writes_and_writing_says_that_the_file_is_locked() {
    let place = Place::new();
    let mut store = place.open();
    store.apply(&[RunChange::Flow(flow(1, "mta", 10))]).unwrap();
    let holder = Connection::open(place.path()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE; UPDATE flow_runs SET message = 'x'").unwrap();
    let seen = RunStore::open_read_only(&place.path()).unwrap().runs(&RunFilter::default(), 5).unwrap();
    assert_eq!((seen.len(), &seen[0].message), (1, &None));
    store.connection.busy_timeout(Duration::from_millis(10)).unwrap();
    let error = store.apply(&[RunChange::Flow(flow(2, "mta", 20))]).unwrap_err();
    assert!(matches!(error, RunStoreError::Locked { .. }), "{error:?}");
    assert!(error.to_string().contains("runs.sqlite is locked"), "{error}");
    holder.execute_batch("COMMIT").unwrap();
    store.apply(&[RunChange::Flow(flow(2, "mta", 20))]).unwrap();
}

fn start() -> FlowStart {
    FlowStart {
        pipeline: "mta".into(),
        host: "here".into(),
        pid: 7,
        parameters: BTreeMap::new(),
        moves: None,
        names: TrackNames::default(),
    }
}

fn note(text: &str) -> TrackEvent {
    TrackEvent::Log { level: LogLevel::Info, text: text.into() }
}

#[test]
fn a_tracked_run_is_in_the_store_and_a_request_there_reaches_it() {
    let place = Place::new();
    let mut builder = TrackerBuilder::new(start());
    let writer =
        StoreWriter::attach(&mut builder, &place.path(), &RetentionLimits::default(), |_, _, _| false).unwrap();
    let tracker = builder.start(100).unwrap();
    tracker.sender().emit(0, note("hello"));
    let (run, signal) = (tracker.run(), tracker.cancel_signal().clone());
    let mut other = place.open();
    let begin = Instant::now();
    while other.request_cancel(run, "a person, by `turnstile runs cancel`").unwrap() == CancelOutcome::Unknown {
        assert!(begin.elapsed() < Duration::from_secs(30));
        std::thread::yield_now();
    }
    while signal.cause().is_none() {
        assert!(begin.elapsed() < Duration::from_secs(30));
        std::thread::yield_now();
    }
    assert_eq!(signal.cause().as_deref(), Some("a person, by `turnstile runs cancel`"));
    tracker.end(TrackEnd::Completed { message: None });
    let counts = writer.join();
    assert_eq!(counts.dropped, 0);
    let shown = other.show(run, 10).unwrap().unwrap().run;
    assert_eq!((shown.state, shown.message), (RunState::Cancelled, signal.cause()));
    let lines = other.logs(run, LogLevel::Info, 10).unwrap();
    assert!(lines.iter().any(|line| line.text == "hello"));
}

#[test]
fn a_store_that_is_damaged_while_it_is_open_is_replaced_and_has_the_run() {
    let place = Place::new();
    let mut builder = TrackerBuilder::new(start());
    let store = place.open();
    let stream = builder.listen(100);
    // Every page but the first: the file still opens.
    let mut filled = place.open();
    filled
        .apply(&(0..200).map(|n| line(&flow(1, "mta", 1), LogLevel::Info, &format!("{n}"))).collect::<Vec<_>>())
        .unwrap();
    filled.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(filled);
    let mut file = std::fs::File::options().write(true).open(place.path()).unwrap();
    let len = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(4_096)).unwrap();
    file.write_all(&vec![0xff; len as usize - 4_096]).unwrap();
    let writer = StoreWriter::start(store, stream, builder.cancel_signal()).unwrap();
    let tracker = builder.start(100).unwrap();
    let run = tracker.run();
    tracker.sender().emit(0, note("hello"));
    tracker.end(TrackEnd::Completed { message: None });
    assert_eq!(writer.join().dropped, 0);
    let names: Vec<_> = std::fs::read_dir(place.path().parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().any(|name| name.starts_with("runs.sqlite.damaged-")), "{names:?}");
    assert_eq!(place.open().show(run, 1).unwrap().unwrap().run.state, RunState::Completed);
}

#[test]
fn a_hundred_thousand_task_runs_are_read_by_index() {
    let place = Place::new();
    let mut store = place.open();
    let (run, other) = (flow(1, "mta", 1), flow(2, "mta", 2));
    store.apply(&[run.clone(), other.clone()].map(RunChange::Flow)).unwrap();
    let tasks: Vec<_> = (0..50_000).flat_map(|n| [task(&run, n), task(&other, n)]).map(RunChange::Task).collect();
    store.apply(&tasks).unwrap();
    let shown = store.show(run.id, 100).unwrap().unwrap();
    assert_eq!((shown.task_count, shown.tasks.len(), shown.tasks[99].number), (50_000, 100, 49_999));
    // No test asserts a duration: that no table is read from end to end is what makes it fast.
    for sql in [
        "SELECT * FROM task_runs WHERE flow_run = 'x' ORDER BY position DESC LIMIT 5",
        "SELECT count(*) FROM task_runs WHERE flow_run = 'x'",
        "UPDATE task_runs SET state = 'CRASHED' WHERE flow_run = 'x' AND ended_at_us IS NULL",
        "SELECT * FROM logs WHERE flow_run = 'x' AND level >= 30 ORDER BY position DESC LIMIT 5",
        "SELECT * FROM flow_runs ORDER BY started_at_us DESC, rowid DESC LIMIT 5",
        "SELECT * FROM flow_runs WHERE pipeline = 'x' ORDER BY started_at_us DESC, rowid DESC LIMIT 5",
        "SELECT * FROM flow_runs WHERE state = 'x' ORDER BY started_at_us DESC, rowid DESC LIMIT 5",
    ] {
        let mut statement = store.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let plan: Vec<String> = statement.query_map([], |row| row.get(3)).unwrap().map(Result::unwrap).collect();
        let plan = plan.join("; ");
        assert!(plan.contains("INDEX") && !plan.contains("TEMP B-TREE"), "{sql}: {plan}");
    }
}
