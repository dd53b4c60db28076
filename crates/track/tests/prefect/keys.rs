use turnstile_testkit::servers::PrefectServer;
use turnstile_track::{PrefectReporter, TrackEnd};
use turnstile_values::Secret;

use crate::server::ServerView;
use crate::story::{builder, log, now_us, ready, settings, unique, wait_for};

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_wrong_key_loses_nothing_and_the_right_one_delivers_it_also_where_forged_requests_are_kept_out() {
    let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let home = turnstile_testkit::prefect_home().auth("admin:right").csrf();
    let server = PrefectServer::start(&home, data.path()).unwrap();
    let (api, pipeline) = (server.api(), unique("key"));
    let mut first = builder(&pipeline);
    let mut wrong = settings(&api, dir.path());
    wrong.key = Some(Secret::new("admin:wrong-hunter2"));
    wrong.drain = std::time::Duration::ZERO;
    let reporter = PrefectReporter::attach(&mut first, wrong).unwrap();
    let tracker = first.start(100).unwrap();
    let run = tracker.run();
    tracker.sender().emit(now_us(), ready());
    tracker.sender().emit(now_us(), log("kept"));
    let outage = wait_for("the refusal", || reporter.stats().outage);
    assert!(outage.contains("401: check the key") && !outage.contains("hunter2"), "{outage}");
    tracker.end(TrackEnd::Completed { message: None });
    let stats = reporter.join();
    assert_eq!((stats.delivered, stats.set_aside, stats.dropped), (0, 0, 0));
    assert!(stats.waiting_bytes > 0);

    let mut second = builder(&pipeline);
    let mut right = settings(&api, dir.path());
    right.key = Some(Secret::new("admin:right"));
    let reporter = PrefectReporter::attach(&mut second, right).unwrap();
    second.start(100).unwrap().end(TrackEnd::Completed { message: None });
    let stats = reporter.join();
    assert_eq!((stats.set_aside, stats.waiting_bytes, stats.outage), (0, 0, None));
    let view = ServerView::with_key(&api, Some("admin:right"));
    let flow_run = view.flow_run(run);
    assert_eq!(flow_run["state_type"], "COMPLETED");
    assert!(view.logs(&flow_run).contains(&"kept".to_owned()));
}
