//! Which events a run gives rise to, and that OpenLineage's own model reads them.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use turnstile_values::Secret;
use uuid::Uuid;

use super::*;
use crate::event::TrackEvent;
use crate::test_events::{EIGHT_US, SECOND_US, commit, load, status};
use crate::test_server::TestServer;

fn job() -> LineageJob {
    let lake = LineageDataset::folder("gs://lake/turnstile", None);
    let table = LineageDataset::embedded_table(&lake, "ext_turnstile");
    let columns = vec![("STATION".to_owned(), "string".to_owned()), ("ENTRIES".to_owned(), "bigint".to_owned())];
    let postgres = LineageDataset::postgres_table("db", 5432, "mta", "public", "fact_turnstile");
    LineageJob {
        namespace: "turnstile".into(),
        pipeline: "mta-turnstile".into(),
        version: "0.1.0".into(),
        sql: Some("SELECT 1".into()),
        topics: vec![LineageDataset::topic("localhost:9092", "mta-turnstile")],
        lake: lake.with_schema(columns),
        tables: BTreeMap::from([("embedded".to_owned(), vec![table]), ("postgres".to_owned(), vec![postgres])]),
    }
}

fn run() -> LineageRun {
    LineageRun::new(job(), Uuid::from_u128(7), EIGHT_US, Duration::from_secs(60))
}

fn json(event: &LineageEvent) -> Value {
    serde_json::to_value(event).unwrap()
}

/// START, two commits of which the second is reported, two loads of which one fails twice, and a failure.
fn events() -> Vec<Value> {
    let mut run = run();
    let mut events = vec![run.start(EIGHT_US)];
    events.extend(run.observe(EIGHT_US + SECOND_US, &TrackEvent::Committed(commit(1))));
    events.extend(run.observe(EIGHT_US + 2 * SECOND_US, &TrackEvent::Status(status())));
    events.extend(run.observe(EIGHT_US + 61 * SECOND_US, &TrackEvent::Committed(commit(2))));
    events.extend(run.observe(EIGHT_US + 62 * SECOND_US, &TrackEvent::Loaded(load("embedded", 2))));
    let failed = TrackEvent::LoadFailed { target: "postgres".into(), error: "no route".into() };
    events.extend(run.observe(EIGHT_US + 63 * SECOND_US, &failed));
    events.extend(run.observe(EIGHT_US + 64 * SECOND_US, &failed));
    events.push(run.end(EIGHT_US + 65 * SECOND_US, LineageEnd::Failed("the lake is full".into())));
    events.iter().map(json).collect()
}

#[test]
fn a_run_is_reported_at_its_start_at_intervals_and_at_its_end_and_each_load_is_a_run() {
    let seen: Vec<String> = events()
        .iter()
        .map(|event| format!("{} {}", event["job"]["name"].as_str().unwrap(), event["eventType"].as_str().unwrap()))
        .collect();
    let (stream, embedded, postgres) = ("mta-turnstile", "mta-turnstile.load.embedded", "mta-turnstile.load.postgres");
    let expected = [
        format!("{stream} START"),
        format!("{stream} RUNNING"),
        format!("{embedded} START"),
        format!("{embedded} COMPLETE"),
        format!("{postgres} START"),
        format!("{postgres} FAIL"),
        format!("{stream} FAIL"),
    ];
    assert_eq!(seen, expected);
    assert_eq!(json(&run().end(0, LineageEnd::Aborted))["eventType"], "ABORT");
    assert_eq!(json(&run().end(0, LineageEnd::Complete))["eventType"], "COMPLETE");
}

