//! The original's command lines, as they are.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use crate::scene::{Scene, data_files, finish, messages, signal, text, unpack};

/// A properties file as the original's, in the place where it looked for it below a home folder.
fn properties(scene: &Scene) -> String {
    let folder = scene.dir.path().join(".kafka");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("docker-kafka.properties");
    std::fs::write(&file, format!("# Kafka\nbootstrap.servers={}\n", scene.servers)).unwrap();
    file.display().to_string()
}

/// Waits for a line of the child's output, which is then ended by Ctrl-C.
fn until_line(mut child: Child, part: &str) -> (Vec<String>, Output) {
    let mut lines = Vec::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    let found = stdout.by_ref().map_while(Result::ok).any(|line| {
        let is_it = line.contains(part);
        lines.push(line);
        is_it
    });
    signal(&child, "INT");
    lines.extend(stdout.map_while(Result::ok));
    let (_, writer) = std::io::pipe().unwrap();
    drop(writer);
    let (reader, _) = std::io::pipe().unwrap();
    child.stdout = Some(std::process::ChildStdout::from(std::os::fd::OwnedFd::from(reader)));
    let output = finish(child);
    assert!(found, "{part:?} was not printed: {lines:?}\n{}", text(&output));
    (lines, output)
}

/// Two topics: the stream's readings are not all later than the one that the producer has just sent.
fn the_original_s_three_command_lines_work_as_they_are(scene: &Scene, streamed: &Scene) {
    let config = properties(scene);
    let topic = &*scene.topic;
    // The producer sends one reading at once and the next ten seconds later.
    let producer = scene.spawn(&["produce", "--topic", topic, "--config", &config], &[]);
    let line = ["consume", "--topic", topic, "--groupid", topic, "--clientid", "c", "--config", &config];
    let (_, consumer) = until_line(scene.spawn(&line, &[]), "Test-Station");
    assert!(
        consumer.status.success() && text(&consumer).contains(&format!(" from {topic:?} in ")),
        "{}",
        text(&consumer)
    );
    signal(&producer, "INT");
    let producer = finish(producer);
    assert!(producer.status.success() && text(&producer).contains("0 failed"), "{}", text(&producer));

    let scene = streamed;
    let config = properties(scene);
    scene.send(messages(1_000).iter().map(String::as_bytes));
    let line = ["stream", "--topic", &scene.topic, "--group", &scene.topic, "--client", "c", "--config", &config];
    let more = ["--duration", "1 hour", "--slide", "30 minutes", "--drain"];
    let stream = scene.turnstile(&[&line[..], &more].concat());
    assert!(stream.status.success(), "{}", text(&stream));
    for said in ["|-- STATION: string", "|-- ENTRIES: long", "windows   1 hour, one every 30 minutes"] {
        assert!(text(&stream).contains(said), "{said:?} is not in {}", text(&stream));
    }
    let files = data_files(&scene.dir.path().join("turnstile-data/lake"));
    assert!(files.len() >= 4, "{files:?}");
    let header = unpack(&files[0]).lines().next().unwrap().to_owned();
    assert!(header.starts_with("CA,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS"), "{header}");
}

