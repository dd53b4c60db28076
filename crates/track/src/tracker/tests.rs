use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use turnstile_message::{Counters, OffsetRange, TopicPartition};
use uuid::Uuid;

use super::*;
use crate::event::{CommitReport, FileContent, FileReport, LoadReport, LogLevel, RetainReport, StatusReport};
use crate::run::{RunState, TaskRun};

const SECOND_US: i64 = 1_000_000;

fn core() -> TrackCore {
    let start = FlowStart {
        pipeline: "mta".into(),
        host: "here".into(),
        pid: 7,
        parameters: BTreeMap::new(),
        moves: None,
        names: TrackNames::default(),
    };
    let mut next = 0;
    TrackCore::new(start, 0, move || {
        next += 1;
        Uuid::from_u128(next)
    })
}

fn ready(read: u64) -> TrackEvent {
    let counters = Counters { read, aggregated: read, ..Counters::default() };
    let (topics, took) = ("mta".into(), Duration::ZERO);
    TrackEvent::Ready { topics, partitions: 3, resumed_at: Some(4), took, counters }
}

fn window(minute: i64) -> FileReport {
    let start_us = minute * 60 * SECOND_US;
    FileReport {
        name: format!("w{minute}.csv.gz"),
        url: Some(format!("https://lake/w{minute}.csv.gz")),
        content: FileContent::Window { start_us, end_us: start_us + 60 * SECOND_US, version: 1, messages: 10 },
        rows: 5,
        bytes: 100,
        sources: vec![OffsetRange { partition: TopicPartition::new("mta", 0), first: 5, last: 9, messages: 5 }],
    }
}

/// A commit whose files were at their names half a second after the cut.
fn commit(seq: u64, read: u64, files: Vec<FileReport>, at_us: i64) -> TrackEvent {
    TrackEvent::Committed(CommitReport {
        seq,
        committed_at_us: at_us - 200_000,
        took: Duration::from_millis(500),
        counters: Counters { read, aggregated: read.saturating_sub(1), late: 1, ..Counters::default() },
        files,
        ..CommitReport::default()
    })
}

fn load(to_seq: u64) -> TrackEvent {
    TrackEvent::Loaded(LoadReport {
        target: "embedded".into(),
        load: 1,
        started_at_us: 10 * SECOND_US,
        ended_at_us: 11 * SECOND_US,
        to_seq,
        windows: 1,
        rows: 5,
        tests_passed: 4,
        tests_failed: 1,
    })
}

/// Tasks as their last change left them, in the order of their ids.
fn tasks(changes: &[RunChange]) -> Vec<TaskRun> {
    let mut last = BTreeMap::new();
    for change in changes {
        if let RunChange::Task(task) = change {
            last.insert(task.id, task.clone());
        }
    }
    last.into_values().collect()
}

fn of<'a>(tasks: &'a [TaskRun], name: &str) -> Vec<&'a TaskRun> {
    tasks.iter().filter(|task| task.task == name).collect()
}

#[test]
fn a_commit_that_publishes_windows_makes_a_chain_of_read_aggregate_and_write() {
    let mut core = core();
    let mut changes = core.begin();
    changes.extend(core.on(&ready(100), SECOND_US));
    changes.extend(core.on(&commit(5, 120, Vec::new(), 2 * SECOND_US), 2 * SECOND_US));
    changes.extend(core.on(&commit(6, 150, Vec::new(), 3 * SECOND_US), 3 * SECOND_US));
    assert_eq!(tasks(&changes).len(), 1, "commits without windows make no task");
    changes.extend(core.on(&commit(7, 160, vec![window(1), window(2)], 4 * SECOND_US), 4 * SECOND_US));
    let tasks = tasks(&changes);
    let (reads, aggregates, writes) =
        (of(&tasks, "Read data stream"), of(&tasks, "Aggregate messages"), of(&tasks, "Write to Storage"));
    assert_eq!((reads.len(), aggregates.len(), writes.len()), (2, 1, 1));
    let (read, aggregate, write) = (reads[0], aggregates[0], writes[0]);
    assert_eq!((read.counts["messages"], read.counts["late"], read.counts["commits"]), (60, 1, 3));
    assert_eq!((aggregate.counts["windows"], aggregate.counts["rows"]), (2, 10));
    assert_eq!((write.counts["files"], write.counts["bytes"], write.counts["commit"]), (2, 200, 7));
    assert_eq!((aggregate.upstream.as_slice(), write.upstream.as_slice()), (&[read.id][..], &[aggregate.id][..]));
    let times = |task: &TaskRun| (task.started_at_us, task.ended_at_us.unwrap());
    assert_eq!(times(read), (0, 3_500_000));
    assert_eq!(times(aggregate), (3_500_000, 3_800_000));
    assert_eq!(times(write), (3_800_000, 4_000_000));
    assert_eq!((reads[1].state, reads[1].started_at_us), (RunState::Running, 3_500_000), "the next one began there");
    assert_eq!(write.files[0], ("w1.csv.gz".into(), Some("https://lake/w1.csv.gz".into())));
    let windows = changes.iter().filter(|change| matches!(change, RunChange::Window(w) if w.task_run == write.id));
    assert_eq!(windows.count(), 2);
}