#[test]
fn events_have_offsets_files_and_statistics_of_the_run_so_far() {
    let running = &events()[1];
    assert_eq!(running["run"]["runId"], Uuid::from_u128(7).to_string());
    assert_eq!(running["eventTime"], "2026-08-01T08:01:01Z");
    let input = &running["inputs"][0];
    assert_eq!((&input["namespace"], &input["name"]), (&"kafka://localhost:9092".into(), &"mta-turnstile".into()));
    let offsets = &input["inputFacets"]["turnstile_offsets"]["partitions"][0];
    assert_eq!(*offsets, serde_json::json!({"partition": 0, "firstOffset": 0, "nextOffset": 600}));
    let statistics = &input["inputFacets"]["inputStatistics"];
    assert_eq!((&statistics["rowCount"], &statistics["size"]), (&1_000.into(), &64_000.into()));
    let output = &running["outputs"][0];
    assert_eq!(output["facets"]["schema"]["fields"][1]["name"], "ENTRIES");
    let statistics = &output["outputFacets"]["outputStatistics"];
    assert_eq!((&statistics["rowCount"], &statistics["fileCount"]), (&160.into(), &6.into()));
    let files = &output["outputFacets"]["turnstile_files"];
    assert_eq!(files["files"].as_array().unwrap().len(), 6);
    assert_eq!(files["files"][0]["sources"][0]["lastOffset"], 599);
    let end = &events()[6];
    assert_eq!(end["run"]["facets"]["errorMessage"]["message"], "the lake is full");
    assert!(end["outputs"][0]["outputFacets"].get("turnstile_files").is_none(), "they were listed before");
}

#[test]
fn an_event_lists_a_bounded_number_of_files_and_counts_the_others() {
    let mut run = run();
    let mut report = commit(1);
    report.files = std::iter::repeat_n(report.files[0].clone(), MAX_LINEAGE_FILES + 5).collect();
    let event = json(&run.observe(EIGHT_US + 60 * SECOND_US, &TrackEvent::Committed(report))[0]);
    let files = &event["outputs"][0]["outputFacets"]["turnstile_files"];
    assert_eq!((files["files"].as_array().unwrap().len(), &files["omitted"]), (MAX_LINEAGE_FILES, &5.into()));
}

#[test]
fn a_file_gets_a_line_for_each_event_and_one_that_cannot_be_written_costs_events_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lineage.jsonl");
    let sink = LineageSink::file(&path);
    sink.send(&run().start(0));
    sink.send(&run().end(1, LineageEnd::Complete));
    let text = std::fs::read_to_string(&path).unwrap();
    let kinds: Vec<Value> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["eventType"].clone()).collect();
    assert_eq!(kinds, ["START", "COMPLETE"]);

    let nowhere = LineageSink::file(folder.path().join("no/such/folder"));
    nowhere.send(&run().start(0));
    assert_eq!((nowhere.counts().delivered, nowhere.counts().dropped), (0, 1));
}

#[tokio::test]
async fn an_endpoint_gets_each_event() {
    let server = TestServer::start(|_| 201).await;
    let url = Secret::new(server.url("/api/v1/lineage"));
    let sink = LineageSink::http(url, Vec::new(), &tokio::runtime::Handle::current()).unwrap();
    sink.send(&run().start(EIGHT_US));
    assert_eq!(sink.close(Duration::from_secs(10)).await.delivered, 1);
    let body: Value = serde_json::from_slice(&server.requests()[0].body).unwrap();
    assert_eq!(body["eventType"], "START");
}

/// Rebuilds each event with the classes of OpenLineage's own client, which refuse unknown and missing fields, and compares
/// each facet's schema with the one that the class has.
const MODEL: &str = r#"
import inspect, json, sys
import attr
from openlineage.client import event_v2, facet_v2
from openlineage.client.generated.base import BaseFacet, EventType

facet_v2.set_producer("unset")
modules = [getattr(facet_v2, name) for name in dir(facet_v2)]
classes = {}
for module in modules:
    if inspect.ismodule(module):
        for name, found in inspect.getmembers(module, inspect.isclass):
            classes[name] = found
