//! The same runs in a real Prefect server: what it knows of a pipeline's runs, and what a person does there.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use turnstile_testkit::servers::PrefectServer;

use crate::disk::Disk;
use crate::scene::{SQL, Scene, finish, messages, signal, text, until};

/// A Prefect server as its clients see it.
pub(crate) struct PrefectAnswers {
    api: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl PrefectAnswers {
    pub(crate) fn of(api: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { api: api.to_owned(), client: reqwest::Client::new(), runtime }
    }

    /// What it answers; nothing while its SQLite is locked, or it is away.
    fn post(&self, path: &str, body: &Value) -> Option<Value> {
        self.runtime.block_on(async {
            let request = self.client.post(format!("{}{path}", self.api)).body(body.to_string());
            let answer = request.header("content-type", "application/json").send().await.ok()?;
            let status = answer.status();
            assert!(!status.is_client_error(), "{path} {body}: {status} {}", answer.text().await.unwrap_or_default());
            if !status.is_success() {
                return None;
            }
            serde_json::from_slice(&answer.bytes().await.ok()?).ok()
        })
    }

    /// What it answers; nothing as for [`Self::post`], or when it has just closed the connection.
    fn get(&self, path: &str) -> Option<Value> {
        self.runtime.block_on(async {
            let answer = self.client.get(format!("{}{path}", self.api)).send().await.ok()?;
            serde_json::from_slice(&answer.bytes().await.ok()?).ok()
        })
    }

    /// Creates a block of a type that the server knows.
    fn create_block(&self, slug: &str, name: &str, data: &Value) {
        let mut created = None;
        until("the block is created", || {
            let Some(kind) = self.get(&format!("/block_types/slug/{slug}")) else { return false };
            let kind = &kind["id"];
            let schemas =
                self.list("/block_schemas/filter", &json!({"block_schemas": {"block_type_id": {"any_": [kind]}}}));
            let Some(schema) = schemas.first() else { return false };
            let body = json!({"name": name, "block_type_id": kind, "block_schema_id": schema["id"], "data": data});
            created = self.post("/block_documents/", &body);
            created.is_some()
        });
    }

    fn list(&self, path: &str, filter: &Value) -> Vec<Value> {
        self.post(path, filter).and_then(|found| found.as_array().cloned()).unwrap_or_default()
    }

    /// The flow run that is the run `id` of ours, once it is in this state.
    pub(crate) fn flow_run_in(&self, id: &str, state: &str) -> Value {
        let filter = json!({"flow_runs": {"idempotency_key": {"any_": [id]}}});
        let mut found = Vec::new();
        until(&format!("run {id} is {state} in Prefect"), || {
            found = self.list("/flow_runs/filter", &filter);
            found.first().is_some_and(|run| run["state_type"] == state)
        });
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    /// The task runs of a flow run once there are `count` that have ended.
    fn task_runs(&self, flow_run: &Value, count: usize) -> Vec<Value> {
        let filter = json!({"flow_runs": {"id": {"any_": [flow_run["id"]]}}, "sort": "EXPECTED_START_TIME_ASC"});
        let mut ended = Vec::new();
        until(&format!("{count} task runs are in Prefect"), || {
            ended = self.list("/task_runs/filter", &filter);
            ended.retain(|task| !task["end_time"].is_null());
            ended.len() >= count
        });
        ended
    }

    /// The texts of its log.
    fn logs(&self, flow_run: &Value) -> Vec<String> {
        let filter = json!({"logs": {"flow_run_id": {"any_": [flow_run["id"]]}}, "sort": "TIMESTAMP_ASC"});
        let lines = self.list("/logs/filter", &filter);
        lines.iter().filter_map(|line| line["message"].as_str().map(str::to_owned)).collect()
    }

    /// The rows of the tables that it has of the run's windows.
    fn windows(&self, flow_run: &Value) -> Vec<Value> {
        let filter = json!({"artifacts": {"flow_run_id": {"any_": [flow_run["id"]]}}, "sort": "ID_DESC"});
        let artifacts = self.list("/artifacts/filter", &filter);
        let tables = artifacts.iter().filter(|artifact| artifact["type"] == "table");
        tables.flat_map(|table| rows(&table["data"])).collect()
    }
}

/// The rows of a table artifact, which the server gives as text or as the value that was in it.
fn rows(data: &Value) -> Vec<Value> {
    let parsed = data.as_str().map(|text| serde_json::from_str(text).unwrap());
    parsed.as_ref().unwrap_or(data).as_array().unwrap().clone()
}

/// The stories' pipeline, reported to `api`; its runs have a tag more.
fn pipeline(scene: &Scene, api: &str, more: &str) -> String {
    // The server is on this machine; the budget is for others'.
    let settings = format!("{more}\n[track.prefect]\napi = \"{api}\"\nrequests_per_minute = 6000\ntags = [\"it\"]\n");
    scene.pipeline_with("commit = \"100 ms\"", &settings, SQL).to_str().unwrap().to_owned()
}

/// The newest run as `turnstile runs` shows it.
pub(crate) fn newest(scene: &Scene, file: &str) -> Option<Value> {
    let listed = scene.turnstile(&["runs", "list", file, "--json"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.lines().next().map(|line| serde_json::from_str(line).unwrap())
}

/// The id of the run, once it is in this state.
fn id_of_run_in(scene: &Scene, file: &str, state: &str) -> String {
    let mut id = String::new();
    until(&format!("the newest run is {state}"), || {
        let Some(run) = newest(scene, file) else { return false };
        run["id"].as_str().unwrap().clone_into(&mut id);
        run["state"] == state
    });
    id
}

fn shown(scene: &Scene, file: &str, id: &str) -> Value {
    let shown = scene.turnstile(&["runs", "show", id, file, "--limit", "200", "--json"]);
    assert!(shown.status.success(), "{}", text(&shown));
    serde_json::from_slice(&shown.stdout).unwrap()
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_run_its_tasks_its_log_and_its_windows_are_the_same_in_prefect() {
    let scene = Scene::embedded(2);
    let api = turnstile_testkit::prefect();
    let prefect = PrefectAnswers::of(&api);
    let sent = messages(500);
    scene.send(sent.iter().map(String::as_bytes).chain([b"nonsense".as_slice()]));
    let file = pipeline(&scene, &api, "");
    assert!(scene.drain(Path::new(&file)).status.success());
    let run = shown(&scene, &file, &id_of_run_in(&scene, &file, "COMPLETED"));
    // What the end of the first had no time to deliver goes with the next.
    assert!(scene.turnstile(&["run", &file, "--until-end"]).status.success());

    let flow_run = prefect.flow_run_in(run["id"].as_str().unwrap(), "COMPLETED");
    assert_eq!(flow_run["name"], run["name"]);
    let tags: Vec<&str> = flow_run["tags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(["turnstile", "story", "it"].iter().all(|tag| tags.contains(tag)), "{tags:?}");
    let flow = prefect.list("/flows/filter", &json!({"flows": {"id": {"any_": [flow_run["flow_id"]]}}})).remove(0);
    assert_eq!(
        (&flow["name"], &run["flow"]),
        (&"MTA Spark Data Stream flow".into(), &"MTA Spark Data Stream flow".into())
    );

    let tasks = run["tasks"].as_array().unwrap();
    let seen = prefect.task_runs(&flow_run, tasks.len());
    let ours = |task: &Value| {
        let name = format!("{}-{}", task["task"].as_str().unwrap(), task["number"]);
        (task["id"].to_string(), name, task["state"].to_string())
    };
    let theirs = |task: &Value| {
        (task["id"].to_string(), task["name"].as_str().unwrap().to_owned(), task["state_type"].to_string())
    };
    let (mut kept, mut there): (Vec<_>, Vec<_>) = (tasks.iter().map(ours).collect(), seen.iter().map(theirs).collect());
    kept.sort();
    there.sort();
    assert_eq!(there, kept);
    for name in ["Read data stream-0", "Aggregate messages-0", "Write to Storage-0"] {
        assert!(there.iter().any(|(_, one, state)| one == name && state == "\"COMPLETED\""), "{name}: {there:?}");
    }

    until("the log is there", || prefect.logs(&flow_run).iter().any(|line| line.contains("could not be processed")));
    let rows = scene.rows();
    let mut windows: Vec<&str> = rows.keys().map(|(start, _)| start.as_str()).collect();
    windows.dedup();
    until("every window is there", || prefect.windows(&flow_run).len() == windows.len());
    let sum = |name: &str| prefect.windows(&flow_run).iter().map(|window| window[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("messages"), sum("rows")), (500, rows.len() as u64));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_person_who_cancels_a_run_in_prefect_ends_the_pipeline_and_what_was_read_is_committed() {
    let scene = Scene::embedded(1);
    let api = turnstile_testkit::prefect();
    let prefect = PrefectAnswers::of(&api);
    scene.send(messages(100).iter().map(String::as_bytes));
    let file = pipeline(&scene, &api, "");
    let running = scene.spawn(&["run", &file], &[]);
    let id = id_of_run_in(&scene, &file, "RUNNING");
    let flow_run = prefect.flow_run_in(&id, "RUNNING");
    let cancel = format!("/flow_runs/{}/set_state", flow_run["id"].as_str().unwrap());
    until("Prefect takes it", || {
        let asked = prefect.post(&cancel, &json!({"state": {"type": "CANCELLING"}}));
        asked.is_some_and(|answer| answer["status"] == "ACCEPT")
    });
    let ended = finish(running);
    assert!(ended.status.success(), "{}", text(&ended));
    let flow_run = prefect.flow_run_in(&id, "CANCELLED");
    assert_eq!(flow_run["state"]["message"], "a person cancelled it in Prefect");
    let run = newest(&scene, &file).unwrap();
    assert_eq!((&run["state"], &run["message"]), (&"CANCELLED".into(), &flow_run["state"]["message"]), "{run}");
    let status = text(&scene.turnstile(&["status", &file]));
    assert!(status.contains("100 read") && status.contains("has ended"), "{status}");
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_run_whose_lake_is_full_is_failed_in_prefect_and_says_why() {
    let scene = Scene::embedded(1);
    let api = turnstile_testkit::prefect();
    let prefect = PrefectAnswers::of(&api);
    scene.send(messages(6_000).iter().map(String::as_bytes));
    let disk = Disk::mount(&scene.lake(), "size=256k");
    let file = pipeline(&scene, &api, "retry_for = \"0 seconds\"");
    let failed = finish(scene.spawn_on(&disk, &["run", &file, "--drain"]));
    assert_eq!(failed.status.code(), Some(6), "{}", text(&failed));
    let run = newest(&scene, &file);
    let id = run.as_ref().and_then(|run| run["id"].as_str()).unwrap_or_else(|| panic!("{}", text(&failed)));
    // The next start, whose lake has space, brings what the first had no time for.
    disk.remount("size=64m");
    let next = finish(scene.spawn_on(&disk, &["run", &file, "--drain"]));
    assert!(next.status.success(), "{}", text(&next));
    let flow_run = prefect.flow_run_in(id, "FAILED");
    let message = flow_run["state"]["message"].as_str().unwrap();
    assert!(message.contains("No space left on device"), "{message}");
    prefect.flow_run_in(&id_of_run_in(&scene, &file, "COMPLETED"), "COMPLETED");
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_lake_in_a_cloud_s_store_is_written_and_read_with_the_credentials_of_a_block() {
    let api = turnstile_testkit::prefect();
    let prefect = PrefectAnswers::of(&api);
    let (s3, azure) = (turnstile_testkit::s3(), turnstile_testkit::azure());
    let of_s3 = json!({"aws_access_key_id": s3.access_key, "aws_secret_access_key": s3.secret_key,
                       "region_name": s3.region, "aws_client_parameters": {"endpoint_url": s3.endpoint}});
    let connection = format!(
        "AccountName={};AccountKey={};BlobEndpoint={}/{}",
        azure.account, azure.key, azure.endpoint, azure.account
    );
    let stores = [
        ("aws-credentials", of_s3, format!("s3://{}", s3.bucket), s3.secret_key),
        (
            "azure-blob-storage-credentials",
            json!({"connection_string": connection}),
            format!("az://{}", azure.container),
            azure.key,
        ),
    ];
    for (slug, data, root, secret) in stores {
        let scene = Scene::embedded(1);
        scene.send(messages(300).iter().map(String::as_bytes));
        let unique = scene.dir.path().file_name().unwrap().to_string_lossy().to_ascii_lowercase();
        let name = format!("lake-{}", unique.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()));
        prefect.create_block(slug, &name, &data);
        let file = pipeline(&scene, &api, &format!("prefect_block = \"{slug}/{name}\""));
        let at = format!("lake.url={root}/{name}");
        let drained = scene.spawn(&["run", &file, "--drain", "--set", &at], &[("TURNSTILE_LOG", "debug")]);
        let drained = finish(drained);
        assert!(drained.status.success(), "{slug}: {}", text(&drained));
        assert!(!text(&drained).contains(secret), "{slug}: the log shows the secret");
        let audit = text(&scene.turnstile(&["audit", &file, "--set", &at]));
        assert!(audit.contains("all is well"), "{slug}: {audit}");
        let explained = text(&scene.turnstile(&["explain", "2026-08-01T00:00Z", &file, "--set", &at]));
        assert!(explained.contains("43 messages"), "{slug}: {explained}");
        // Without the block there is no way in.
        let without = scene.turnstile(&["audit", "--lake", &format!("{root}/{name}"), "--pipeline", "story"]);
        assert!(!without.status.success(), "{slug}: {}", text(&without));
        let wrong = ["audit", &file, "--set", &at, "--set", "lake.prefect_block=aws-credentials/no-such"];
        let wrong = text(&scene.turnstile(&wrong));
        assert!(wrong.contains("block aws-credentials/no-such"), "{wrong}");
    }
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_run_whose_broker_goes_away_is_late_in_prefect() {
    let mut scene = Scene::embedded(1);
    let api = turnstile_testkit::prefect();
    let prefect = PrefectAnswers::of(&api);
    scene.send(messages(300).iter().map(String::as_bytes));
    let file = pipeline(&scene, &api, "");
    let running = scene.spawn(&["run", &file], &[]);
    let id = id_of_run_in(&scene, &file, "RUNNING");
    prefect.flow_run_in(&id, "RUNNING");
    scene.stop_broker();
    let gone = Instant::now();
    let mut state = Value::Null;
    until("the run is late in Prefect", || {
        state = prefect.flow_run_in(&id, "RUNNING")["state"].clone();
        state["name"] == "Late"
    });
    eprintln!("late in Prefect after {:?}", gone.elapsed());
    assert_eq!(state["message"], "the brokers do not answer");
    assert_eq!(newest(&scene, &file).unwrap()["state"], "LATE");
    signal(&running, "INT");
    finish(running);
    prefect.flow_run_in(&id, "CANCELLED");
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_run_that_is_killed_is_crashed_in_prefect_once_the_next_has_started() {
    let scene = Scene::embedded(1);
    let api = turnstile_testkit::prefect();
    let prefect = PrefectAnswers::of(&api);
    scene.send(messages(100).iter().map(String::as_bytes));
    let file = pipeline(&scene, &api, "");
    let running = scene.spawn(&["run", &file], &[]);
    let id = id_of_run_in(&scene, &file, "RUNNING");
    prefect.flow_run_in(&id, "RUNNING");
    signal(&running, "KILL");
    finish(running);
    let next = scene.turnstile(&["run", &file, "--drain"]);
    assert!(next.status.success(), "{}", text(&next));
    prefect.flow_run_in(&id, "CRASHED");
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_prefect_that_is_away_holds_nothing_up_and_learns_of_the_run_later() {
    let scene = Scene::embedded(1);
    let dir = tempfile::tempdir().unwrap();
    let mut server = PrefectServer::start(&turnstile_testkit::prefect_home(), dir.path()).unwrap();
    let (api, prefect) = (server.api(), PrefectAnswers::of(&server.api()));
    scene.send(messages(500).iter().map(String::as_bytes));
    let file = pipeline(&scene, &api, "");
    server.kill9().unwrap();
    let drained = scene.drain(Path::new(&file));
    assert!(drained.status.success(), "{}", text(&drained));
    assert!(scene.audit(Path::new(&file)).contains("all is well"));
    let run = shown(&scene, &file, &id_of_run_in(&scene, &file, "COMPLETED"));
    server.restart().unwrap();
    let running = scene.spawn(&["run", &file], &[]);
    let flow_run = prefect.flow_run_in(run["id"].as_str().unwrap(), "COMPLETED");
    prefect.task_runs(&flow_run, run["tasks"].as_array().unwrap().len());
    signal(&running, "INT");
    let ended = finish(running);
    assert!(ended.status.success(), "{}", text(&ended));
}
