//! When alerts fire and resolve, and what a webhook gets.

use std::time::Duration;

use turnstile_values::Secret;

use super::*;
use crate::event::{CommitReport, StatusReport, TrackEvent};
use crate::test_events::{EIGHT_US, SECOND_US, commit, load, partition, ready};
use crate::test_server::TestServer;

fn evaluator(condition: AlertCondition, hold_secs: u64) -> AlertEvaluator {
    let rule = AlertRule { name: "rule".into(), condition, hold: Duration::from_secs(hold_secs) };
    AlertEvaluator::new("mta-turnstile", vec![rule])
}

fn lag(records: u64) -> TrackEvent {
    TrackEvent::Status(StatusReport { lag: vec![(partition(0), records)], ..StatusReport::default() })
}

fn at(secs: i64) -> i64 {
    EIGHT_US + secs * SECOND_US
}

/// `+` for each that fired, `-` for each that resolved.
fn signs(changes: &[AlertChange]) -> String {
    changes.iter().map(|change| if matches!(change, AlertChange::Fired(_)) { '+' } else { '-' }).collect()
}

#[test]
fn an_alert_fires_once_after_the_hold_and_resolves_once_after_it() {
    let mut alerts = evaluator(AlertCondition::LagRecords { over: 100 }, 10);
    let mut seen = String::new();
    for second in 0..60 {
        let records = if (5..30).contains(&second) { 101 } else { 100 };
        let changes = alerts.observe(at(second), &lag(records));
        for change in &changes {
            let alert = change.alert();
            assert_eq!((alert.since_us, alert.value, alert.threshold), (at(5), Some(101.0), Some(100.0)));
            seen += &format!("{}{second} ", signs(std::slice::from_ref(change)));
        }
        assert_eq!(alerts.firing().len(), usize::from((15..40).contains(&second)));
    }
    assert_eq!(seen, "+15 -40 ");
}

#[test]
fn a_lag_that_flaps_neither_fires_nor_resolves() {
    let mut alerts = evaluator(AlertCondition::LagRecords { over: 100 }, 10);
    let flapping = |alerts: &mut AlertEvaluator, from: i64| -> String {
        (from..from + 100)
            .map(|second| signs(&alerts.observe(at(second), &lag(if second % 5 == 0 { 0 } else { 500 }))))
            .collect()
    };
    assert_eq!(flapping(&mut alerts, 0), "");
    let fired: String = (100..120).map(|second| signs(&alerts.observe(at(second), &lag(500)))).collect();
    assert_eq!(fired, "+");
    assert_eq!(flapping(&mut alerts, 120), "", "it goes on firing");
}

#[test]
fn the_oldest_partition_decides_over_the_age_of_the_lag() {
    let mut alerts = evaluator(AlertCondition::LagSeconds { over: Duration::from_secs(60) }, 0);
    let status = |ages: [f64; 2]| {
        let lag_seconds = vec![(partition(0), ages[0]), (partition(1), ages[1])];
        TrackEvent::Status(StatusReport { lag_seconds, ..StatusReport::default() })
    };
    assert_eq!(signs(&alerts.observe(at(0), &status([60.0, 1.0]))), "");
    assert_eq!(signs(&alerts.observe(at(1), &status([1.0, 60.5]))), "+");
    assert_eq!(signs(&alerts.observe(at(2), &status([0.0, 0.0]))), "-");
}

#[test]
fn a_watermark_is_stalled_only_while_there_are_messages() {
    let stalled = AlertCondition::WatermarkStalled { longer_than: Duration::from_secs(30) };
    let status = |watermark_secs: i64, run_read, records| {
        let watermark_us = Some(at(watermark_secs));
        TrackEvent::Status(StatusReport {
            watermark_us,
            run_read,
            lag: vec![(partition(0), records)],
            ..StatusReport::default()
        })
    };
    let mut quiet = evaluator(stalled.clone(), 0);
    quiet.observe(at(0), &ready());
    let changes: String = (0..200).map(|second| signs(&quiet.observe(at(second), &status(0, 5, 0)))).collect();
    assert_eq!(changes, "", "no message comes");
    let changes: String = (200..400).map(|second| signs(&quiet.observe(at(second), &status(0, 6, 0)))).collect();
    assert_eq!(changes, "", "one comes long after the last move, and the watermark has had no time to follow");

    let mut soon_quiet = evaluator(stalled.clone(), 0);
    let read = |second: i64| second.min(5) as u64;
    let changes: String =
        (0..200).map(|second| signs(&soon_quiet.observe(at(second), &status(0, read(second), 0)))).collect();
    assert_eq!(changes, "", "then none comes");

    let mut waiting = evaluator(stalled.clone(), 0);
    let changes: String = (0..200).map(|second| signs(&waiting.observe(at(second), &status(0, 5, 9)))).collect();
    assert_eq!(changes, "+", "messages wait");
    assert_eq!(signs(&waiting.observe(at(200), &status(1, 6, 9))), "-", "it moved");

    let mut held_back = evaluator(stalled, 0);
    let changes: String =
        (0..200).map(|second| signs(&held_back.observe(at(second), &status(0, second as u64, 0)))).collect();
    assert_eq!(changes, "+", "messages are read, and one partition holds the watermark back");
    let changes: String = (200..400).map(|second| signs(&held_back.observe(at(second), &status(0, 199, 0)))).collect();
    assert_eq!(changes, "-", "the topic has become quiet");
    assert_eq!(signs(&held_back.observe(at(400), &status(0, 200, 0))), "", "a pause begins the wait again");
}