#[test]
fn a_load_names_the_writes_that_it_used_and_has_its_tests_behind_it() {
    let mut core = core();
    let mut changes = core.on(&ready(0), 0);
    for seq in 1..4 {
        let at_us = seq as i64 * SECOND_US;
        changes.extend(core.on(&commit(seq, seq * 10, vec![window(seq as i64)], at_us), at_us));
    }
    changes.extend(core.on(&load(2), 11 * SECOND_US));
    changes.extend(core.on(&load(3), 12 * SECOND_US));
    let tasks = tasks(&changes);
    let writes: Vec<_> = of(&tasks, "Write to Storage").iter().map(|task| task.id).collect();
    let loads = of(&tasks, "Load warehouse");
    assert_eq!((&loads[0].upstream[..], &loads[1].upstream[..]), (&writes[..2], &writes[2..]));
    let tests = of(&tasks, "Run tests");
    assert_eq!((tests[0].upstream.as_slice(), tests[0].counts["passed"]), (&[loads[0].id][..], 4));
    assert_eq!(tests[0].message.as_deref(), Some("4 passed, 1 failed and only warn"));
}

#[test]
fn a_load_that_fails_twice_is_one_task_with_two_retries_and_their_cause() {
    let mut core = core();
    let mut changes = core.on(&ready(0), 0);
    for at_us in [5 * SECOND_US, 7 * SECOND_US] {
        let failed = TrackEvent::LoadFailed { target: "embedded".into(), error: "no\nspace".into() };
        changes.extend(core.on(&failed, at_us));
    }
    let failing = tasks(&changes);
    let failing = of(&failing, "Load warehouse");
    assert_eq!((failing[0].state, failing[0].retries), (RunState::Running, 2));
    assert_eq!(failing[0].message.as_deref(), Some("embedded: no space"));
    changes.extend(core.on(&load(2), 11 * SECOND_US));
    let tasks = tasks(&changes);
    let loads = of(&tasks, "Load warehouse");
    assert_eq!((loads.len(), loads[0].state, loads[0].retries), (1, RunState::Completed, 2));
    assert!(loads[0].message.as_ref().unwrap().ends_with("after 2 failed attempts"));
}

#[test]
fn a_retry_of_a_commit_is_seen_in_its_write_task_and_in_the_log() {
    let mut core = core();
    core.on(&ready(0), 0);
    let retried = TrackEvent::Retried { action: "publish", cause: "503 Slow Down".into() };
    let logged = core.on(&retried, SECOND_US);
    assert!(matches!(&logged[..], [RunChange::Log(line), RunChange::Flow(_)] if line.level == LogLevel::Warning));
    let tasks = tasks(&core.on(&commit(1, 5, vec![window(1)], 2 * SECOND_US), 2 * SECOND_US));
    let write = of(&tasks, "Write to Storage")[0];
    assert_eq!(write.retries, 1);
    assert!(write.message.as_ref().unwrap().ends_with("tried again: publish: 503 Slow Down"));
}

