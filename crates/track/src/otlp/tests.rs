//! What a collector receives.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use turnstile_values::Secret;
use uuid::Uuid;

use super::messages::{Span, TraceRequest};
use super::*;
use crate::event::CommitReport;
use crate::test_events::{EIGHT_US, SECOND_US, all, commit, load};
use crate::test_server::TestServer;

fn resource() -> OtlpResource {
    let (pipeline, version) = ("mta-turnstile".to_owned(), "0.1.0".to_owned());
    OtlpResource { pipeline, version, run: Uuid::from_u128(7 << 64 | 9), host: Some("batch-2".into()) }
}

fn spans(request: Option<TraceRequest>) -> Vec<Span> {
    request.map(|request| request.resource_spans[0].scope_spans[0].spans.clone()).unwrap_or_default()
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

#[test]
fn a_commit_that_published_is_a_trace_of_its_steps_one_after_another() {
    let mut flow = FlowSpans::new(resource());
    let spans = spans(flow.observe(EIGHT_US, &TrackEvent::Committed(commit(1))));
    assert_eq!(names(&spans), ["checkpoint", "read", "cut", "commit", "publish"]);
    let root = &spans[0];
    assert_eq!((root.trace_id.len(), root.span_id.len(), root.parent_span_id.len()), (16, 8, 0));
    for (before, after) in spans[1..].iter().zip(&spans[2..]) {
        assert_eq!(before.end_time_unix_nano, after.start_time_unix_nano);
    }
    for step in &spans[1..] {
        assert_eq!((&step.trace_id, &step.parent_span_id), (&root.trace_id, &root.span_id));
        assert!(
            step.start_time_unix_nano >= root.start_time_unix_nano
                && step.end_time_unix_nano <= root.end_time_unix_nano
        );
    }
    let ids: std::collections::BTreeSet<_> = spans.iter().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), spans.len());
}

#[test]
fn a_commit_that_published_nothing_has_no_trace() {
    let mut flow = FlowSpans::new(resource());
    let nothing = CommitReport { files: Vec::new(), ..commit(1) };
    assert!(flow.observe(0, &TrackEvent::Committed(nothing)).is_none());
    assert!(flow.observe(0, &TrackEvent::Loaded(load("embedded", 1))).is_none(), "and so has its load");
}

#[test]
fn loads_and_deliveries_join_the_trace_of_the_commit_that_they_loaded() {
    let mut flow = FlowSpans::new(resource());
    let first = spans(flow.observe(0, &TrackEvent::Committed(commit(1))));
    let nothing = CommitReport { files: Vec::new(), ..commit(2) };
    flow.observe(0, &TrackEvent::Committed(nothing));
    let loaded = spans(flow.observe(0, &TrackEvent::Loaded(load("embedded", 2))));
    let delivered = spans(flow.observe(0, &TrackEvent::Loaded(load("postgres", 2))));
    assert_eq!((names(&loaded), names(&delivered)), (vec!["load"], vec!["deliver"]));
    for span in loaded.iter().chain(&delivered) {
        assert_eq!((&span.trace_id, &span.parent_span_id), (&first[0].trace_id, &first[0].span_id));
    }
    assert_ne!(loaded[0].span_id, delivered[0].span_id);
    let next = spans(flow.observe(0, &TrackEvent::Committed(commit(3))));
    assert_ne!(next[0].trace_id, first[0].trace_id);
}

#[test]
fn retries_are_events_of_the_commit_that_succeeded_after_them() {
    let mut flow = FlowSpans::new(resource());
    for _ in 0..100 {
        flow.observe(EIGHT_US, &TrackEvent::Retried { action: "commit", cause: "503".into() });
    }
    let spans = spans(flow.observe(EIGHT_US, &TrackEvent::Committed(commit(1))));
    let commit = spans.iter().find(|span| span.name == "commit").unwrap();
    assert_eq!((commit.events.len(), commit.events[0].name.as_str()), (16, "retry"));
}

#[test]
fn without_measured_steps_a_trace_has_those_that_are_known() {
    let mut flow = FlowSpans::new(resource());
    let unmeasured = CommitReport { phases: None, ..commit(1) };
    let at_us = unmeasured.committed_at_us + 30_000;
    let spans = spans(flow.observe(at_us, &TrackEvent::Committed(unmeasured)));
    assert_eq!(names(&spans), ["checkpoint", "commit", "publish"]);
    assert_eq!(spans[0].end_time_unix_nano - spans[0].start_time_unix_nano, 80_000_000);
}

