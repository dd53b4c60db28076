//! Messages that could not be processed: where they go, what is reported of them, and how they are resent.

use serde_json::Value;
use turnstile_kafka::{NewTopicPlan, Producer, ProducerLimits, ProducerRecord, TopicAdmin};

use crate::scene::{PATIENCE, Scene, data_files, finish, messages, signal, text, until};

/// Sends messages with their own timestamps.
fn send_at(scene: &Scene, records: &[(&str, Option<&str>, i64)]) {
    let producer = Producer::open(&scene.client(), ProducerLimits::default()).unwrap();
    for (key, value, timestamp_ms) in records {
        let record = ProducerRecord::resent(Some(key.as_bytes()), value.map(str::as_bytes), *timestamp_ms);
        producer.send(&scene.topic, &record).unwrap();
    }
    assert_eq!(producer.close(PATIENCE).0.failed, 0);
}

fn topic(scene: &Scene, name: &str) {
    let config = vec![("retention.ms".to_owned(), "-1".to_owned())];
    let plan = NewTopicPlan { topic: name.to_owned(), partitions: 1, replication: 1, config };
    TopicAdmin::open(&scene.client()).unwrap().create(&plan).unwrap();
}

/// What `turnstile consume` reads of a topic.
fn consumed(scene: &Scene, topic: &str) -> Vec<Value> {
    let output =
        scene.turnstile(&["consume", "--topic", topic, "--bootstrap", &scene.servers, "--json", "--until-end"]);
    assert!(output.status.success(), "{}", text(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn header<'a>(message: &'a Value, name: &str) -> Option<&'a str> {
    let all = message["headers"].as_array()?;
    all.iter().find(|header| header["name"] == name)?["value"].as_str()
}

#[test]
fn a_dead_letter_s_topic_tells_where_it_stood_and_why() {
    let scene = Scene::embedded(1);
    topic(&scene, "dead");
    let good = &messages(1)[0];
    let broken = good.replace(",REGULAR,0,", ",REGULAR,abc,");
    send_at(&scene, &[("k1", Some(good), 1_000), ("k2", Some("A,B"), 2_000), ("k3", Some(&broken), 3_000)]);
    let pipeline = scene.pipeline("dead_letter_topic = \"dead\"");
    let output = scene.drain(&pipeline);
    // Two of three were rejected.
    assert_eq!(output.status.code(), Some(10), "{}", text(&output));

    let found = consumed(&scene, "dead");
    assert_eq!(found.len(), 2, "{found:?}");
    let expected = [
        ("k2", "A,B", "1970-01-01T00:00:02.000Z", "1", "fields: expected 13 fields, found 2", "SCP"),
        ("k3", broken.as_str(), "1970-01-01T00:00:03.000Z", "2", "type: expected long, found \"abc\"", "ENTRIES"),
    ];
    for (message, (key, value, timestamp, offset, reason, field)) in found.iter().zip(expected) {
        assert_eq!((message["key"].as_str(), message["value"].as_str()), (Some(key), Some(value)), "{message}");
        assert_eq!(message["timestamp"], timestamp, "{message}");
        assert_eq!(header(message, "turnstile.topic"), Some("city"), "{message}");
        assert_eq!(header(message, "turnstile.partition"), Some("0"), "{message}");
        assert_eq!(header(message, "turnstile.offset"), Some(offset), "{message}");
        assert_eq!(header(message, "turnstile.reason"), Some(reason), "{message}");
        assert_eq!(header(message, "turnstile.field"), Some(field), "{message}");
    }
}

#[test]
fn dead_letters_are_sent_again_with_their_key_and_timestamp() {
    let scene = Scene::embedded(1);
    topic(&scene, "repaired");
    send_at(&scene, &[("k", Some("broken"), 1_234_567)]);
    let pipeline = scene.pipeline("");
    assert_eq!(scene.drain(&pipeline).status.code(), Some(10));
    let requeue = ["deadletter", "requeue", pipeline.to_str().unwrap(), "--topic", "repaired"];
    let sent = scene.turnstile(&requeue);
    assert!(sent.status.success(), "{}", text(&sent));
    let found = consumed(&scene, "repaired");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0]["key"].as_str(), found[0]["value"].as_str()), (Some("k"), Some("broken")));
    assert_eq!(
        (&found[0]["timestamp"], &found[0]["headers"]),
        (&"1970-01-01T00:20:34.567Z".into(), &serde_json::json!([]))
    );
}