#[test]
fn a_flow_that_reports_nothing_more_is_noticed_by_the_clock_alone() {
    let mut alerts = evaluator(AlertCondition::WatermarkStalled { longer_than: Duration::from_secs(30) }, 0);
    alerts.observe(at(0), &ready());
    alerts.observe(at(1), &lag(7));
    assert_eq!(signs(&alerts.tick(at(20))), "");
    assert_eq!(signs(&alerts.tick(at(40))), "+");
}

#[test]
fn dead_letters_count_for_a_minute_and_late_messages_do_not() {
    // Each commit has three that are no CSV, and two late ones.
    let mut alerts = evaluator(AlertCondition::DeadLettersPerMinute { over: 5 }, 0);
    assert_eq!(signs(&alerts.observe(at(0), &TrackEvent::Committed(commit(1)))), "");
    assert_eq!(signs(&alerts.observe(at(59), &TrackEvent::Committed(commit(2)))), "+");
    assert_eq!(signs(&alerts.tick(at(61))), "-");
    assert_eq!(signs(&alerts.observe(at(130), &TrackEvent::Committed(commit(3)))), "");
}

#[test]
fn a_lost_message_is_critical_until_the_counts_agree() {
    let mut alerts = evaluator(AlertCondition::ConservationBroken, 0);
    let mut wrong: CommitReport = commit(1);
    wrong.counters.read += 1;
    let changes = alerts.observe(at(0), &TrackEvent::Committed(wrong));
    assert_eq!((signs(&changes).as_str(), changes[0].alert().severity), ("+", AlertSeverity::Critical));
    assert_eq!(signs(&alerts.observe(at(1), &TrackEvent::Committed(commit(2)))), "-");
}

#[test]
fn each_target_whose_load_fails_has_its_own_alert() {
    let mut alerts = evaluator(AlertCondition::LoadFailed, 0);
    let failed = |target: &str| TrackEvent::LoadFailed { target: target.into(), error: "no route".into() };
    assert_eq!(signs(&alerts.observe(at(0), &failed("postgres"))), "+");
    assert_eq!(signs(&alerts.observe(at(1), &failed("postgres"))), "", "it is the same");
    let second = alerts.observe(at(2), &failed("bigquery"));
    assert_eq!(second[0].alert().subject.as_deref(), Some("bigquery"));
    let resolved = alerts.observe(at(3), &TrackEvent::Loaded(load("postgres", 1)));
    assert_eq!((signs(&resolved).as_str(), resolved[0].alert().subject.as_deref()), ("-", Some("postgres")));
    assert_eq!(alerts.firing().len(), 1);
}

#[test]
fn a_failed_run_is_resolved_by_the_next_that_reads_even_in_another_process() {
    let mut first = evaluator(AlertCondition::RunFailed, 0);
    assert_eq!(signs(&first.run_ended(at(0), None)), "");
    assert_eq!(signs(&first.run_ended(at(1), Some("lake full"))), "+");

    let mut next = evaluator(AlertCondition::RunFailed, 0);
    assert_eq!(signs(&next.previous_run_failed(at(9), at(1), "lake full", true)), "", "the first one reported it");
    let changes = next.observe(at(10), &ready());
    assert_eq!((signs(&changes).as_str(), changes[0].alert().since_us), ("-", at(1)));

    let mut after_kill = evaluator(AlertCondition::RunFailed, 0);
    assert_eq!(signs(&after_kill.previous_run_failed(at(9), at(1), "killed", false)), "+");
    assert_eq!(signs(&after_kill.observe(at(10), &ready())), "-");
}

fn fired() -> AlertChange {
    let mut alerts = evaluator(AlertCondition::LoadFailed, 0);
    let failed = TrackEvent::LoadFailed { target: "postgres".into(), error: "no route".into() };
    alerts.observe(EIGHT_US, &failed).remove(0)
}

#[tokio::test]
async fn the_webhook_gets_the_documented_body() {
    let server = TestServer::start(|_| 200).await;
    let url = Secret::new(server.url("/hook?key=hush-hush"));
    let runtime = tokio::runtime::Handle::current();
    let delivery = AlertDelivery::new().with_webhook(url, Vec::new(), &runtime).unwrap();
    assert!(!format!("{delivery:?}").contains("hush"), "{delivery:?}");
    delivery.deliver(&fired());
    assert_eq!(delivery.close(Duration::from_secs(10)).await.unwrap().delivered, 1);
    let body: serde_json::Value = serde_json::from_slice(&server.requests()[0].body).unwrap();
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/alerts.md")).unwrap();
    let documented = document.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(body, serde_json::from_str::<serde_json::Value>(documented).unwrap());
}

#[tokio::test]
async fn a_listener_that_is_full_or_gone_holds_up_no_delivery() {
    let delivery = AlertDelivery::new();
    let mut slow = delivery.subscribe(1);
    drop(delivery.subscribe(1));
    for _ in 0..3 {
        delivery.deliver(&fired());
    }
    assert!(slow.try_recv().is_ok());
    assert!(slow.try_recv().is_err(), "only one fits");
    delivery.deliver(&fired());
    assert!(slow.try_recv().is_ok());
}
