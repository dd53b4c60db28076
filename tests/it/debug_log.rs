//! `TURNSTILE_LOG=debug`: what happens inside a run.

use crate::scene::{Scene, finish, messages, text};

#[test]
fn a_debug_log_tells_of_connections_assignments_cuts_and_commits_and_no_secrets() {
    let scene = Scene::embedded(2);
    scene.send(messages(200).iter().map(String::as_bytes));
    let pipeline = scene.pipeline("");
    let run = ["run", pipeline.to_str().unwrap(), "--drain"];
    let debug =
        [("TURNSTILE_LOG", "debug"), ("TURNSTILE_LOG_FORMAT", "human"), ("TURNSTILE_KAFKA_SASL_PASSWORD", "hush-1")];
    let logged = finish(scene.spawn(&run, &debug));
    let stderr = String::from_utf8(logged.stderr).unwrap();
    assert!(logged.status.success(), "{stderr}");
    for said in [
        "connected to the brokers",
        "opening the lake",
        "claimed the ledger",
        "assigned partition=city[0]",
        "assigned partition=city[1]",
        "cut read=",
        "committed seq=",
    ] {
        assert!(stderr.contains(said), "{said:?} is not in {stderr}");
    }
    assert!(!stderr.contains("hush-1"), "{stderr}");
    let stdout = String::from_utf8(logged.stdout).unwrap();
    assert!(!stdout.contains("DEBUG") && stdout.contains("published "), "{stdout}");

    // Without a terminal, a line is an object.
    let logged = finish(scene.spawn(&run, &[("TURNSTILE_LOG", "debug")]));
    let stderr = String::from_utf8(logged.stderr).unwrap();
    let line = stderr.lines().find(|line| line.contains("claimed the ledger")).unwrap_or_else(|| panic!("{stderr}"));
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["level"], &line["message"]), (&"DEBUG".into(), &"claimed the ledger".into()), "{line}");

    let audit = ["audit", pipeline.to_str().unwrap()];
    let logged = finish(scene.spawn(&audit, &debug[..2]));
    assert!(text(&logged).contains("opening the lake to read"), "{}", text(&logged));
    let wrong = finish(scene.spawn(&audit, &[("TURNSTILE_LOG", "turnstile=loud")]));
    assert!(text(&wrong).contains("warning: TURNSTILE_LOG"), "{}", text(&wrong));
}