nested = {
    "SchemaDatasetFacet": lambda f: {"fields": [classes["SchemaDatasetFacetFields"](**x) for x in f["fields"]]},
    "ParentRunFacet": lambda f: {"run": event_v2.Run(**f["run"]), "job": event_v2.Job(**f["job"])},
}

def facets(values, allowed):
    for key, facet in values.items():
        schema = facet["_schemaURL"]
        name = schema.rsplit("/", 1)[1]
        fields = {k: v for k, v in facet.items() if not k.startswith("_")}
        assert facet["_producer"].startswith("https://"), facet
        if key.startswith("turnstile_"):
            assert name.startswith("Turnstile") and name.endswith(allowed), facet
            continue
        found = classes[name]
        assert name.endswith(allowed), name
        found(**(nested[name](fields) if name in nested else fields), producer=facet["_producer"])
        assert found._get_schema() == schema, (found._get_schema(), schema)
        print(key)
    return {}

for line in sys.stdin:
    event = json.loads(line)
    assert event.pop("schemaURL") == event_v2.RunEvent._get_schema()
    event["run"]["facets"] = facets(event["run"]["facets"], "RunFacet")
    event["job"]["facets"] = facets(event["job"]["facets"], "JobFacet")
    for dataset in event["inputs"] + event["outputs"]:
        dataset["facets"] = facets(dataset["facets"], "DatasetFacet")
    for dataset in event["inputs"]:
        dataset["inputFacets"] = facets(dataset["inputFacets"], "InputDatasetFacet")
    for dataset in event["outputs"]:
        dataset["outputFacets"] = facets(dataset["outputFacets"], "OutputDatasetFacet")
    event_v2.RunEvent(
        eventType=EventType(event.pop("eventType")),
        run=event_v2.Run(**event.pop("run")),
        job=event_v2.Job(**event.pop("job")),
        inputs=[event_v2.InputDataset(**dataset) for dataset in event.pop("inputs")],
        outputs=[event_v2.OutputDataset(**dataset) for dataset in event.pop("outputs")],
        **event,
    )
"#;

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn the_model_of_openlineage_takes_every_event_and_facet() {
    let mut python = Command::new(turnstile_testkit::telemetry());
    let python = python.args(["-c", MODEL]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut python = python.spawn().unwrap();
    let lines: String = events().iter().map(|event| format!("{event}\n")).collect();
    python.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{lines}", String::from_utf8_lossy(&output.stderr));
    let checked = String::from_utf8(output.stdout).unwrap();
    for facet in
        ["nominalTime", "errorMessage", "processing_engine", "parent", "jobType", "sql", "schema", "dataSource"]
    {
        assert!(checked.lines().any(|line| line == facet), "{facet} was not checked:\n{checked}");
    }
    assert!(checked.contains("outputStatistics") && checked.contains("inputStatistics"), "{checked}");
}

#[test]
fn each_facet_of_ours_has_the_fields_that_its_published_schema_requires() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/lineage");
    let running = &events()[1];
    let facets = [
        &running["inputs"][0]["inputFacets"]["turnstile_offsets"],
        &running["outputs"][0]["outputFacets"]["turnstile_files"],
    ];
    for facet in facets {
        let url = facet["_schemaURL"].as_str().unwrap();
        let name = url.rsplit('/').next().unwrap();
        let file = url.strip_prefix(LINEAGE_PRODUCER).unwrap().split('#').next().unwrap();
        let text = std::fs::read_to_string(format!("{folder}{}", file.strip_prefix("/docs/lineage").unwrap())).unwrap();
        let schema: Value = serde_json::from_str(&text).unwrap();
        let own = &schema["$defs"][name]["allOf"][1];
        let properties: Vec<&String> = own["properties"].as_object().unwrap().keys().collect();
        let fields: Vec<&String> = facet.as_object().unwrap().keys().filter(|key| !key.starts_with('_')).collect();
        assert_eq!(fields, properties, "{name}");
        assert_eq!(schema["$id"], url.split('#').next().unwrap());
    }
}
