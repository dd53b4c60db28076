use serde_json::{Value, json};
use turnstile_track::{PrefectReporter, RetentionLimits, StoreWriter, TrackEnd};

use crate::server::ServerView;
use crate::story::{SECOND_US, builder, commit, load, log, now_us, ready, settings, unique, window};

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_run_is_seen_in_prefect_with_its_tasks_counts_arrows_log_and_artifacts() {
    let (api, dir, pipeline) = (turnstile_testkit::prefect(), tempfile::tempdir().unwrap(), unique("runs"));
    let mut builder = builder(&pipeline);
    let mut wanted = settings(&api, dir.path());
    wanted.tags = vec!["nightly".into()];
    wanted.labels = vec![("team".into(), "data".into())];
    let reporter = PrefectReporter::attach(&mut builder, wanted).unwrap();
    let tracker = builder.start(1_000).unwrap();
    let (run, now_us) = (tracker.run(), now_us());
    let sender = tracker.sender();
    sender.emit(now_us, ready());
    sender.emit(now_us + SECOND_US, log("hello, Prefect"));
    sender.emit(now_us + 2 * SECOND_US, commit(1, Vec::new(), now_us + 2 * SECOND_US));
    sender.emit(now_us + 3 * SECOND_US, commit(2, vec![window(1), window(2)], now_us + 3 * SECOND_US));
    sender.emit(now_us + 5 * SECOND_US, load(2, now_us + 5 * SECOND_US));
    tracker.end(TrackEnd::Completed { message: None });
    let stats = reporter.join();
    assert_eq!((stats.set_aside, stats.dropped, stats.waiting_bytes, stats.outage), (0, 0, 0, None));

    let server = ServerView::of(&api);
    let flow_run = server.flow_run(run);
    assert_eq!(
        (&flow_run["state_type"], &flow_run["state"]["message"]),
        (&json!("COMPLETED"), &json!("2 windows, 2 files"))
    );
    assert_eq!(flow_run["tags"].as_array().unwrap().len(), 3);
    assert_eq!((&flow_run["labels"]["team"], &flow_run["labels"]["pid"]), (&json!("data"), &json!(7)));
    assert_eq!(flow_run["parameters"], json!({"topic": "mta"}));
    let flow = server.get(&format!("/flows/{}", flow_run["flow_id"].as_str().unwrap()));
    assert_eq!(flow["name"], "MTA Spark Data Stream flow");

    let tasks = server.task_runs(&flow_run, 6);
    let task =
        |name: &str| tasks.iter().find(|task| task["name"] == name).unwrap_or_else(|| panic!("{name}: {tasks:#?}"));
    let (read, aggregate, write) =
        (task("Read data stream-0"), task("Aggregate messages-0"), task("Write to Storage-0"));
    let (loaded, tests) = (task("Load warehouse-0"), task("Run tests-0"));
    for task in &tasks {
        assert_eq!(task["state_type"], "COMPLETED", "{task:#?}");
    }
    assert_eq!((&read["labels"]["messages"], &read["labels"]["late"]), (&json!(20), &json!(1)));
    assert_eq!((&aggregate["labels"]["windows"], &write["labels"]["files"]), (&json!(2), &json!(2)));
    assert_eq!(loaded["state"]["message"], "embedded: 2 windows, 10 rows");
    let upstream = |task: &Value| task["task_inputs"]["upstream"][0]["id"].clone();
    assert_eq!(
        [upstream(aggregate), upstream(write), upstream(loaded), upstream(tests)],
        [&read["id"], &aggregate["id"], &write["id"], &loaded["id"]].map(Clone::clone)
    );
    assert_eq!(write["total_run_time"], 0.2, "the client's times, not the server's");
    let graph = server.get(&format!("/flow_runs/{}/graph-v2", flow_run["id"].as_str().unwrap()));
    assert_eq!(graph["nodes"].as_array().unwrap().len(), 6);

    assert_eq!(server.logs(&flow_run), ["reading mta, 3 partitions", "hello, Prefect"]);
    let artifacts = server.artifacts(&flow_run);
    let of = |kind: &str| artifacts.iter().filter(|artifact| artifact["type"] == kind).collect::<Vec<_>>();
    let (tables, links) = (of("table"), of("markdown"));
    assert_eq!((tables.len(), links.len()), (2, 2), "{artifacts:#?}");
    assert!(artifacts.iter().all(|artifact| artifact["task_run_id"] == write["id"]));
    let rows: Vec<Value> =
        tables.iter().map(|table| serde_json::from_str(table["data"].as_str().unwrap()).unwrap()).collect();
    assert!(rows.iter().any(|rows| rows[0]["window_start"] == "1970-01-01T00:05Z" && rows[0]["rows"] == 5), "{rows:?}");
    assert!(links.iter().any(|link| link["data"] == "[w1.csv.gz](https://lake.example.com/w1.csv.gz)"));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_run_that_fails_is_failed_in_prefect_with_its_error() {
    let (api, dir) = (turnstile_testkit::prefect(), tempfile::tempdir().unwrap());
    let mut builder = builder(&unique("fails"));
    let reporter = PrefectReporter::attach(&mut builder, settings(&api, dir.path())).unwrap();
    let tracker = builder.start(1_000).unwrap();
    let run = tracker.run();
    tracker.sender().emit(now_us(), ready());
    tracker.end(TrackEnd::Failed { error: "the topic was deleted".into() });
    assert_eq!(reporter.join().waiting_bytes, 0);
    let server = ServerView::of(&api);
    let flow_run = server.flow_run(run);
    assert_eq!(
        (&flow_run["state_type"], &flow_run["state"]["message"]),
        (&json!("FAILED"), &json!("the topic was deleted"))
    );
    let tasks = server.task_runs(&flow_run, 1);
    assert_eq!(
        (&tasks[0]["state_type"], &tasks[0]["state"]["message"]),
        (&json!("FAILED"), &json!("the topic was deleted"))
    );
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_run_that_was_killed_is_crashed_in_prefect_by_the_next_start() {
    let (api, dir, pipeline) = (turnstile_testkit::prefect(), tempfile::tempdir().unwrap(), unique("killed"));
    let (store, spool) = (dir.path().join("runs.sqlite"), dir.path().join("spool"));
    let limits = RetentionLimits::default();
    let mut first = builder(&pipeline);
    let writer = StoreWriter::attach(&mut first, &store, &limits, |_, _, _| false).unwrap();
    let reporter = PrefectReporter::attach(&mut first, settings(&api, &spool)).unwrap();
    let tracker = first.start(1_000).unwrap();
    let killed = tracker.run();
    tracker.sender().emit(now_us(), ready());
    // As when the process ends: no one says how it ended.
    drop(tracker);
    writer.join();
    reporter.join();
    let server = ServerView::of(&api);
    assert_eq!(server.flow_run(killed)["state_type"], "RUNNING");

    let mut second = builder(&pipeline);
    let writer = StoreWriter::attach(&mut second, &store, &limits, |_, _, _| false).unwrap();
    let reporter = PrefectReporter::attach(&mut second, settings(&api, &spool)).unwrap();
    let tracker = second.start(1_000).unwrap();
    tracker.end(TrackEnd::Completed { message: None });
    writer.join();
    reporter.join();
    let crashed = server.flow_run(killed);
    assert_eq!(server.task_runs(&crashed, 1)[0]["state_type"], "CRASHED");
    assert_eq!(crashed["state_type"], "CRASHED");
    assert!(crashed["state"]["message"].as_str().unwrap().starts_with("process 7 of host here ended"), "{crashed:#?}");
}