#[test]
fn requeue_counts_by_reason_and_warns_of_what_the_same_plan_rejects_again() {
    let scene = Scene::embedded(1);
    let broken = messages(1)[0].replace(",REGULAR,0,", ",REGULAR,abc,");
    scene.send([&b"A,B"[..], b"C", broken.as_bytes()]);
    let pipeline = scene.pipeline("");
    assert_eq!(scene.drain(&pipeline).status.code(), Some(10));
    let file = pipeline.to_str().unwrap();
    let requeue = |flags: &[&str]| {
        let output = scene.turnstile(&[&["deadletter", "requeue", file], flags].concat());
        (output.status.code(), text(&output))
    };
    let (code, said) = requeue(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("3 messages sent to city: fields 2, type 1"), "{said}");
    let warning =
        "warning: the plan of story is the one that rejected 3 messages, and will reject these again: fields 2";
    assert!(said.contains(warning), "{said}");
    // Another program reads that topic.
    topic(&scene, "repaired");
    let (_, said) = requeue(&["--topic", "repaired", "--reason", "type"]);
    assert!(said.contains("1 message sent to repaired: type 1") && !said.contains("warning"), "{said}");
    // The warning holds for a plan, not for a run.
    assert!(scene.turnstile(&["run", file, "--until-end"]).status.code().is_some());
    let (_, said) = requeue(&["--reason", "fields"]);
    assert!(said.contains("will reject these again: fields"), "{said}");
    let changed = std::fs::read_to_string(&pipeline).unwrap().replace("ENTRIES = \"long\"", "ENTRIES = \"string\"");
    std::fs::write(&pipeline, changed.replace("sum(ENTRIES)", "count(ENTRIES)")).unwrap();
    let (_, said) = requeue(&["--reason", "type"]);
    assert!(said.contains("sent to city: type") && !said.contains("warning"), "{said}");
}

