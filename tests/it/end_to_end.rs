//! From messages in a topic to files in the lake, and from a file back to its messages.

use std::time::{Duration, Instant};

use turnstile_kafka::{Producer, ProducerLimits, ProducerRecord};

use crate::scene::{PATIENCE, Scene, data_files, expected, finish, messages, signal, text};

fn the_main_job(scene: &Scene) {
    let messages = messages(3_000);
    scene.send(messages.iter().map(String::as_bytes));
    let pipeline = scene.pipeline("dedup = [\"ID\"]");
    let output = scene.drain(&pipeline);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(scene.rows(), expected(&messages));
    assert_eq!(data_files(&scene.lake()).len(), 70);
    let audit = scene.audit(&pipeline);
    assert!(audit.contains("all is well"), "{audit}");

    let replay = scene.turnstile(&["replay", "2026-08-01T01:00Z", pipeline.to_str().unwrap(), "--to", "again"]);
    assert!(replay.status.success(), "{}", text(&replay));
    assert!(text(&replay).contains("the same, byte for byte"), "{}", text(&replay));

    let again = scene.drain(&pipeline);
    assert!(again.status.success(), "{}", text(&again));
    assert_eq!(scene.rows(), expected(&messages), "a second run of the same topic adds nothing");
}

#[test]
fn the_main_job_on_the_embedded_broker() {
    the_main_job(&Scene::embedded(3));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn the_main_job_on_apache_kafka() {
    the_main_job(&Scene::apache("main-job", 3));
}

#[test]
fn explain_gives_the_offsets_of_a_file_and_they_make_its_rows_again() {
    let scene = Scene::embedded(2);
    let messages = messages(600);
    scene.send(messages.iter().map(String::as_bytes));
    let pipeline = scene.pipeline("");
    assert!(scene.drain(&pipeline).status.success());
    for file in data_files(&scene.lake()) {
        let name = file.strip_prefix(scene.lake()).unwrap().to_str().unwrap().to_owned();
        let explain = scene.turnstile(&["explain", &name, pipeline.to_str().unwrap()]);
        assert!(explain.status.success() && text(&explain).contains("city["), "{}", text(&explain));
        // The drain has ended, so no commit will follow that of the last files.
        assert!(text(&explain).contains("; published\n"), "{}", text(&explain));
        let replay = scene.turnstile(&["replay", &name, pipeline.to_str().unwrap(), "--to", "again"]);
        assert!(replay.status.success(), "{}", text(&replay));
        let again = std::fs::read(scene.dir.path().join("again").join(&name)).unwrap();
        assert_eq!(again, std::fs::read(&file).unwrap(), "{name}");
    }
}

#[test]
fn until_end_leaves_windows_open_and_the_next_run_goes_on() {
    let scene = Scene::embedded(1);
    let messages = messages(400);
    scene.send(messages[..250].iter().map(String::as_bytes));
    let pipeline = scene.pipeline("");
    let first = scene.turnstile(&["run", pipeline.to_str().unwrap(), "--until-end"]);
    assert!(first.status.success(), "{}", text(&first));
    assert!(text(&first).contains("2 windows open"), "{}", text(&first));
    scene.send(messages[250..].iter().map(String::as_bytes));
    let second = scene.drain(&pipeline);
    assert!(text(&second).contains("resuming from commit"), "{}", text(&second));
    assert_eq!(scene.rows(), expected(&messages));
}

#[test]
fn a_late_message_corrects_its_window_when_the_pipeline_says_so() {
    let scene = Scene::embedded(1);
    let messages = messages(300);
    let pipeline = scene.pipeline("late = \"correct\"\ncorrect_for = \"1 hour\"");
    scene.send(messages[1..].iter().map(String::as_bytes));
    assert!(scene.turnstile(&["run", pipeline.to_str().unwrap(), "--until-end"]).status.success());
    scene.send([messages[0].as_bytes()]);
    assert!(scene.drain(&pipeline).status.success());
    assert_eq!(scene.rows(), expected(&messages));
    let versions: Vec<_> =
        data_files(&scene.lake()).into_iter().filter(|f| f.to_string_lossy().contains("_v2")).collect();
    assert_eq!(versions.len(), 1);
    assert!(scene.audit(&pipeline).contains("all is well"));
}

#[test]
fn a_lake_of_parquet_files_is_audited_as_well() {
    let scene = Scene::embedded(1);
    scene.send(messages(200).iter().map(String::as_bytes));
    let pipeline = scene.pipeline_with("", "format = \"parquet\"", crate::scene::SQL);
    assert!(scene.drain(&pipeline).status.success());
    let files = data_files(&scene.lake());
    assert!(files.iter().all(|f| f.extension().is_some_and(|e| e == "parquet")) && files.len() == 5, "{files:?}");
    assert!(scene.audit(&pipeline).contains("all is well"));
}

#[test]
fn a_window_that_having_leaves_empty_has_no_file() {
    let scene = Scene::embedded(1);
    let messages = messages(200);
    scene.send(messages.iter().map(String::as_bytes));
    let sql = crate::scene::SQL.to_owned() + " HAVING sum(ENTRIES) > 80";
    let pipeline = scene.pipeline_with("", "", &sql);
    assert!(scene.drain(&pipeline).status.success());
    let mut kept = expected(&messages);
    kept.retain(|_, row| row.0 > 80);
    assert_eq!(scene.rows(), kept);
    let windows: std::collections::BTreeSet<&str> = kept.keys().map(|(start, _)| start.as_str()).collect();
    assert!(!windows.is_empty() && windows.len() < 5, "some windows are empty and some are not: {windows:?}");
    assert_eq!(data_files(&scene.lake()).len(), windows.len());
    assert!(scene.audit(&pipeline).contains("all is well"));
}

#[test]
fn files_begin_with_a_column_of_row_numbers_when_the_pipeline_says_so() {
    let scene = Scene::embedded(1);
    scene.send(messages(100).iter().map(String::as_bytes));
    let pipeline = scene.pipeline_with("", "index_column = true", crate::scene::SQL);
    assert!(scene.drain(&pipeline).status.success());
    let files = data_files(&scene.lake());
    assert_eq!(files.len(), 3);
    for file in files {
        let csv = crate::scene::unpack(&file);
        let first: Vec<&str> = csv.lines().map(|line| line.split_once(',').unwrap().0).collect();
        assert_eq!(first, ["", "0", "1", "2", "3"], "{csv}");
        assert!(csv.starts_with(",STATION,START,"), "{csv}");
    }
    assert!(scene.audit(&pipeline).contains("all is well"));
}

#[test]
fn the_pipeline_of_stations_gives_a_plain_sum() {
    let scene = Scene::embedded(3);
    let messages = messages(500);
    scene.send(messages.iter().map(String::as_bytes));
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/mta-stations.toml");
    let set = [
        format!("source.kafka={{ \"bootstrap.servers\" = \"{}\" }}", scene.servers),
        format!("source.topic={}", scene.topic),
        format!("lake.url=file:{}", scene.lake().display()),
        // The messages' day may be ahead of the clock on which this runs.
        "stream.future=off".to_owned(),
    ];
    let mut args = vec!["run", file.to_str().unwrap(), "--drain"];
    set.iter().for_each(|pair| args.extend(["--set", pair]));
    let run = scene.turnstile(&args);
    assert!(run.status.success(), "{}", text(&run));

    let instant = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp();
    let mut found = std::collections::BTreeMap::new();
    for file in data_files(&scene.lake()) {
        let csv = crate::scene::unpack(&file);
        assert!(csv.starts_with("STATION,ENTRIES,EXITS,READINGS,START,END\n"), "{csv}");
        for line in csv.lines().skip(1) {
            let f: Vec<&str> = line.split(',').collect();
            let number = |at: usize| f[at].parse::<i64>().unwrap();
            let row = (number(1), number(2), number(3));
            assert_eq!(found.insert((instant(f[4]), f[0].to_owned()), row), None, "{line}");
        }
    }
    // The messages' times are New York's, in summer four hours behind UTC.
    let expected: std::collections::BTreeMap<_, _> =
        expected(&messages).into_iter().map(|((start, name), row)| ((instant(&start) + 4 * 3600, name), row)).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_quiet_stream_closes_its_windows_by_the_wall_clock_and_the_next_messages_go_on() {
    // One turnstile's messages lie in one partition, and the two that stay empty must not hold the windows open. With
    // messages in several, which of them is read first after the silence would decide what is late.
    let scene = Scene::embedded(3);
    let mut messages = messages(400);
    messages.drain(100..150);
    messages.retain(|message| message.starts_with("A000,"));
    let pipeline = scene.pipeline("idle = \"1 second\"\nquiet = \"2 seconds\"\ncommit = \"100 ms\"");
    let run = scene.spawn(&["run", pipeline.to_str().unwrap()], &[]);
    let (before, after) = messages.split_at(9);
    for (part, files) in [(before, 3), (after, 10)] {
        scene.send(part.iter().map(String::as_bytes));
        let began = Instant::now();
        while data_files(&scene.lake()).len() < files {
            assert!(began.elapsed() < PATIENCE, "{:?}", data_files(&scene.lake()));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    signal(&run, "INT");
    let output = finish(run);
    assert!(output.status.success(), "{}", text(&output));
    // What is announced and recorded is what happened.
    let announced = text(&output).matches("closed by the wall clock").count();
    let slots = quietly_closed(&scene);
    assert!(announced >= 2 && slots.len() == announced, "{announced}, {slots:?}: {}", text(&output));
    assert!(slots.iter().all(|files| *files > 0), "{slots:?}");
    assert_eq!(scene.rows(), expected(&messages));
    assert!(scene.audit(&pipeline).contains("all is well"));
}

#[test]
fn a_plan_that_changed_while_no_window_was_open_is_noted_when_the_run_starts() {
    let scene = Scene::embedded(1);
    scene.send(messages(100).iter().map(String::as_bytes));
    let pipeline = scene.pipeline("");
    let noted = |output: &std::process::Output| text(output).contains("the plan has changed since commit ");
    for _ in 0..2 {
        let drained = scene.drain(&pipeline);
        assert!(drained.status.success() && !noted(&drained), "{}", text(&drained));
    }
    let changed = std::fs::read_to_string(&pipeline).unwrap().replace("zone = \"UTC\"", "zone = \"Asia/Tokyo\"");
    std::fs::write(&pipeline, changed).unwrap();
    for is_first in [true, false] {
        let drained = scene.drain(&pipeline);
        assert!(drained.status.success(), "{}", text(&drained));
        assert_eq!(noted(&drained), is_first, "{}", text(&drained));
    }
}

/// Of the commits that closed windows by the wall clock, how many files each published.
fn quietly_closed(scene: &Scene) -> Vec<usize> {
    let log = scene.lake().join("_turnstile/story/log");
    let slots = std::fs::read_dir(log).unwrap().map(|slot| std::fs::read_to_string(slot.unwrap().path()).unwrap());
    slots
        .map(|slot| serde_json::from_str(&slot[slot.find('{').unwrap()..]).unwrap())
        .filter(|slot: &serde_json::Value| !slot["quiet_closed_at_us"].is_null())
        .map(|slot| slot["publish"].as_array().map_or(0, Vec::len))
        .collect()
}

#[test]
fn a_window_whose_duplicates_began_in_an_earlier_one_is_replayed_to_the_same_bytes() {
    let scene = Scene::embedded(1);
    let mut all = messages(300);
    // The same ID with a time two windows later: a duplicate wherever dedup looks at the ID alone.
    let again = all[10].rsplit_once(',').unwrap().0.to_owned() + "," + all[120].rsplit_once(',').unwrap().1;
    all.insert(121, again);
    scene.send(all.iter().map(String::as_bytes));
    let pipeline = scene.pipeline("dedup = [\"ID\"]");
    assert!(scene.drain(&pipeline).status.success());
    let start = chrono::DateTime::from_timestamp(1_785_542_400 + 120 * 7 / 300 * 300, 0).unwrap();
    let window = start.format("%Y-%m-%dT%H:%MZ").to_string();
    let replay = scene.turnstile(&["replay", &window, pipeline.to_str().unwrap(), "--to", "again", "--json"]);
    assert!(replay.status.success(), "{}", text(&replay));
    assert!(String::from_utf8_lossy(&replay.stdout).contains("\"same\":true"), "{}", text(&replay));
}

#[test]
fn topics_are_made_listed_and_deleted_for_programs_too() {
    let scene = Scene::embedded(1);
    let topic = |args: &[&str]| {
        let output = scene.turnstile(&[&["topic"], args, &["--bootstrap", &scene.servers, "--json"]].concat());
        assert!(output.status.success(), "{}", text(&output));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    assert_eq!(topic(&["create", "made", "--partitions", "3"])["partitions"], 3);
    assert!(topic(&["list"]).as_array().unwrap().iter().any(|t| t["topic"] == "made" && t["partitions"] == 3));
    assert_eq!(topic(&["delete", "made"])["deleted"], "made");
}

/// Messages without a time in their value: windows go by Kafka's own timestamps.
#[test]
fn windows_go_by_the_time_that_kafka_gives_a_message() {
    let scene = Scene::embedded(1);
    let good = messages(100);
    let producer = Producer::open(&scene.client(), ProducerLimits::default()).unwrap();
    for message in &good {
        let (value, time) = message.rsplit_once(',').unwrap();
        let at = chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S").unwrap().and_utc();
        let record = ProducerRecord::resent(None, Some(value.as_bytes()), at.timestamp_millis());
        producer.send(&scene.topic, &record).unwrap();
    }
    assert_eq!(producer.close(PATIENCE).0.failed, 0);
    let pipeline = scene.pipeline("");
    let file = std::fs::read_to_string(&pipeline).unwrap();
    let written = "{ type = \"timestamp\", format = \"yyyy-MM-dd HH:mm:ss\", zone = \"UTC\" }";
    assert!(file.contains(written));
    std::fs::write(&pipeline, file.replace(written, "{ metadata = \"timestamp\" }")).unwrap();
    let output = scene.drain(&pipeline);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(scene.rows(), expected(&good));
}
