//! A server that is away, slow or confused: nothing is lost, nothing comes twice, the order stays.

use std::time::Duration;

use turnstile_track::{PrefectReporter, PrefectSettings, ReporterStats, TrackEnd, TrackEvent};

use crate::double::{Mishap, PrefectDouble};
use crate::log_lines::log_lines;
use crate::story::{builder, commit, log, now_us, ready, settings, wait_for, window};

/// Reports a run with these events to its end.
fn report(settings: PrefectSettings, events: impl IntoIterator<Item = TrackEvent>) -> ReporterStats {
    let mut builder = builder("mta");
    let reporter = PrefectReporter::attach(&mut builder, settings).unwrap();
    let tracker = builder.start(10_000).unwrap();
    let begin_us = now_us();
    for (n, event) in [ready()].into_iter().chain(events).enumerate() {
        tracker.sender().emit(begin_us + n as i64 * 1_000, event);
    }
    tracker.end(TrackEnd::Completed { message: None });
    reporter.join()
}

fn lines(count: usize) -> Vec<String> {
    let first = std::iter::once("reading mta, 3 partitions".to_owned());
    first.chain((0..count).map(|n| format!("line {n}"))).collect()
}

#[test]
fn whatever_goes_wrong_on_the_way_every_item_arrives_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let busy = [
        Mishap::Answer(429, "Retry-After: 0\r\n", "{}"),
        Mishap::Answer(503, "Retry-After: 0.01\r\n", "database is locked"),
        Mishap::Answer(408, "Retry-After: 0\r\n", ""),
        Mishap::Answer(502, "Retry-After: 0\r\n", "<html>"),
    ];
    let double = PrefectDouble::start()
        .mishaps("/flows/", busy.clone())
        .mishaps("/flow_runs/", [Mishap::Close, Mishap::Answer(200, "", "<html>a portal</html>")])
        .mishaps("/events", [Mishap::Answer(401, "", "{\"detail\": \"no\"}")])
        .mishaps("/logs/", busy.into_iter().chain([Mishap::LoseAnswer]))
        .mishaps("/artifacts/", [Mishap::LoseAnswer]);
    let mut wanted = settings(&double.api, dir.path());
    wanted.timeout = Duration::from_secs(5);
    let now_us = now_us();
    let events = (0..50).map(|n| log(format!("line {n}"))).chain([commit(1, vec![window(1)], now_us)]);
    let stats = report(wanted, events);
    assert_eq!((stats.set_aside, stats.dropped, stats.waiting_bytes, stats.outage), (0, 0, 0, None));
    assert_eq!(double.lines(), lines(50));
    let served = double.served.lock();
    assert_eq!(served.states, ["RUNNING", "COMPLETED"]);
    assert_eq!(served.artifacts.len(), 2, "a table and a link, though an answer was lost");
    let ended = served.events.iter().filter(|event| event["event"] == "prefect.task-run.Completed");
    assert_eq!(ended.count(), 4);
}

#[test]
fn an_outage_is_one_log_line_and_its_end_another_however_often_it_is_tried() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().display().to_string();
    assert!(log_lines(&place).is_empty());
    let busy = Mishap::Answer(503, "Retry-After: 0\r\n", "");
    let double = PrefectDouble::start().mishaps("/flows/", vec![busy; 30]);
    report(settings(&double.api, dir.path()), [log("a line")]);
    let lines = log_lines(&place);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("WARN the Prefect server answered 503; the stream goes on"), "{lines:?}");
    assert!(lines[1].starts_with("INFO the Prefect server answers again"), "{lines:?}");
    assert_eq!(double.lines(), ["reading mta, 3 partitions", "a line"]);
}

#[test]
fn an_answer_that_comes_too_late_is_no_answer_and_nothing_comes_twice() {
    let dir = tempfile::tempdir().unwrap();
    let double = PrefectDouble::start().mishaps("/logs/", [Mishap::Late(Duration::from_secs(2))]);
    let mut wanted = settings(&double.api, dir.path());
    wanted.timeout = Duration::from_millis(300);
    let stats = report(wanted, (0..50).map(|n| log(format!("line {n}"))));
    assert_eq!((stats.waiting_bytes, stats.outage), (0, None));
    assert_eq!(double.lines(), lines(50));
}

#[test]
fn a_process_that_ends_while_the_server_is_away_leaves_all_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    // No server is there at all.
    let mut away = settings("http://127.0.0.1:9/api", dir.path());
    away.drain = Duration::ZERO;
    let stats = report(away, (0..50).map(|n| log(format!("line {n}"))));
    assert_eq!((stats.delivered, stats.dropped), (0, 0));
    assert!(stats.waiting_bytes > 0);
    let double = PrefectDouble::start();
    let stats = report(settings(&double.api, dir.path()), []);
    assert_eq!(stats.waiting_bytes, 0);
    assert_eq!(double.lines(), [lines(50), lines(0)].concat());
    assert_eq!(double.served.lock().states, ["RUNNING", "COMPLETED", "RUNNING", "COMPLETED"]);
}

#[test]
fn a_full_spool_drops_the_oldest_and_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut away = settings("http://127.0.0.1:9/api", dir.path());
    (away.drain, away.spool_bytes) = (Duration::ZERO, 64 << 10);
    let stats = report(away, (0..2_000).map(|n| log(format!("line {n}"))));
    assert!(stats.dropped > 1_000 && stats.waiting_bytes <= 64 << 10, "{stats:?}");
    let double = PrefectDouble::start();
    assert_eq!(report(settings(&double.api, dir.path()), []).waiting_bytes, 0);
    let mut got = double.lines();
    got.retain(|line| line.starts_with("line"));
    let newest: Vec<_> = (2_000 - got.len()..2_000).map(|n| format!("line {n}")).collect();
    assert_eq!(got, newest);
    assert!(got.len() as u64 + stats.dropped >= 2_000, "{} and {}", got.len(), stats.dropped);
}

#[test]
fn a_burst_of_windows_and_lines_costs_few_requests() {
    let (dir, double) = (tempfile::tempdir().unwrap(), PrefectDouble::start());
    let mut wanted = settings(&double.api, dir.path());
    // The default, and a minute is not waited for: it must fit into the burst.
    wanted.requests_per_minute = PrefectSettings::new("", "").requests_per_minute;
    wanted.drain = Duration::from_secs(60);
    let now_us = now_us();
    let events = (1..100u64).flat_map(|n| [commit(n, vec![window(n as i64)], now_us), log(format!("line {n}"))]);
    let mut builder = builder("mta");
    let tracker = {
        // All of it waits before the first request is sent.
        let mut away = settings("http://127.0.0.1:9/api", dir.path());
        away.drain = Duration::ZERO;
        report(away, events);
        let reporter = PrefectReporter::attach(&mut builder, wanted).unwrap();
        (builder.start(100).unwrap(), reporter)
    };
    let (tracker, reporter) = tracker;
    wait_for("the windows", || {
        let served = double.served.lock();
        let rows = |artifact: &serde_json::Value| artifact["data"].as_str().unwrap().matches("window_start").count();
        let tables = served.artifacts.iter().filter(|artifact| artifact["type"] == "table");
        (tables.map(rows).sum::<usize>() == 99).then_some(())
    });
    tracker.end(TrackEnd::Completed { message: None });
    assert_eq!(reporter.join().waiting_bytes, 0);
    let requests = double.served.lock().requests.len();
    assert!(requests <= 40, "{requests}: {:?}", double.served.lock().requests);
}