#[test]
fn the_original_s_three_command_lines_work_on_the_embedded_broker() {
    the_original_s_three_command_lines_work_as_they_are(&Scene::embedded(1), &Scene::embedded(1));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn the_original_s_three_command_lines_work_on_apache_kafka() {
    let (scene, streamed) = (Scene::apache("original", 1), Scene::apache("original-stream", 1));
    the_original_s_three_command_lines_work_as_they_are(&scene, &streamed);
}

#[test]
fn without_config_the_original_s_file_is_read_or_the_broker_of_this_machine_is_asked_and_named() {
    let scene = Scene::embedded(1);
    scene.send([&b"hello"[..]]);
    properties(&scene);
    let home = scene.dir.path().to_str().unwrap().to_owned();
    let line = ["consume", "--topic", "city", "--until-end"];
    let output = finish(scene.spawn(&line, &[("HOME", &home)]));
    assert!(output.status.success() && text(&output).contains("hello"), "{}", text(&output));

    let elsewhere = scene.dir.path().join("elsewhere");
    let line = ["consume", "--topic", "no-such-topic", "--until-end", "--connect-timeout", "1"];
    let output = finish(scene.spawn(&line, &[("HOME", elsewhere.to_str().unwrap())]));
    let said = "~/.kafka/docker-kafka.properties does not exist: using the broker at localhost:9092";
    // Whether a broker answers there is this machine's affair; which one was asked is not.
    assert!(text(&output).contains(said) && !output.status.success(), "{}", text(&output));
}

#[test]
fn a_duration_that_is_no_spark_interval_and_an_impossible_window_are_usage_errors() {
    let scene = Scene::embedded(1);
    for wrong in [
        ["--duration", "5", "--slide", "5 minutes"],
        ["--duration", "5 minutes", "--slide", "a while"],
        ["--duration", "5 minutes", "--slide", "1 hour"],
        ["--duration", "2 weeks", "--slide", "1 second"],
    ] {
        let line = ["stream", "--topic", "city", "--bootstrap", &scene.servers];
        let output = scene.turnstile(&[&line[..], &wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", text(&output));
    }
}

#[test]
fn the_printed_pipeline_is_a_file_that_run_continues_with() {
    let scene = Scene::embedded(1);
    let messages = messages(400);
    scene.send(messages[..250].iter().map(String::as_bytes));
    let line = ["stream", "--topic", "city", "--group", "g", "--bootstrap", &scene.servers, "--duration", "10 minutes"];
    let first = scene.turnstile(&[&line[..], &["--until-end"]].concat());
    assert!(first.status.success(), "{}", text(&first));
    let printed = scene.turnstile(&[&line[..], &["--print-pipeline"]].concat());
    std::fs::write(scene.dir.path().join("mta.toml"), &printed.stdout).unwrap();
    scene.send(messages[250..].iter().map(String::as_bytes));
    let second = scene.turnstile(&["run", "mta.toml", "--drain"]);
    assert!(second.status.success() && text(&second).contains("resuming from commit"), "{}", text(&second));
}

/// The image's and the scripts' way in: nothing but the environment's PATH and HOME.
#[test]
fn help_of_every_verb_names_the_original_s_flags() {
    for (verb, flags) in [
        ("produce", &["--topic", "--config"][..]),
        ("consume", &["--topic", "--groupid", "--clientid", "--config"]),
        ("stream", &["--topic", "--group", "--client", "--config", "--duration", "--slide"]),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnstile"));
        let output = command.args([verb, "--help"]).stdin(Stdio::null()).output().unwrap();
        let help = text(&output);
        for flag in flags {
            assert!(help.contains(&format!("{flag} <")), "{flag} is not in {help}");
        }
    }
}

/// The documented steps, on machines whose clocks show another time: the producer's local times are the job's.
#[test]
fn the_originals_steps_make_windows_and_no_dead_letters_in_any_zone_of_the_machine() {
    for zone in ["UTC", "Asia/Tokyo", "Asia/Kolkata", "America/Los_Angeles", "Europe/Berlin"] {
        let scene = Scene::embedded(1);
        let config = properties(&scene);
        let run = |line: &[&str], zone: &str| {
            finish(scene.spawn(&[line, &["--topic", &scene.topic, "--config", &config]].concat(), &[("TZ", zone)]))
        };
        let before = chrono::Utc::now() - chrono::TimeDelta::minutes(10);
        let produced = run(&["produce", "--count", "6", "--every", "10ms"], zone);
        assert!(produced.status.success() && text(&produced).contains(zone), "{}", text(&produced));
        let first = run(&["stream", "--until-end"], zone);
        assert!(first.status.success() && text(&first).contains(&format!("zone      {zone}")), "{}", text(&first));
        // Open windows are those of this zone's plan.
        let elsewhere = run(&["stream", "--until-end"], "Africa/Nairobi");
        assert!(!elsewhere.status.success() && text(&elsewhere).contains("plan"), "{}", text(&elsewhere));
        let drained = run(&["stream", "--drain"], zone);
        assert!(drained.status.success(), "{}", text(&drained));
        let status =
            text(&scene.turnstile(&["status", "--lake", "file:./turnstile-data/lake", "--pipeline", &scene.topic]));
        assert!(status.contains("6 read = 6 aggregated"), "{zone}: {status}");
        let file = unpack(&data_files(&scene.dir.path().join("turnstile-data/lake"))[0]);
        let row = file.lines().nth(1).unwrap();
        let start = row.split(',').rev().nth(1).unwrap();
        let start = chrono::DateTime::parse_from_rfc3339(start).unwrap();
        assert!(start > before && start <= chrono::Utc::now(), "{zone}: {row}");
    }
}

/// The original's last step: the external table, queried by the test station's name.
#[test]
fn the_external_table_of_a_stream_is_queried_without_a_file() {
    let scene = Scene::embedded(1);
    let config = properties(&scene);
    let topic = ["--topic", &scene.topic, "--config", &config];
    let produced = scene.turnstile(&[&["produce", "--count", "3", "--every", "10ms"], &topic[..]].concat());
    assert!(produced.status.success(), "{}", text(&produced));

    let sql = "SELECT STATION, ENTRIES, EXITS FROM ext_turnstile WHERE STATION LIKE 'Test%' LIMIT 5";
    // A stream into another lake leaves nothing in this folder; the error says where its file is printed.
    let elsewhere = format!("file:{}", scene.dir.path().join("elsewhere").display());
    let drained = scene.turnstile(&[&["stream", "--drain", "--lake", &elsewhere], &topic[..]].concat());
    assert!(drained.status.success() && !text(&drained).contains("query "), "{}", text(&drained));
    let refused = scene.turnstile(&["sql", sql]);
    assert!(!refused.status.success() && text(&refused).contains("--print-pipeline"), "{}", text(&refused));

    let drained = scene.turnstile(&[&["stream", "--drain"], &topic[..]].concat());
    assert!(drained.status.success(), "{}", text(&drained));
    assert!(text(&drained).contains(&format!("query     turnstile sql \"{sql}\"")), "{}", text(&drained));
    let answer = scene.turnstile(&["sql", sql]);
    assert!(answer.status.success() && text(&answer).contains("Test-Station"), "{}", text(&answer));
    let audit = scene.turnstile(&["audit"]);
    assert!(audit.status.success() && text(&audit).contains("3 read = 3 aggregated"), "{}", text(&audit));
}