/// Sends a whole run to a server; the bodies for traces and for metrics.
async fn sent() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let server = TestServer::start(|_| 200).await;
    let headers = vec![("authorization".to_owned(), Secret::new("Bearer hush-hush"))];
    let settings = OtlpSettings { endpoint: Secret::new(server.url("/base/")), headers };
    let exporter = OtlpExporter::start(&settings, resource(), &tokio::runtime::Handle::current()).unwrap();
    let metrics = Metrics::new("mta-turnstile", "0.1.0", EIGHT_US);
    for (at_us, event) in all() {
        exporter.observe(at_us, &event);
        metrics.observe(at_us, &event);
    }
    exporter.send_metrics(EIGHT_US + 10 * SECOND_US, &metrics);
    assert!(!format!("{exporter:?}{settings:?}").contains("hush"));
    let (traces, measured) = exporter.close(Duration::from_secs(10)).await;
    assert_eq!((traces.delivered, measured.delivered), (2, 1));
    let bodies = |path: &str| {
        let requests = server.requests().into_iter().filter(|request| request.target == path);
        let checked = requests.inspect(|request| {
            assert_eq!(request.header("content-type"), "application/x-protobuf");
            assert_eq!(request.header("authorization"), "Bearer hush-hush");
        });
        checked.map(|request| request.body).collect()
    };
    (bodies("/base/v1/traces"), bodies("/base/v1/metrics"))
}

/// Parses a request of the kind named by the argument from standard input and prints it as JSON.
const PARSER: &str = "
import sys
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
request = {'traces': ExportTraceServiceRequest, 'metrics': ExportMetricsServiceRequest}[sys.argv[1]]()
request.ParseFromString(sys.stdin.buffer.read())
size = request.ByteSize()
request.DiscardUnknownFields()
assert request.ByteSize() == size, 'unknown fields'
print(MessageToJson(request))
";

fn parsed(kind: &str, body: &[u8]) -> Value {
    let mut python = Command::new(turnstile_testkit::telemetry());
    let python = python.args(["-c", PARSER, kind]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut python = python.spawn().unwrap();
    python.stdin.take().unwrap().write_all(body).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn attribute<'a>(of: &'a Value, key: &str) -> &'a Value {
    let attributes = of["attributes"].as_array().unwrap();
    &attributes.iter().find(|attribute| attribute["key"] == key).unwrap_or_else(|| panic!("no {key} in {of}"))["value"]
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn the_messages_of_opentelemetry_read_the_traces_that_are_sent() {
    let (traces, _) = sent().await;
    let commit = parsed("traces", &traces[0]);
    let resource = &commit["resourceSpans"][0];
    assert_eq!(attribute(&resource["resource"], "service.name")["stringValue"], "turnstile");
    let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap();
    let root = spans.iter().find(|span| span["name"] == "checkpoint").unwrap();
    assert_eq!(attribute(root, "turnstile.pipeline")["stringValue"], "mta-turnstile");
    assert_eq!(attribute(root, "turnstile.seq")["intValue"], "1");
    assert_eq!(attribute(root, "turnstile.rows")["intValue"], "80");
    let offsets = &attribute(root, "turnstile.offsets")["arrayValue"]["values"];
    assert_eq!(offsets[0]["stringValue"], "mta-turnstile[0]@0..=599");
    let written = spans.iter().find(|span| span["name"] == "commit").unwrap();
    assert_eq!(written["events"][0]["name"], "retry");
    let load = parsed("traces", &traces[1]);
    let span = &load["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!((&span["name"], &span["parentSpanId"]), (&"load".into(), &root["spanId"]));
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn the_messages_of_opentelemetry_read_the_metrics_that_are_sent_which_are_those_of_prometheus() {
    let (_, metrics) = sent().await;
    let request = parsed("metrics", &metrics[0]);
    let metrics = request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
    let named =
        |name: &str| metrics.iter().find(|metric| metric["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    // All but what no event of that run gives a value: listeners that lost events.
    let (sent, known) = (metrics.len(), crate::metrics::METRICS.len());
    assert_eq!(sent, known - 1);

    let bytes = named("turnstile_read_bytes");
    assert_eq!((&bytes["unit"], &bytes["sum"]["isMonotonic"]), (&"By".into(), &true.into()));
    let point = &bytes["sum"]["dataPoints"][0];
    assert_eq!((&point["asInt"], &point["startTimeUnixNano"]), (&"64000".into(), &"1785571200000000000".into()));
    let fates = &named("turnstile_messages")["sum"]["dataPoints"];
    assert_eq!(attribute(&fates[0], "fate")["stringValue"], "aggregated");
    assert!(fates[0].get("startTimeUnixNano").is_none(), "the ledger's counts began before the process");

    let histogram = &named("turnstile_commit_duration_seconds")["histogram"];
    assert_eq!(histogram["aggregationTemporality"], "AGGREGATION_TEMPORALITY_CUMULATIVE");
    let point = &histogram["dataPoints"][0];
    let lengths = ["bucketCounts", "explicitBounds"].map(|key| point[key].as_array().unwrap().len());
    assert_eq!(lengths[0], lengths[1] + 1);
    assert_eq!(point["count"], "1");
}
