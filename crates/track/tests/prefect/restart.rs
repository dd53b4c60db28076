use serde_json::Value;
use turnstile_testkit::servers::PrefectServer;
use turnstile_track::{PrefectReporter, TrackEnd};

use crate::server::ServerView;
use crate::story::{SECOND_US, builder, commit, log, now_us, ready, settings, unique, wait_for, window};

/// A server that is killed and comes back, a run meanwhile, and a process that ends before all is delivered.
#[test]
#[ignore = "needs servers: cargo xtask test"]
fn what_happens_while_prefect_is_away_is_delivered_later_once_and_in_order() {
    let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = PrefectServer::start(&turnstile_testkit::prefect_home(), data.path()).unwrap();
    let (api, pipeline) = (server.api(), unique("away"));
    let mut first = builder(&pipeline);
    let reporter = PrefectReporter::attach(&mut first, settings(&api, dir.path())).unwrap();
    let tracker = first.start(10_000).unwrap();
    let (run, begin_us) = (tracker.run(), now_us());
    let lines = |from: usize, to: usize| {
        for n in from..to {
            tracker.sender().emit(begin_us + n as i64 * 1_000, log(format!("line {n:04}")));
        }
    };
    tracker.sender().emit(begin_us, ready());
    lines(0, 300);
    ServerView::of(&api).flow_run_in(run, "RUNNING");
    // In the midst of it.
    server.kill9().unwrap();
    lines(300, 900);
    for seq in 1..6 {
        let at_us = begin_us + seq as i64 * SECOND_US;
        tracker.sender().emit(at_us, commit(seq, vec![window(seq as i64)], at_us));
    }
    wait_for("the outage", || reporter.stats().outage);
    server.restart().unwrap();
    lines(900, 1_000);
    let view = ServerView::of(&api);
    let flow_run = view.flow_run(run);
    wait_for("the lines", || (view.logs(&flow_run).len() > 900).then_some(()));
    server.kill9().unwrap();
    lines(1_000, 1_200);
    tracker.end(TrackEnd::Completed { message: None });
    // This process gives up: the next one delivers the rest.
    let mut second = builder(&pipeline);
    std::thread::scope(|scope| {
        let ending = scope.spawn(|| reporter.join());
        server.restart().unwrap();
        ending.join().unwrap()
    });
    let reporter = PrefectReporter::attach(&mut second, settings(&api, dir.path())).unwrap();
    let tracker = second.start(100).unwrap();
    let other = tracker.run();
    tracker.end(TrackEnd::Completed { message: None });
    let stats = reporter.join();
    assert_eq!((stats.dropped, stats.set_aside, stats.waiting_bytes), (0, 0, 0));

    let flow_run = view.flow_run_in(run, "COMPLETED");
    let mut expected: Vec<_> = (0..1_200).map(|n| format!("line {n:04}")).collect();
    let mut logs = view.logs(&flow_run);
    logs.retain(|line| line.starts_with("line"));
    expected.sort();
    assert_eq!(logs, expected, "each once, in order");
    let tasks = view.task_runs(&flow_run, 16);
    assert_eq!(tasks.len(), 16, "five chains, and the read task that was going on");
    let tables = view.artifacts(&flow_run).into_iter().filter(|artifact| artifact["type"] == "table");
    let rows = tables.flat_map(|table| serde_json::from_str::<Vec<Value>>(table["data"].as_str().unwrap()).unwrap());
    let mut files: Vec<_> = rows.map(|row| row["file"].as_str().unwrap().to_owned()).collect();
    files.sort();
    assert_eq!(files, (1..6).map(|n| format!("w{n}.csv.gz")).collect::<Vec<_>>(), "each window once");
    assert_eq!(view.flow_run(other)["state_type"], "COMPLETED");
}