#[test]
fn requeue_tells_what_a_running_pipeline_made_of_the_messages() {
    let scene = Scene::embedded(1);
    let broken = messages(1)[0].replace(",REGULAR,0,", ",REGULAR,abc,");
    scene.send([&b"A,B"[..], b"C", broken.as_bytes()]);
    let pipeline = scene.pipeline("commit = \"100 ms\"");
    assert_eq!(scene.drain(&pipeline).status.code(), Some(10));
    let file = pipeline.to_str().unwrap();
    let requeue = |flags: &[&str]| {
        let output = scene.turnstile(&[&["deadletter", "requeue", file], flags].concat());
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    let said = requeue(&["--reason", "fields"]);
    assert!(said.contains("story is not running"), "{said}");
    // The drained windows are closed, so the query may change; a text can be counted.
    let changed = std::fs::read_to_string(&pipeline).unwrap().replace("ENTRIES = \"long\"", "ENTRIES = \"string\"");
    std::fs::write(&pipeline, changed.replace("sum(ENTRIES)", "count(ENTRIES)")).unwrap();
    let listed = scene.turnstile(&["deadletter", "list", file, "--json"]);
    let first: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let first = first["name"].as_str().unwrap();
    let running = scene.spawn(&["run", file], &[]);
    until("the second run has read what was sent", || {
        let status = scene.turnstile(&["status", file, "--json"]);
        let status: Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        status["counters"]["read"] == 5
    });
    let said = requeue(&["--file", first]);
    assert!(said.contains("3 messages sent to city: fields 2, type 1"), "{said}");
    assert!(said.contains("story has accepted 1 message, and rejected 2 messages again: fields 2"), "{said}");
    let again = ["deadletter", "requeue", file, "--file", first, "--reason", "type", "--json"];
    let said: Value = serde_json::from_slice(&scene.turnstile(&again).stdout).unwrap();
    assert_eq!((&said["sent"], &said["accepted"], &said["came_back"]), (&1.into(), &1.into(), &serde_json::json!({})));
    let said = requeue(&["--file", first, "--no-wait"]);
    assert!(said.contains("has not read all of them yet") || said.contains("story has accepted"), "{said}");
    signal(&running, "INT");
    finish(running);
}

#[test]
fn requeue_refuses_a_topic_that_does_not_exist() {
    let scene = Scene::embedded(1);
    scene.send([&b"A,B"[..]]);
    let pipeline = scene.pipeline("");
    assert_eq!(scene.drain(&pipeline).status.code(), Some(10));
    let output = scene.turnstile(&["deadletter", "requeue", pipeline.to_str().unwrap(), "--topic", "nosuch", "--json"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(text(&output).contains("nosuch") && text(&output).contains("turnstile topic create"), "{}", text(&output));
}

#[test]
fn a_reason_that_no_dead_letter_has_is_answered_with_those_there_are() {
    let scene = Scene::embedded(1);
    scene.send([&b"A,B"[..], b"C"]);
    let pipeline = scene.pipeline("");
    let file = pipeline.to_str().unwrap();
    assert_eq!(scene.drain(&pipeline).status.code(), Some(10));
    for verb in ["list", "show", "requeue"] {
        let output = scene.turnstile(&["deadletter", verb, file, "--reason", "nosuch"]);
        assert!(output.status.success(), "{}", text(&output));
        let said = "story has no dead letters of the reason \"nosuch\"; there are: fields 2";
        assert!(text(&output).contains(said), "{verb}: {}", text(&output));
    }
}

#[test]
fn a_message_without_a_value_stays_one_when_it_is_sent_again() {
    let scene = Scene::embedded(1);
    send_at(&scene, &[("null", None, 1_000), ("empty", Some(""), 2_000)]);
    let found = consumed(&scene, &scene.topic);
    assert_eq!((&found[0]["value"], &found[1]["value"]), (&Value::Null, &"".into()));
}

#[test]
fn a_replay_leaves_out_what_was_ahead_of_the_clock_then() {
    let scene = Scene::embedded(1);
    let now = chrono::Utc::now();
    let at = |ahead: chrono::Duration| {
        let text = (now + ahead).format("%Y-%m-%d %H:%M:%S").to_string();
        messages(1)[0].rsplit_once(',').unwrap().0.to_owned() + "," + &text
    };
    let minute = chrono::Duration::minutes(1);
    // All three in one window, and the one ahead of the clock between the two others.
    scene.send([at(-minute), at(minute * 60), at(-minute)].iter().map(String::as_bytes));
    let sql = crate::scene::SQL.replace("'5 minutes'", "'36500 days'");
    let pipeline = scene.pipeline_with("", "", &sql);
    let text_of = std::fs::read_to_string(&pipeline).unwrap();
    std::fs::write(&pipeline, text_of.replace("future = \"off\"", "future = \"5 minutes\"")).unwrap();
    let output = scene.drain(&pipeline);
    assert!(output.status.success(), "{}", text(&output));
    let explained = scene.turnstile(&["deadletter", "list", pipeline.to_str().unwrap()]);
    assert!(text(&explained).contains("1 message: future 1"), "{}", text(&explained));

    let files = crate::scene::data_files(&scene.lake());
    let name = files[0].file_name().unwrap().to_str().unwrap();
    let replay = scene.turnstile(&["replay", name, pipeline.to_str().unwrap(), "--to", "again"]);
    assert!(replay.status.success(), "{}", text(&replay));
    assert!(text(&replay).contains("from 2 messages: the same, byte for byte"), "{}", text(&replay));
}

/// A wrong schema, or a wrong topic: nothing of it may look like a success.
#[test]
fn a_run_that_rejects_most_of_what_it_reads_says_so_and_exits_with_10() {
    let scene = Scene::embedded(1);
    let good = messages(2);
    scene.send(good.iter().map(String::as_bytes).chain([&b"no reading"[..]; 5]));
    let pipeline = scene.pipeline("");
    let run = |end: &str| scene.turnstile(&["run", pipeline.to_str().unwrap(), end]);
    let rejected = run("--drain");
    assert_eq!(rejected.status.code(), Some(10), "{}", text(&rejected));
    for said in [
        "warning: 5 of the 7 messages that this run read were rejected, 5 of them for: fields",
        "the first: city[0]@2: fields",
        "turnstile deadletter requeue",
        "1 file published",
    ] {
        assert!(text(&rejected).contains(said), "{said:?} is not in {}", text(&rejected));
    }
    let again = run("--until-end");
    assert!(again.status.success(), "{}", text(&again));
    assert!(text(&again).contains("5 messages were rejected by earlier runs"), "{}", text(&again));
}

/// Case B8: one misdirected producer would hold all windows open for ever.
#[test]
fn partitions_that_bring_only_rejected_messages_do_not_hold_windows_open() {
    let scene = Scene::embedded(3);
    let pipeline = scene.pipeline("idle = \"1 second\"\ncommit = \"100 ms\"");
    let run = scene.spawn(&["run", pipeline.to_str().unwrap()], &[]);
    let mut good = messages(400);
    good.retain(|message| message.starts_with("A000,"));
    scene.send(good.iter().map(String::as_bytes));
    let bad: Vec<String> = (0..12).map(|key| format!("bad-{key},")).collect();
    until("windows close beside bad messages", || {
        scene.send(bad.iter().map(String::as_bytes));
        data_files(&scene.lake()).len() > 2
    });
    signal(&run, "INT");
    let output = finish(run);
    assert!(text(&output).contains("dead letters"), "{}", text(&output));
}

#[test]
fn dead_letters_that_were_merged_are_listed_shown_queried_and_resent_as_before() {
    let scene = Scene::embedded(1);
    topic(&scene, "repaired");
    let pipeline = scene.pipeline("");
    let file = pipeline.to_str().unwrap();
    let good = messages(40);
    // Three commits with dead letters, and one that confirms the last of them.
    for round in 0..4 {
        let bad = format!("bad {round}");
        let bad = [bad.as_bytes(), bad.as_bytes()];
        scene.send(
            good[round * 10..][..10].iter().map(String::as_bytes).chain(bad.into_iter().take(2 * (3 - round).min(1))),
        );
        let run = scene.turnstile(&["run", file, "--until-end"]);
        assert!(run.status.success(), "{}", text(&run));
    }
    let stdout = |args: &[&str]| {
        let output = scene.turnstile(args);
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let sql = "SELECT offset, reason, file FROM _turnstile.dead_letters ORDER BY offset";
    let query = ["sql", "--pipeline", file, "--format", "csv", sql];
    let (listed, shown, queried) =
        (stdout(&["deadletter", "list", file]), stdout(&["deadletter", "show", file]), stdout(&query));
    assert_eq!((listed.lines().count(), queried.lines().count()), (3, 7), "{listed}{queried}");

    let done = stdout(&["lake", "compact", file]);
    assert!(done.contains("3 files of dead letters, 6 messages"), "{done}");
    let merged = stdout(&["deadletter", "list", file]);
    assert!(merged.lines().count() == 1 && merged.contains("6 messages: fields 6"), "{merged}");
    let object = merged.split("  ").next().unwrap();
    stdout(&["lake", "gc", file, "--set", "lake.grace=0 seconds"]);
    assert_eq!(std::fs::read_dir(scene.lake().join("_dead_letters")).unwrap().count(), 1);
    assert_eq!(stdout(&["deadletter", "show", file]), shown);
    assert_eq!(stdout(&query), queried);
    assert!(stdout(&["explain", object, file]).contains(&format!("now in   {object}, rows 0 to 1")));
    let audit = scene.audit(&pipeline);
    assert!(audit.contains(", 3 dead-letter files (3 retired, 1 compacted objects), "), "{audit}");
    let sent = stdout(&["deadletter", "requeue", file, "--topic", "repaired", "--file", object]);
    assert!(sent.contains("6 messages sent to repaired"), "{sent}");
    assert_eq!(consumed(&scene, "repaired").len(), 6);
}
