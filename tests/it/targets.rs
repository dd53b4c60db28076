//! The embedded warehouse, PostgreSQL and BigQuery side by side: the same rows in all three, whenever something is killed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::scene::{Scene, data_files, expected, finish, messages, signal, text, until};

/// Readings of every turnstile and window, with the columns that the built-in models read.
pub(crate) const FACTS: &str = "SELECT CA, UNIT, SCP, STATION, LINENAME, DIVISION, DESC, sum(ENTRIES) AS ENTRIES, \
     sum(EXITS) AS EXITS, window.start AS START, window.end AS END \
     FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes'), CA, UNIT, SCP, STATION, LINENAME, DIVISION, DESC";

/// Of each window (its start in seconds since the epoch) and station: entries, exits.
pub(crate) type Sums = BTreeMap<(i64, String), (i64, i64)>;

/// The databases that a story's tables go to.
pub(crate) struct Targets {
    postgres: turnstile_testkit::Postgres,
    database: String,
    bigquery: Option<(turnstile_testkit::BigQuery, String)>,
}

impl Targets {
    /// A database of the story's own, and a dataset when `with_bigquery`.
    pub(crate) fn make(story: &str, with_bigquery: bool) -> Self {
        let name = format!("story_{story}_{}", std::process::id());
        let bigquery = with_bigquery.then(|| (turnstile_testkit::bigquery(), name.clone()));
        let targets = Self { postgres: turnstile_testkit::postgres(), database: "postgres".to_owned(), bigquery };
        targets.psql(&format!("CREATE DATABASE {name}"));
        Self { database: name, ..targets }
    }

    /// `[warehouse]` of a pipeline that loads the built-in models and brings them to the targets.
    pub(crate) fn settings(&self, schedule: &str, load_rows: u64) -> String {
        let Self { postgres, database, bigquery } = self;
        let mut settings = format!(
            "[warehouse]\ntable = \"ext_turnstile\"\nschedule = \"{schedule}\"\nmodels = \"built-in\"\nload_rows = {load_rows}\n\
             [warehouse.postgres]\nurl = \"postgres://{}@{}:{}/{database}\"\n",
            postgres.user, postgres.host, postgres.port,
        );
        if let Some((server, dataset)) = bigquery {
            settings += &format!(
                "[warehouse.bigquery]\nproject = \"{}\"\ndataset = \"{dataset}\"\nendpoint = \"{}\"\ncredentials = \"none\"\n",
                server.project, server.endpoint
            );
        }
        settings
    }

    /// What the binary needs in its environment.
    pub(crate) fn environment(&self) -> [(&str, &str); 1] {
        [("PGPASSWORD", self.postgres.password)]
    }