#[test]
fn a_run_ends_as_what_happened_says() {
    let failed = TrackEnd::Failed { error: "the topic\nwas deleted".into() };
    let cancelled = TrackEnd::Cancelled { cause: "SIGTERM".into() };
    let completed = TrackEnd::Completed { message: None };
    for (end, asked, state, message) in [
        (&failed, false, RunState::Failed, "the topic was deleted"),
        (&failed, true, RunState::Failed, "the topic was deleted"),
        (&cancelled, false, RunState::Cancelled, "SIGTERM"),
        (&cancelled, true, RunState::Cancelled, "a person"),
        (&completed, true, RunState::Cancelled, "a person"),
        (&completed, false, RunState::Completed, "1 window, 1 file"),
    ] {
        let mut core = core();
        let mut changes = core.on(&ready(0), 0);
        changes.extend(core.on(&commit(1, 5, vec![window(1)], SECOND_US), SECOND_US));
        if asked {
            assert_eq!(core.cancelling("a person", 2 * SECOND_US).len(), 2);
            assert!(core.cancelling("again", 2 * SECOND_US).is_empty());
        }
        changes.extend(core.end(end, 3 * SECOND_US));
        assert_eq!((core.run().state, core.run().message.as_deref()), (state, Some(message)), "{end:?}");
        assert_eq!(core.run().ended_at_us, Some(3 * SECOND_US));
        let reading = tasks(&changes).into_iter().rfind(|task| task.task == "Read data stream").unwrap();
        assert_eq!(reading.state, state);
        assert!(core.end(&failed, 4 * SECOND_US).is_empty() && core.on(&load(1), 4 * SECOND_US).is_empty());
    }
}

#[test]
fn maintenance_and_moving_messages_have_their_tasks() {
    let mut core = core();
    let retained =
        TrackEvent::Retained(RetainReport { ended_at_us: 5, windows: 1, files: 2, bytes: 9, ..Default::default() });
    let tasks = tasks(&core.on(&retained, 5));
    assert_eq!((tasks[0].task.as_str(), tasks[0].counts["files"], tasks[0].state), ("Retain", 2, RunState::Completed));

    let names = TrackNames { flow: "MTA - Kafka Data Stream flow".into(), ..TrackNames::default() };
    let start = FlowStart {
        pipeline: "mta".into(),
        host: String::new(),
        pid: 1,
        parameters: BTreeMap::new(),
        moves: Some(MessageMove::Produce),
        names,
    };
    let mut core = TrackCore::new(start, 0, Uuid::new_v4);
    let mut changes = core.begin();
    assert!(matches!(changes.last(), Some(RunChange::Log(line)) if line.text == "Produce messages"), "{changes:?}");
    let produced = crate::event::MoveReport { messages: 12, failed: 0 };
    changes.extend(core.on(&TrackEvent::Moved(produced), 5));
    changes.extend(core.end(&TrackEnd::Completed { message: None }, 9));
    let tasks = super::tests::tasks(&changes);
    assert_eq!(core.run().flow, "MTA - Kafka Data Stream flow");
    assert_eq!(core.run().message.as_deref(), Some("12 messages"));
    assert_eq!(core.run().name, "mta produce 1970-01-01T00:00:00Z");
    assert_eq!((tasks.len(), tasks[0].counts["messages"], tasks[0].state), (1, 12, RunState::Completed));
}

#[test]
fn a_run_that_waits_for_a_broker_or_a_store_is_late_until_it_goes_on() {
    let mut core = core();
    let mut seen = Vec::new();
    let status = |brokers_silent| TrackEvent::Status(StatusReport { brokers_silent, ..StatusReport::default() });
    let retried = |cause: &str| TrackEvent::Retried { action: "commit", cause: cause.into() };
    let events = [
        (0, ready(1_000)),
        // The first status may come before the brokers were asked.
        (1, status(true)),
        (2, status(false)),
        (3, status(true)),
        (5, status(true)),
        (6, status(false)),
        (7, retried("full")),
        (8, retried("full")),
        (9, status(false)),
        (10, commit(5, 1_001, vec![], 10 * SECOND_US)),
    ];
    for (second, event) in events {
        for change in core.on(&event, second * SECOND_US) {
            if let crate::change::RunChange::Flow(run) = change {
                seen.push((run.state, run.message.unwrap_or_default(), run.state_since_us / SECOND_US));
            }
        }
    }
    let late = |why: &str, at| (RunState::Late, why.to_owned(), at);
    let running = |at| (RunState::Running, String::new(), at);
    let full = "commit is tried again: full";
    let expected = [running(0), late("the brokers do not answer", 5), running(6), late(full, 7), running(10)];
    assert_eq!(seen, expected);
}

fn event() -> impl Strategy<Value = (u8, u64, u8)> {
    (0u8..6, 0u64..50, 0u8..3)
}

