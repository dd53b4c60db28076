//! What the server will never take: it is set aside, and the rest is delivered.

use std::time::Duration;

use turnstile_track::{PrefectClient, PrefectReporter, TrackEnd};
use turnstile_values::Secret;

use crate::double::{Mishap, PrefectDouble};
use crate::story::{builder, log, now_us, ready, settings};

#[test]
fn an_item_that_is_refused_is_set_aside_alone_and_kept_for_people() {
    let (dir, double) = (tempfile::tempdir().unwrap(), PrefectDouble::start().poison("poison"));
    let mut builder = builder("mta");
    let reporter = PrefectReporter::attach(&mut builder, settings(&double.api, dir.path())).unwrap();
    let tracker = builder.start(1_000).unwrap();
    let now_us = now_us();
    tracker.sender().emit(now_us, ready());
    for n in 0..100 {
        let text = if n == 37 { "poison".to_owned() } else { format!("line {n}") };
        tracker.sender().emit(now_us + n, log(text));
    }
    tracker.end(TrackEnd::Completed { message: None });
    let stats = reporter.join();
    assert_eq!((stats.set_aside, stats.dropped, stats.waiting_bytes, stats.outage), (1, 0, 0, None));
    let mut expected: Vec<_> = (0..100).filter(|n| *n != 37).map(|n| format!("line {n}")).collect();
    expected.insert(0, "reading mta, 3 partitions".into());
    assert_eq!(double.lines(), expected);
    let kept = std::fs::read_to_string(dir.path().join("refused.txt")).unwrap();
    assert!(kept.contains("422") && kept.contains("poison"), "{kept}");
}

#[test]
fn a_key_of_prefect_cloud_and_a_password_of_a_server_are_sent_as_each_expects_it() {
    let double = PrefectDouble::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for key in ["pnu_key", "admin:pass:word"] {
        let client = PrefectClient::connect(&double.api, Some(Secret::new(key)), Duration::from_secs(5)).unwrap();
        assert!(!format!("{client:?}").contains(key));
        runtime.block_on(client.get("/anything")).unwrap();
    }
    // The second: `printf admin:pass:word | base64`.
    assert_eq!(double.served.lock().keys, ["Bearer pnu_key", "Basic YWRtaW46cGFzczp3b3Jk"]);
}

#[test]
fn a_server_that_fails_on_one_item_each_time_does_not_hold_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let fault = Mishap::Answer(500, "Retry-After: 0\r\n", "{\"exception_message\": \"Internal Server Error\"}");
    let double = PrefectDouble::start().mishaps("/flow_runs/11111111", vec![fault; 8]);
    let mut builder = builder("mta");
    let reporter = PrefectReporter::attach(&mut builder, settings(&double.api, dir.path())).unwrap();
    let tracker = builder.start(1_000).unwrap();
    tracker.sender().emit(now_us(), ready());
    tracker.end(TrackEnd::Completed { message: None });
    let stats = reporter.join();
    assert_eq!((stats.set_aside, stats.waiting_bytes), (1, 0));
    assert_eq!(double.served.lock().states, ["COMPLETED"], "RUNNING was given up");
}

#[test]
fn an_address_that_is_not_the_apis_loses_nothing() {
    let (dir, double) = (tempfile::tempdir().unwrap(), PrefectDouble::start());
    let mut builder = builder("mta");
    let mut wanted = settings(&format!("{}/wrong", double.api), dir.path());
    wanted.drain = std::time::Duration::ZERO;
    let reporter = PrefectReporter::attach(&mut builder, wanted).unwrap();
    let tracker = builder.start(1_000).unwrap();
    tracker.sender().emit(now_us(), ready());
    let outage = crate::story::wait_for("the outage", || reporter.stats().outage);
    assert!(outage.contains("404 to /flows/: does the address"), "{outage}");
    tracker.end(TrackEnd::Completed { message: None });
    let stats = reporter.join();
    assert_eq!((stats.set_aside, stats.dropped, stats.delivered), (0, 0, 0));
    assert!(stats.waiting_bytes > 0);
}