    fn psql(&self, sql: &str) -> String {
        let mut command = Command::new("psql");
        let (host, port) = (self.postgres.host.as_str(), self.postgres.port.to_string());
        command.args(["-X", "-q", "-A", "-t", "-F", ",", "-v", "ON_ERROR_STOP=1", "-h", host, "-p", &port]);
        command.args(["-U", self.postgres.user, "-d", &self.database, "-c", sql]);
        let output = command.env("PGPASSWORD", self.postgres.password).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{sql}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The facts in PostgreSQL. Every row is distinct: a doubled one would break the primary key, a second copy of
    /// a window under another key would double its sums.
    pub(crate) fn postgres_sums(&self) -> Sums {
        sums(&self.psql(
            "SELECT extract(epoch FROM window_start)::bigint, station, sum(entries), sum(exits) \
             FROM turnstile.fact_turnstile GROUP BY 1, 2",
        ))
    }

    /// The facts in BigQuery.
    pub(crate) fn bigquery_sums(&self) -> Sums {
        let (server, dataset) = self.bigquery.as_ref().unwrap();
        let sql = format!(
            "SELECT UNIX_SECONDS(window_start), station, SUM(entries), SUM(exits) \
             FROM `{}.{dataset}.fact_turnstile` GROUP BY 1, 2",
            server.project
        );
        let url = format!("{}/bigquery/v2/projects/{}/queries", server.endpoint, server.project);
        let body = json!({"query": sql, "useLegacySql": false, "maxResults": 1_000_000}).to_string();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(async {
            let asked = reqwest::Client::new().post(url).header("Content-Type", "application/json").body(body);
            asked.send().await.unwrap().text().await.unwrap()
        });
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let rows = answer["rows"].as_array().unwrap_or_else(|| panic!("{sql}: {answer}"));
        assert_eq!(answer["totalRows"].as_str().unwrap().parse(), Ok(rows.len()), "all in one answer");
        let cell = |row: &Value, at: usize| row["f"][at]["v"].as_str().unwrap().to_owned();
        let line = |row: &Value| (0..4).map(|at| cell(row, at)).collect::<Vec<_>>().join(",");
        sums(&rows.iter().map(line).collect::<Vec<_>>().join("\n"))
    }
}

/// The facts in the embedded warehouse.
pub(crate) fn embedded_sums(scene: &Scene, pipeline: &Path, table: &str) -> Sums {
    let start = if table == "fact_turnstile" { "window_start" } else { "start" };
    let sql = format!(
        "SELECT CAST(extract(epoch FROM {start}) AS BIGINT), station, sum(entries), sum(exits) FROM {table} GROUP BY 1, 2"
    );
    let asked = scene.turnstile(&["sql", "--pipeline", pipeline.to_str().unwrap(), "--format", "csv", &sql]);
    assert!(asked.status.success(), "{}", text(&asked));
    let answer = String::from_utf8(asked.stdout).unwrap();
    sums(answer.split_once('\n').unwrap().1)
}

/// Lines of window, station, entries, exits.
fn sums(lines: &str) -> Sums {
    let mut sums = Sums::new();
    for line in lines.lines() {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |at: usize| cells[at].parse::<i64>().unwrap_or_else(|e| panic!("{line}: {e}"));
        let before = sums.insert((number(0), cells[1].to_owned()), (number(2), number(3)));
        assert_eq!(before, None, "{line} comes twice");
    }
    sums
}

/// What the windows of `messages` hold, by a plain sum.
pub(crate) fn oracle(messages: &[String]) -> Sums {
    let seconds = |start: &str| chrono::DateTime::parse_from_rfc3339(start).unwrap().timestamp();
    expected(messages).into_iter().map(|((start, station), row)| ((seconds(&start), station), (row.0, row.1))).collect()
}

pub(crate) fn assert_same(found: &Sums, expected: &Sums, place: &str) {
    let first = expected.iter().find(|(key, sums)| found.get(*key) != Some(*sums));
    assert!(found == expected, "{place}: {} groups instead of {}; {first:?}", found.len(), expected.len());
}

/// Loads what there is, with the targets' secrets at hand.
pub(crate) fn load(scene: &Scene, pipeline: &Path, targets: &Targets) {
    let args = ["warehouse", "run", "--once", pipeline.to_str().unwrap()];
    let loaded = finish(scene.spawn(&args, &targets.environment()));
    assert!(loaded.status.success(), "{}", text(&loaded));
}

fn story(targets: &Targets, load_rows: u64) -> (Scene, PathBuf) {
    let scene = Scene::embedded(1);
    let warehouse = targets.settings("1 minute", load_rows);
    let stream = "late = \"correct\"\ncorrect_for = \"30 days\"\ncommit = { rows = 500 }";
    let pipeline = scene.pipeline_with(stream, &warehouse, FACTS);
    (scene, pipeline)
}

fn drain(scene: &Scene, pipeline: &Path) {
    let drained = scene.drain(pipeline);
    assert!(drained.status.success(), "{}", text(&drained));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_late_row_changes_the_facts_everywhere_and_explain_names_it() {
    let targets = Targets::make("late", true);
    let (scene, pipeline) = story(&targets, 1_000_000);
    let all = messages(401);
    // The newest event closes all windows but the last; the reading before it comes after that.
    let (late, in_time) = (&all[10], [&all[..10], &all[11..]].concat());
    scene.send(in_time.iter().map(String::as_bytes));
    drain(&scene, &pipeline);
    load(&scene, &pipeline, &targets);
    let before = oracle(&in_time);
    assert_same(&embedded_sums(&scene, &pipeline, "fact_turnstile"), &before, "embedded");
    assert_same(&targets.postgres_sums(), &before, "PostgreSQL");
    assert_same(&targets.bigquery_sums(), &before, "BigQuery");

    scene.send([late.as_bytes()]);
    drain(&scene, &pipeline);
    load(&scene, &pipeline, &targets);
    let after = oracle(&all);
    assert_ne!(before, after);
    assert_same(&embedded_sums(&scene, &pipeline, "fact_turnstile"), &after, "embedded");
    assert_same(&targets.postgres_sums(), &after, "PostgreSQL");
    assert_same(&targets.bigquery_sums(), &after, "BigQuery");

    let explained = scene.turnstile(&["explain", "2026-08-01T00:00Z", pipeline.to_str().unwrap()]);
    let explained = text(&explained);
    assert!(explained.contains("version 1, superseded by version 2"), "{explained}");
    assert!(explained.contains("cause    1 late row within city[0]@400..=400"), "{explained}");
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_loader_killed_at_twenty_moments_leaves_every_window_once_in_all_three() {
    let targets = Targets::make("kills", true);
    // Small loads, so that the moments fall into many of them.
    let (scene, pipeline) = story(&targets, 60);
    let all = messages(2_400);
    let (first, second) = all.split_at(1_300);
    let mut killed = 0;
    // Late rows of the second half correct windows that were loaded with the first.
    let (on_time, late): (Vec<_>, Vec<_>) = first.iter().enumerate().partition(|(n, _)| n % 97 != 13);
    let rest = second.iter().chain(late.into_iter().map(|(_, message)| message));
    let halves: [Vec<&String>; 2] = [on_time.into_iter().map(|(_, message)| message).collect(), rest.collect()];
    for (half, messages) in halves.into_iter().enumerate() {
        scene.send(messages.iter().map(|message| message.as_bytes()));
        drain(&scene, &pipeline);
        for round in 0..20u64 {
            let args = ["warehouse", "run", "--once", pipeline.to_str().unwrap()];
            let mut loader = scene.spawn(&args, &targets.environment());
            // From before its first step to the midst of its deliveries; the steps are odd, so that no two are alike.
            std::thread::sleep(Duration::from_millis(20 + (round * 67 + half as u64 * 31) % 400));
            let unharmed = loader.try_wait().unwrap().is_some();
            if !unharmed {
                signal(&loader, "KILL");
                killed += 1;
            }
            let ended = finish(loader);
            assert!(!unharmed || ended.status.success(), "{}", text(&ended));
        }
    }
    assert!(killed >= 20, "only {killed} loaders were killed: the others had done their work");
    load(&scene, &pipeline, &targets);
    let expected = oracle(&all);
    assert_same(&embedded_sums(&scene, &pipeline, "ext_turnstile"), &expected, "the lake");
    assert_same(&embedded_sums(&scene, &pipeline, "fact_turnstile"), &expected, "embedded");
    assert_same(&targets.postgres_sums(), &expected, "PostgreSQL");
    assert_same(&targets.bigquery_sums(), &expected, "BigQuery");
    let tested = scene.turnstile(&["models", "test", pipeline.to_str().unwrap()]);
    assert!(tested.status.success(), "{}", text(&tested));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_database_that_is_away_holds_back_nothing_but_itself_and_is_seen() {
    let mut server = turnstile_testkit::servers::PostgresServer::start().unwrap();
    let targets = Targets { postgres: server.address(), database: "postgres".to_owned(), bigquery: None };
    server.stop().unwrap();
    let scene = Scene::embedded(1);
    let pipeline = scene.pipeline_with("commit = \"100 ms\"", &targets.settings("1 second", 1_000_000), FACTS);
    let all = messages(2_000);
    let (first, second) = all.split_at(1_000);
    scene.send(first.iter().map(String::as_bytes));
    let running = scene.spawn(&["run", pipeline.to_str().unwrap()], &targets.environment());
    let file = pipeline.to_str().unwrap();
    let status = || {
        let status = scene.turnstile(&["warehouse", "status", file, "--json"]);
        assert!(status.status.success(), "{}", text(&status));
        serde_json::from_slice::<Value>(&status.stdout).unwrap()
    };
    let of = |status: &Value, target: &str| -> Vec<Value> {
        let runs = status["runs"].as_array().unwrap();
        runs.iter().filter(|run| run["target"] == target).cloned().collect()
    };
    until("something is published", || !data_files(&scene.lake()).is_empty());
    // The embedded tables are loaded all the same, and the failure is a row of load_runs.
    until("the failure is recorded", || {
        let status = status();
        let failed = of(&status, "postgres").iter().any(|run| run["error"].is_string());
        failed && of(&status, "embedded").iter().any(|run| run["rows_out"].as_u64() > Some(0))
    });
    // Messages continue to be published meanwhile.
    let published = data_files(&scene.lake()).len();
    scene.send(second.iter().map(String::as_bytes));
    until("more is published", || data_files(&scene.lake()).len() > published);
    assert!(status()["targets"][1]["ledger_seq"].is_null(), "{}", status());
    server.restart().unwrap();
    until("the database has caught up", || of(&status(), "postgres").iter().any(|run| run["error"].is_null()));
    signal(&running, "INT");
    let ended = finish(running);
    assert!(ended.status.success(), "{}", text(&ended));
    assert!(!text(&ended).contains(targets.postgres.password));
    drain(&scene, &pipeline);
    load(&scene, &pipeline, &targets);
    let expected = oracle(&all);
    assert_same(&embedded_sums(&scene, &pipeline, "fact_turnstile"), &expected, "embedded");
    assert_same(&targets.postgres_sums(), &expected, "PostgreSQL");
}
