//! `check --connect`: what it asks although every step went well.

use serde_json::Value;

use crate::scene::{Scene, messages, text};

/// A message whose event time is `ahead` of now.
fn message(ahead: chrono::Duration) -> String {
    let at = (chrono::Utc::now() + ahead).format("%Y-%m-%d %H:%M:%S").to_string();
    messages(1)[0].rsplit_once(',').unwrap().0.to_owned() + "," + &at
}

#[test]
fn a_topic_whose_newest_messages_are_whole_hours_ahead_asks_about_the_zone() {
    for (ahead, asks) in [(chrono::Duration::minutes(270), true), (-chrono::Duration::minutes(1), false)] {
        let scene = Scene::embedded(2);
        scene.send([message(-chrono::Duration::minutes(9)), message(ahead)].iter().map(String::as_bytes));
        let pipeline = scene.pipeline("");
        let check = |flags: &[&str]| {
            let output = scene.turnstile(&[&["check", pipeline.to_str().unwrap(), "--connect"], flags].concat());
            assert!(output.status.success(), "{}", text(&output));
            String::from_utf8(output.stdout).unwrap()
        };
        let report: Value = serde_json::from_str(&check(&["--json"])).unwrap();
        let question = "is 4.5 h ahead of the clock: is the zone of TIMESTAMP, UTC, right?";
        assert_eq!(report["question"].as_str().is_some_and(|said| said.ends_with(question)), asks, "{report}");
        assert_eq!(check(&[]).contains("question the newest message, city["), asks);
    }
}
