use turnstile_track::{PrefectReporter, TrackEnd};

use crate::server::ServerView;
use crate::story::{builder, now_us, ready, settings, unique, wait_for};

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_run_that_a_person_cancels_in_prefect_is_asked_to_end_and_is_cancelled_there() {
    let (api, dir) = (turnstile_testkit::prefect(), tempfile::tempdir().unwrap());
    let mut builder = builder(&unique("cancel"));
    let reporter = PrefectReporter::attach(&mut builder, settings(&api, dir.path())).unwrap();
    let tracker = builder.start(1_000).unwrap();
    let (run, signal) = (tracker.run(), tracker.cancel_signal().clone());
    tracker.sender().emit(now_us(), ready());
    let server = ServerView::of(&api);
    let flow_run = server.flow_run_in(run, "RUNNING");
    assert!(!signal.token().is_cancelled());
    assert_eq!(server.set_state(&flow_run, "CANCELLING")["status"], "ACCEPT");
    let cause = wait_for("the request", || signal.cause());
    assert_eq!(cause, "a person cancelled it in Prefect");
    tracker.end(TrackEnd::Completed { message: None });
    let stats = reporter.join();
    assert_eq!((stats.set_aside, stats.waiting_bytes), (0, 0));
    let cancelled = server.flow_run(run);
    assert_eq!((&cancelled["state_type"], &cancelled["state"]["message"]), (&"CANCELLED".into(), &cause.into()));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_run_that_completes_while_a_person_cancels_it_is_cancelled_in_prefect() {
    let (api, dir) = (turnstile_testkit::prefect(), tempfile::tempdir().unwrap());
    let mut builder = builder(&unique("race"));
    let mut wanted = settings(&api, dir.path());
    // It is not asked for in time.
    wanted.poll = std::time::Duration::from_secs(3_600);
    let reporter = PrefectReporter::attach(&mut builder, wanted).unwrap();
    let tracker = builder.start(1_000).unwrap();
    let run = tracker.run();
    tracker.sender().emit(now_us(), ready());
    let server = ServerView::of(&api);
    let flow_run = server.flow_run_in(run, "RUNNING");
    server.set_state(&flow_run, "CANCELLING");
    tracker.end(TrackEnd::Completed { message: None });
    assert_eq!(reporter.join().waiting_bytes, 0);
    assert_eq!(server.flow_run(run)["state_type"], "CANCELLED");
}
