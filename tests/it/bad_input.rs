//! Bad input of every kind: a clear error with coordinates and the right exit code, and nothing lost.

use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use turnstile_kafka::{Producer, ProducerLimits, ProducerRecord};

use crate::scene::{PATIENCE, Scene, data_files, expected, messages, text};

fn fails(scene: &Scene, args: &[&str], code: i32, expected: &[&str]) {
    let output = scene.turnstile(args);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    assert!(stderr.lines().any(|line| line.starts_with("error: ")), "{stderr}");
    for part in expected {
        assert!(stderr.contains(part), "{part:?} is not in: {stderr}");
    }
}

fn replace(path: &Path, from: &str, to: &str) {
    let before = std::fs::read_to_string(path).unwrap();
    assert!(before.contains(from), "{from:?} is not in {}", path.display());
    std::fs::write(path, before.replacen(from, to, 1)).unwrap();
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_one() {
    let scene = Scene::embedded(1);
    let pipeline = scene.pipeline("");
    replace(&pipeline, "watermark = ", "watermrk = ");
    let path = pipeline.to_str().unwrap();
    fails(&scene, &["check", path], 3, &["story.toml:23:1", "watermrk", "watermark"]);
}

#[test]
fn a_field_that_the_schema_does_not_have_is_named_with_its_place() {
    let scene = Scene::embedded(1);
    let pipeline = scene.pipeline("");
    replace(&pipeline, "sum(EXITS)", "sum(EXIST)");
    fails(&scene, &["run", pipeline.to_str().unwrap()], 3, &["story.toml:27:", "EXIST", "EXITS"]);
}

#[test]
fn a_broker_that_does_not_answer_ends_the_run_after_the_time_given() {
    let scene = Scene::embedded(1);
    let pipeline = scene.pipeline("");
    let set = "source.kafka={ \"bootstrap.servers\" = \"127.0.0.1:1\" }";
    let args = ["run", pipeline.to_str().unwrap(), "--set", set, "--connect-timeout", "1"];
    fails(&scene, &args, 4, &["no Kafka broker at 127.0.0.1:1 answered within 1", "hint:"]);
}

#[test]
fn a_topic_that_does_not_exist_is_named() {
    let scene = Scene::embedded(1);
    let pipeline = scene.pipeline("");
    let args = ["run", pipeline.to_str().unwrap(), "--set", "source.topic=nowhere"];
    fails(&scene, &args, 5, &["topic \"nowhere\" does not exist", "turnstile topic create"]);
}

#[test]
fn messages_that_no_schema_takes_go_to_the_dead_letters_and_the_stream_goes_on() {
    let scene = Scene::embedded(1);
    let messages = messages(300);
    let good = &messages[0];
    let field = |nth: usize, text: &str| {
        let mut fields: Vec<&str> = good.split(',').collect();
        fields[nth] = text;
        fields.join(",").into_bytes()
    };
    let bad: [(&str, Vec<u8>); 6] = [
        ("fields", good.as_bytes()[..40].to_vec()),
        ("not-utf8", [good.as_bytes(), b"\xff\xfe"].concat()),
        ("fields", vec![b'x'; 2 << 20]),
        ("fields", vec!["f"; 40].join(",").into_bytes()),
        ("type", field(9, "abc")),
        ("future", field(12, "9999-12-31 23:59:59")),
    ];
    let settings = scene.client().with("message.max.bytes", "4000000", "test").unwrap();
    let producer = Producer::open(&settings, ProducerLimits::default()).unwrap();
    for value in bad.iter().map(|(_, value)| value.clone()).chain(messages.iter().map(|m| m.clone().into_bytes())) {
        let record = ProducerRecord { value, ..ProducerRecord::default() };
        producer.send(&scene.topic, &record).unwrap();
    }
    assert_eq!(producer.close(PATIENCE).0.failed, 0);
    let pipeline = scene.pipeline("");
    replace(&pipeline, "future = \"off\"", "future = \"5 minutes\"");
    // The stories' messages are stamped 2026: well before the year 9999, on whatever day this runs.
    let output = scene.drain(&pipeline);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(scene.rows(), expected(&messages), "the good messages all count");

    let shown = scene.turnstile(&["deadletter", "show", pipeline.to_str().unwrap(), "--json"]);
    let letters: Vec<serde_json::Value> =
        String::from_utf8(shown.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(letters.len(), bad.len());
    for (offset, (letter, (reason, value))) in letters.iter().zip(&bad).enumerate() {
        assert!(letter["reason"].as_str().unwrap().starts_with(reason), "{reason}: {letter}");
        assert_eq!((letter["topic"].as_str(), letter["offset"].as_u64()), (Some("city"), Some(offset as u64)));
        let found = match (letter["value"].as_str(), letter["value_base64"].as_str()) {
            (Some(text), None) => text.as_bytes().to_vec(),
            (None, Some(coded)) => BASE64_STANDARD.decode(coded).unwrap(),
            other => panic!("{other:?}"),
        };
        assert!(found == *value, "the original bytes of {letter}");
    }
    assert_eq!(letters[4]["field"], "ENTRIES");
    assert!(letters[4]["reason"].as_str().unwrap().contains("expected long, found \"abc\""));
    assert!(scene.audit(&pipeline).contains("all is well"));
}

#[test]
fn dead_letters_are_sent_again_as_they_were() {
    let scene = Scene::embedded(1);
    scene.send([&b"broken"[..]]);
    let pipeline = scene.pipeline("");
    // All of it was rejected.
    assert_eq!(scene.drain(&pipeline).status.code(), Some(10));
    let sent = scene.turnstile(&["deadletter", "requeue", pipeline.to_str().unwrap()]);
    assert!(sent.status.success() && text(&sent).contains("1 message sent to city"), "{}", text(&sent));
    assert_eq!(scene.drain(&pipeline).status.code(), Some(10));
    let list = scene.turnstile(&["deadletter", "list", pipeline.to_str().unwrap()]);
    assert_eq!(String::from_utf8_lossy(&list.stdout).lines().count(), 2, "{}", text(&list));
}

#[test]
fn a_lake_that_cannot_be_written_is_refused_before_anything_is_read() {
    let scene = Scene::embedded(1);
    let pipeline = scene.pipeline("");
    std::fs::write(scene.lake(), "a file where the folder should be").unwrap();
    fails(&scene, &["run", pipeline.to_str().unwrap()], 6, &["the lake cannot be opened", "lake"]);
}

#[test]
fn a_ledger_of_another_pipeline_or_a_newer_version_is_refused() {
    let scene = Scene::embedded(1);
    scene.send(messages(100).iter().map(String::as_bytes));
    let pipeline = scene.pipeline("");
    assert!(scene.drain(&pipeline).status.success());
    let ledger = scene.lake().join("_turnstile");
    std::fs::rename(ledger.join("story"), ledger.join("other")).unwrap();
    let path = pipeline.to_str().unwrap();
    fails(&scene, &["run", path, "--set", "name=other"], 8, &["belongs to the pipeline \"story\", not to \"other\""]);

    std::fs::rename(ledger.join("other"), ledger.join("story")).unwrap();
    let mut slots: Vec<_> =
        std::fs::read_dir(ledger.join("story/log")).unwrap().map(|slot| slot.unwrap().path()).collect();
    slots.sort();
    let newest = slots.last().unwrap();
    let mut words: Vec<String> = std::fs::read_to_string(newest).unwrap().splitn(3, ' ').map(str::to_owned).collect();
    words[1] = "99".to_owned();
    std::fs::write(newest, words.join(" ")).unwrap();
    fails(&scene, &["run", path], 8, &["has format 99; this program reads up to"]);
}

#[test]
fn a_changed_query_with_windows_open_is_refused_with_the_choices() {
    let scene = Scene::embedded(1);
    scene.send(messages(100).iter().map(String::as_bytes));
    let pipeline = scene.pipeline("");
    let path = pipeline.to_str().unwrap().to_owned();
    assert!(scene.turnstile(&["run", &path, "--until-end"]).status.success());
    replace(&pipeline, "sum(EXITS)", "max(EXITS)");
    fails(&scene, &["run", &path], 8, &["the plan of \"story\" has changed", "--drain", "new name"]);
}

#[test]
fn a_drained_pipeline_accepts_another_plan_or_the_error_names_the_only_way_to_it() {
    let registers = crate::scene::SQL.replace("sum(ENTRIES)", "increase(ENTRIES)");
    let (plain, changed) = (crate::scene::SQL, ("sum(EXITS)", "max(EXITS)"));
    for (stream, sql, kept) in [
        ("dedup = [\"ID\", \"TIMESTAMP\"]", plain, None),
        ("", registers.as_str(), Some("the last reading of each register")),
        ("late = \"correct\"\ncorrect_for = \"1 hour\"", plain, Some("windows that late rows may still correct")),
        ("dedup = [\"ID\"]", plain, Some("the messages seen")),
    ] {
        let scene = Scene::embedded(1);
        scene.send(messages(100).iter().map(String::as_bytes));
        let pipeline = scene.pipeline_with(stream, "", sql);
        let path = pipeline.to_str().unwrap().to_owned();
        assert!(scene.drain(&pipeline).status.success());
        replace(&pipeline, changed.0, changed.1);
        let Some(kept) = kept else {
            let output = scene.drain(&pipeline);
            assert!(output.status.success(), "{}", text(&output));
            continue;
        };
        let refused = scene.turnstile(&["run", &path, "--drain"]);
        let said = text(&refused);
        assert_eq!(refused.status.code(), Some(8), "{said}");
        assert!(said.contains("new name") && said.contains(kept) && !said.contains("--drain"), "{said}");
        let renamed = scene.turnstile(&["run", &path, "--drain", "--set", "name=renamed"]);
        assert!(renamed.status.success(), "{}", text(&renamed));
    }
}

#[test]
fn a_file_changed_or_deleted_by_hand_is_named_by_the_audit() {
    let scene = Scene::embedded(1);
    scene.send(messages(300).iter().map(String::as_bytes));
    let pipeline = scene.pipeline("");
    assert!(scene.drain(&pipeline).status.success());
    let files = data_files(&scene.lake());
    let name = |at: usize| files[at].file_name().unwrap().to_string_lossy().into_owned();
    std::fs::write(&files[1], "changed").unwrap();
    std::fs::remove_file(&files[2]).unwrap();
    let audit = scene.turnstile(&["audit", pipeline.to_str().unwrap()]);
    assert_eq!(audit.status.code(), Some(9), "{}", text(&audit));
    let report = text(&audit);
    assert!(report.contains(&name(1)) && report.contains(&name(2)) && !report.contains(&name(3)), "{report}");
}
