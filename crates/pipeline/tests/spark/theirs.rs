//! Apache Spark, asked by `answers.py`.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::rows::Rows;

pub(crate) struct Spark;

impl Spark {
    /// What each expression is for each row.
    pub(crate) fn ask(rows: &Rows, expressions: &[&str]) -> Vec<Vec<Answer>> {
        asked(rows, "rows", expressions)
    }

    /// What each aggregate is for each of the groups of [`crate::ours::group`].
    pub(crate) fn ask_groups(rows: &Rows, aggregates: &[&str]) -> Vec<Vec<Answer>> {
        asked(rows, "groups", aggregates)
    }
}

fn asked(rows: &Rows, over: &str, expressions: &[&str]) -> Vec<Vec<Answer>> {
    let question = json!({
        "zone": rows.zone,
        "table": rows.table(),
        "groups": crate::ours::GROUPS,
        "over": over,
        "expressions": expressions,
        "needed": expressions.iter().map(|sql| rows.needed(sql)).collect::<Vec<_>>(),
    });
    let mut child = Command::new(turnstile_testkit::spark())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/spark/answers.py"))
        // Spark puts a folder where it starts.
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "Spark failed");
    let answers = |line: &str| -> Vec<Answer> {
        let values: Vec<Value> = serde_json::from_str(line).unwrap();
        values.iter().map(|value| Answer::parse(value.as_str().unwrap())).collect()
    };
    String::from_utf8(output.stdout).unwrap().lines().map(answers).collect()
}
