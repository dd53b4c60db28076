//! A window with groups that cannot be computed: the run names it and ends, or leaves them out and says so wherever one asks.

use serde_json::Value;

use crate::scene::{Scene, expected, messages, text};

/// Two readings of one station whose sum does not fit 64 bits, among good ones of three windows.
fn overflowing() -> (Vec<String>, Vec<String>) {
    let good = messages(100);
    let huge: Vec<String> = (0..2)
        .map(|n| {
            let mut fields: Vec<String> = good[n].split(',').map(str::to_owned).collect();
            (fields[3], fields[9], fields[11]) = ("HUGE".to_owned(), i64::MAX.to_string(), format!("huge-{n}"));
            fields.join(",")
        })
        .collect();
    (good, huge)
}

#[test]
fn a_window_that_cannot_be_computed_is_published_without_the_groups_that_fail_if_the_pipeline_says_so() {
    let scene = Scene::embedded(1);
    let (good, huge) = overflowing();
    scene.send(huge.iter().chain(&good).map(String::as_bytes));
    let pipeline = scene.pipeline("");
    let path = pipeline.to_str().unwrap();
    for _ in 0..2 {
        let output = scene.drain(&pipeline);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        let printed = text(&output);
        assert!(printed.contains("the window that begins at 2026-08-01T00:00:00Z cannot be computed"), "{printed}");
        assert!(printed.contains("--set 'stream.failed_groups=\"leave-out\"'"), "{printed}");
    }
    assert!(scene.rows().is_empty(), "nothing of it is published");

    let args = ["run", path, "--drain", "--set", "stream.failed_groups=\"leave-out\""];
    let output = scene.turnstile(&args);
    assert!(output.status.success(), "{}", text(&output));
    let left_out = "left out: window 2026-08-01T00:00Z .. 2026-08-01T00:05Z, version 1: 1 group that cannot be computed; \
                    the first: STATION = HUGE: the sum 18446744073709551614 does not fit 64 bits";
    assert!(text(&output).contains(left_out), "{}", text(&output));
    assert_eq!(scene.rows(), expected(&good), "every other group is published");

    let audit = scene.turnstile(&["audit", path]);
    assert!(audit.status.success() && text(&audit).contains(left_out), "{}", text(&audit));
    let audit = scene.turnstile(&["audit", path, "--json"]);
    let audit: Value = serde_json::from_slice(&audit.stdout).unwrap();
    assert_eq!(audit["failed"][0]["groups"], 1, "{audit}");
    let explained = scene.turnstile(&["explain", "2026-08-01T00:00Z", path]);
    for part in ["group    STATION = HUGE: the sum 18446744073709551614", "within   city[0]@0..=44, 45 messages"] {
        assert!(text(&explained).contains(part), "{part}: {}", text(&explained));
    }
    // A query that can compute them finds them in the messages.
    let file = std::fs::read_to_string(&pipeline).unwrap();
    let corrected = scene.dir.path().join("corrected.toml");
    std::fs::write(&corrected, file.replace("sum(ENTRIES)", "sum(CAST(ENTRIES AS decimal(20, 0)))")).unwrap();
    let args = ["replay", "2026-08-01T00:00Z", corrected.to_str().unwrap(), "--to", "again"];
    let replayed = scene.turnstile(&args);
    assert!(
        text(&replayed).contains("5 rows from 45 messages: differs from what was published"),
        "{}",
        text(&replayed)
    );

    let explained = scene.turnstile(&["explain", "2026-08-01T00:05Z", path]);
    assert!(!text(&explained).contains("group"), "{}", text(&explained));
}

#[test]
fn a_window_whose_only_group_fails_has_no_file_and_is_explained() {
    let scene = Scene::embedded(1);
    let (_, huge) = overflowing();
    scene.send(huge.iter().map(String::as_bytes));
    let pipeline = scene.pipeline("failed_groups = \"leave-out\"");
    let output = scene.drain(&pipeline);
    assert!(output.status.success() && scene.rows().is_empty(), "{}", text(&output));
    let explained = scene.turnstile(&["explain", "2026-08-01T00:00Z", pipeline.to_str().unwrap()]);
    assert!(explained.status.success() && text(&explained).contains("STATION = HUGE"), "{}", text(&explained));
    let replayed = scene.turnstile(&["replay", "2026-08-01T00:00Z", pipeline.to_str().unwrap(), "--to", "again"]);
    assert!(replayed.status.success() && text(&replayed).contains("0 rows from 2 messages"), "{}", text(&replayed));
    assert!(scene.audit(&pipeline).contains("2 read = 2 aggregated"));
}