proptest! {
    /// Whatever happens in whichever order: counts add up, times are in order, upstream tasks are known, ends are ends.
    #[test]
    fn chains_count_every_message_once_and_follow_each_other(events in prop::collection::vec(event(), 0..60)) {
        let mut core = core();
        let mut changes = core.begin();
        changes.extend(core.on(&ready(1_000), 0));
        let (mut read, mut seq, mut at_us) = (1_000, 4, 0);
        for (kind, more, files) in events {
            at_us += more as i64 * 100_000;
            let event = match kind {
                0 => load(seq),
                1 => TrackEvent::LoadFailed { target: "embedded".into(), error: "x".into() },
                2 => TrackEvent::Retried { action: "commit", cause: "y".into() },
                _ => {
                    (read, seq) = (read + more, seq + 1);
                    commit(seq, read, (0..files).map(|n| window(n.into())).collect(), at_us)
                }
            };
            changes.extend(core.on(&event, at_us));
        }
        changes.extend(core.end(&TrackEnd::Completed { message: None }, at_us));
        let tasks = tasks(&changes);
        let reads = of(&tasks, "Read data stream");
        prop_assert_eq!(reads.iter().map(|task| task.counts["messages"]).sum::<u64>(), read - 1_000);
        for pair in reads.windows(2) {
            prop_assert_eq!(pair[0].ended_at_us, Some(pair[1].started_at_us));
        }
        let known: BTreeSet<_> = tasks.iter().map(|task| task.id).collect();
        for task in &tasks {
            prop_assert!(task.state.is_final() && task.ended_at_us.unwrap() >= task.started_at_us, "{:?}", task);
            prop_assert!(task.upstream.iter().all(|id| known.contains(id)));
        }
        let numbers: BTreeSet<_> = tasks.iter().map(|task| (&task.task, task.number)).collect();
        prop_assert_eq!(numbers.len(), tasks.len());
    }
}

fn builder() -> TrackerBuilder {
    TrackerBuilder::new(FlowStart {
        pipeline: "mta".into(),
        host: "here".into(),
        pid: 7,
        parameters: BTreeMap::new(),
        moves: None,
        names: TrackNames::default(),
    })
}

#[test]
fn every_listener_gets_the_same_changes_and_a_full_one_counts_what_it_missed() {
    let mut builder = builder();
    let (mut whole, mut full) = (builder.listen(1_000), builder.listen(2));
    let tracker = builder.start(100).unwrap();
    let sender = tracker.sender().clone();
    sender.emit(0, ready(0));
    for n in 0..20 {
        sender.emit(n, TrackEvent::Log { level: LogLevel::Info, text: format!("line {n}") });
    }
    // The full listener takes what is there while the end waits for it.
    let taking = std::thread::spawn(move || {
        let kept: Vec<_> = std::iter::from_fn(|| full.blocking_next()).collect();
        (kept.len() as u64 + full.take_dropped(), kept.last().cloned())
    });
    tracker.end(TrackEnd::Completed { message: None });
    let changes: Vec<_> = std::iter::from_fn(|| whole.blocking_next()).collect();
    let lines = changes.iter().filter(|change| matches!(change, RunChange::Log(line) if line.text.starts_with("line")));
    assert_eq!((lines.count(), whole.take_dropped(), sender.dropped()), (20, 0, 0));
    let (seen, last) = taking.join().unwrap();
    assert_eq!((seen, last.as_ref()), (changes.len() as u64, changes.last()), "the end is not dropped");
}

#[test]
fn a_request_to_end_reaches_the_flow_and_its_run_is_cancelled() {
    let mut builder = builder();
    let mut stream = builder.listen(1_000);
    let tracker = builder.start(100).unwrap();
    tracker.sender().emit(0, ready(0));
    tracker.cancel_signal().request("a person in Prefect");
    assert!(tracker.cancel_signal().token().is_cancelled());
    tracker.end(TrackEnd::Completed { message: None });
    let states = std::iter::from_fn(|| stream.blocking_next()).filter_map(|change| match change {
        RunChange::Flow(run) => Some((run.state, run.message)),
        _ => None,
    });
    let states: Vec<_> = states.collect();
    assert_eq!(states.last(), Some(&(RunState::Cancelled, Some("a person in Prefect".to_owned()))));
    assert!(states.contains(&(RunState::Cancelling, Some("a person in Prefect".to_owned()))));
}
