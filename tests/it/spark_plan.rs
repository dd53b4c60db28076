//! `turnstile check --engine spark`: what is refused, what is planned, and what a cluster says of it.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use turnstile_testkit::servers::{SparkHome, SparkServer, free_port};

use crate::scene::text;

const TURNSTILE: &str = env!("CARGO_BIN_EXE_turnstile");
const PIPELINES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines");

/// The secret that must be seen nowhere.
const TOKEN: &str = "canary-token-7f3a";

fn check(pipeline: &str, more: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(TURNSTILE);
    command.args(["check", &format!("{PIPELINES}/{pipeline}.toml"), "--engine", "spark"]).args(more);
    command.env_remove("SPARK_REMOTE").envs(environment.iter().copied());
    command.output().unwrap()
}

#[test]
fn what_spark_cannot_do_is_listed_and_the_rest_is_planned() {
    let refused = check("mta-turnstile", &[], &[]);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    assert!(text(&refused).contains("set late = \"drop\""), "{}", text(&refused));
    let registers = check("mta-registers", &["--json"], &[]);
    assert_eq!(registers.status.code(), Some(3));
    let answer: serde_json::Value = serde_json::from_slice(&registers.stdout).unwrap();
    let reasons = answer["refused"].as_array().unwrap();
    assert!(reasons.iter().any(|reason| reason.as_str().unwrap().starts_with("increase(…)")), "{answer}");

    let planned = check("mta-turnstile", &["--set", "stream.late=drop"], &[]);
    assert!(planned.status.success(), "{}", text(&planned));
    let printed = String::from_utf8(planned.stdout).unwrap();
    for part in ["spark.sql.ansi.enabled = true", "watermark 5 minutes behind TIMESTAMP", "collect_set(struct("] {
        assert!(printed.contains(part), "no {part} in\n{printed}");
    }
    let planned = check("mta-stations", &["--set", "stream.late=drop", "--json"], &[]);
    let answer: serde_json::Value = serde_json::from_slice(&planned.stdout).unwrap();
    assert_eq!((&answer["ok"], &answer["engine"]), (&true.into(), &"spark".into()));
}

#[test]
fn a_server_that_is_down_is_an_error_at_once_and_no_token_is_shown() {
    let late = ["--set", "stream.late=drop"];
    let port = free_port().unwrap();
    let address = format!("sc://127.0.0.1:{port}/;use_ssl=false;token={TOKEN}");
    let began = Instant::now();
    let down = check("mta-turnstile", &late, &[("SPARK_REMOTE", &address)]);
    assert_eq!(down.status.code(), Some(4), "{}", text(&down));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(text(&down).contains("cannot be reached") && !text(&down).contains(TOKEN), "{}", text(&down));
    let argument = check("mta-turnstile", &[&late[..], &["--remote", &address]].concat(), &[]);
    assert_eq!(argument.status.code(), Some(3), "{}", text(&argument));
    assert!(text(&argument).contains("SPARK_REMOTE") && !text(&argument).contains(TOKEN), "{}", text(&argument));
    let wrong = check("mta-turnstile", &[&late[..], &["--remote", "spark:15002"]].concat(), &[]);
    assert!(wrong.status.code() == Some(3) && text(&wrong).contains("sc://HOST"), "{}", text(&wrong));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_cluster_accepts_the_plans_and_the_lack_of_its_kafka_source_is_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let home = SparkHome::at(&turnstile_testkit::spark());
    let bare = SparkServer::start(&home, dir.path()).unwrap();
    let late = ["--set", "stream.late=drop", "--remote"];
    // A server that has just started answers its first call slowly.
    let answered = |remote: &str, pipeline: &str| {
        let began = Instant::now();
        loop {
            let output = check(pipeline, &[&late[..], &[remote]].concat(), &[]);
            if !text(&output).contains("did not answer") || began.elapsed() > crate::scene::PATIENCE {
                return output;
            }
        }
    };
    let lacking = answered(&bare.remote(), "mta-turnstile");
    assert!(!lacking.status.success() && text(&lacking).contains("spark-sql-kafka-0-10_2.13"), "{}", text(&lacking));
    drop(bare);
    let whole = SparkServer::start(&home.jars(&turnstile_testkit::spark_jars()), dir.path()).unwrap();
    for pipeline in ["mta-turnstile", "mta-stations"] {
        let accepted = answered(&whole.remote(), pipeline);
        assert!(accepted.status.success(), "{}", text(&accepted));
        let printed = String::from_utf8(accepted.stdout).unwrap();
        assert!(printed.contains("the plan is accepted") && printed.contains(" |-- ENTRIES: long"), "{printed}");
    }
}
