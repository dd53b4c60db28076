//! compose.yaml, the Dockerfile and the scripts, where no container engine runs: real parsers read them, and a stand-in
//! for `docker` records what the scripts would have it do.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::scene::text;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn scripts() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("scripts")).unwrap();
    let mut scripts: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(scripts.iter().all(|script| script.extension().is_some_and(|e| e == "sh")), "{scripts:?}");
    scripts
}

/// Docker Compose, which needs no engine to read a file.
fn compose(arguments: &[&str]) -> Output {
    let find = "import compose, os; print(os.path.join(os.path.dirname(compose.__file__), 'docker-compose'))";
    let found = Command::new(turnstile_testkit::checkers()).args(["-c", find]).output().unwrap();
    assert!(found.status.success(), "{}", text(&found));
    let program = String::from_utf8(found.stdout).unwrap();
    let mut command = Command::new(program.trim());
    command.arg("--file").arg(root().join("compose.yaml")).args(["--profile", "*"]).args(arguments);
    command.output().unwrap()
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn compose_yaml_pins_its_images_publishes_on_loopback_and_bounds_every_service() {
    let output = compose(&["config", "--format", "json"]);
    assert!(output.status.success(), "{}", text(&output));
    let file: Value = serde_json::from_slice(&output.stdout).unwrap();
    let services = file["services"].as_object().unwrap();
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    assert_eq!(names, ["kafka", "prefect", "spark-connect", "spark-master", "spark-worker", "turnstile"]);
    for (name, service) in services {
        let image = service["image"].as_str().unwrap();
        let (_, tag) = image.split_once(':').unwrap_or_else(|| panic!("{name}: {image} has no tag"));
        let is_ours = service.get("build").is_some();
        assert!(is_ours || tag.split('.').count() >= 3, "{name}: {image} is not pinned to a full version");
        assert!(service["healthcheck"]["test"].is_array(), "{name} has no healthcheck");
        let limits = &service["deploy"]["resources"]["limits"];
        assert!(limits["memory"].is_string() && !limits["cpus"].is_null(), "{name}: {limits}");
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name}: {port}");
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            assert_eq!(volume["type"], "volume", "{name}: {volume}");
            assert!(file["volumes"].get(volume["source"].as_str().unwrap()).is_some(), "{name}: {volume}");
        }
        let profile = service["profiles"][0].as_str();
        let expected = match name.as_str() {
            "turnstile" => Some("job"),
            "spark-connect" | "spark-master" | "spark-worker" => Some("spark"),
            _ => None,
        };
        assert_eq!(profile, expected, "{name}");
    }
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn the_dockerfile_and_the_scripts_have_no_faults_that_their_linters_know() {
    let hadolint = turnstile_testkit::checkers().with_file_name("hadolint");
    let output = Command::new(hadolint).arg(root().join("Dockerfile")).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let shellcheck = turnstile_testkit::checkers().with_file_name("shellcheck");
    let output = Command::new(shellcheck).args(scripts()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn the_image_does_not_run_as_root_and_reports_its_health() {
    let file = std::fs::read_to_string(root().join("Dockerfile")).unwrap();
    let last_stage = &file[file.rfind("\nFROM ").unwrap()..];
    let line = |word: &str| last_stage.lines().find_map(|line| line.strip_prefix(word)).map(str::trim);
    assert_eq!(line("USER"), Some("10001:10001"));
    assert_eq!(line("ENTRYPOINT"), Some("[\"turnstile\"]"));
    assert!(line("HEALTHCHECK").is_some());
    assert_eq!(file.matches("\nFROM ").count(), 2, "what builds is not what runs");
}

/// The default command of the image and of the service, as the binary takes it.
#[test]
fn the_commands_of_the_containers_are_command_lines_that_the_binary_takes() {
    let dockerfile = std::fs::read_to_string(root().join("Dockerfile")).unwrap();
    let compose = std::fs::read_to_string(root().join("compose.yaml")).unwrap();
    let of_image = dockerfile.lines().rev().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    let of_service = compose.lines().find_map(|line| line.trim().strip_prefix("command: [\"stream\""));
    let of_service = format!("[\"stream\"{}", of_service.unwrap());
    for command in [of_image, &of_service] {
        let mut words: Vec<String> = serde_json::from_str(command).unwrap();
        words.push("--print-pipeline".to_owned());
        let output = Command::new(env!("CARGO_BIN_EXE_turnstile")).args(&words).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let pipeline = String::from_utf8(output.stdout).unwrap();
        assert!(pipeline.contains("file:/data/lake") && pipeline.contains("kafka:19092"), "{pipeline}");
    }
}

/// Runs a script with a stand-in for `docker`, and for a turnstile of this machine, on its path; what they were given.
fn run(script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (Output, String) {
    let dir = tempfile::tempdir().unwrap();
    let recorded = dir.path().join("recorded");
    for name in ["docker", "turnstile-stand-in"] {
        let stand_in = format!(
            "#!/bin/sh\n# A stand-in: it records what it is given and does nothing.\necho \"{name} $*\" >> {}\n",
            recorded.display()
        );
        std::fs::write(dir.path().join(name), stand_in).unwrap();
        std::fs::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(root().join("scripts").join(script));
    command.args(arguments).env("PATH", path).env_remove("TOPIC").env_remove("TURNSTILE").current_dir(dir.path());
    let output = command.envs(variables.iter().copied()).output().unwrap();
    (output, std::fs::read_to_string(recorded).unwrap_or_default())
}

fn does(script: &str, arguments: &[&str], variables: &[(&str, &str)], expected: &[&str]) {
    let (output, recorded) = run(script, arguments, variables);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(recorded.lines().collect::<Vec<_>>(), expected, "{script}");
}

#[test]
fn every_script_of_the_original_is_there_and_does_the_same() {
    let names: Vec<String> =
        scripts().iter().map(|script| script.file_name().unwrap().to_string_lossy().into_owned()).collect();
    let expected =
        ["download_images.sh", "start_consumer.sh", "start_producer.sh", "start_services.sh", "stop_services.sh"];
    assert_eq!(names, expected);
    does("download_images.sh", &[], &[], &["docker compose pull", "docker compose build --pull turnstile"]);
    let topic = "docker compose exec -T kafka /opt/kafka/bin/kafka-topics.sh --bootstrap-server localhost:19092 \
                 --create --if-not-exists --topic mta-turnstile --partitions 1 --replication-factor 1";
    does("start_services.sh", &[], &[], &["docker compose up --detach --wait", topic]);
    does("start_services.sh", &["--spark"], &[], &["docker compose --profile spark up --detach --wait", topic]);
    does(
        "start_producer.sh",
        &["--count", "5"],
        &[],
        &[
            "docker compose run --rm --no-deps turnstile produce --topic mta-turnstile --bootstrap kafka:19092 --count 5",
        ],
    );
    does(
        "start_consumer.sh",
        &["--duration", "1 hour"],
        &[("TOPIC", "other")],
        &["docker compose run --rm turnstile stream --topic other --group turnstile --client turnstile \
           --bootstrap kafka:19092 --lake file:/data/lake --duration 1 hour"],
    );
    does("stop_services.sh", &[], &[], &["docker compose --profile job --profile spark down"]);
    does("stop_services.sh", &["--volumes"], &[], &["docker compose --profile job --profile spark down --volumes"]);
}

#[test]
fn producer_and_consumer_run_a_turnstile_of_this_machine_when_one_is_named() {
    let ours = [("TURNSTILE", "turnstile-stand-in")];
    does("start_producer.sh", &[], &ours, &["turnstile-stand-in produce --topic mta-turnstile"]);
    does(
        "start_consumer.sh",
        &["--drain"],
        &ours,
        &["turnstile-stand-in stream --topic mta-turnstile --group turnstile --client turnstile --drain"],
    );
}

#[test]
fn a_flag_that_a_script_does_not_know_is_refused_before_anything_is_done() {
    for script in ["download_images.sh", "start_services.sh", "stop_services.sh"] {
        let (output, recorded) = run(script, &["--help-me"], &[]);
        assert_eq!((output.status.code(), recorded.as_str()), (Some(2), ""), "{}", text(&output));
        assert!(text(&output).contains(&format!("usage: scripts/{script}")), "{}", text(&output));
    }
}
