//! Who receives what a pipeline does: `[track]` with Prefect, OpenLineage and OpenTelemetry.

use std::collections::BTreeMap;
use std::path::PathBuf;

use turnstile_values::{DAY_US, SECOND_US};

use crate::endpoint::{PasswordSource, http_url, password_source};
use crate::file::Fault;
use crate::file::TomlNode;
use crate::file::read::{Faults, TableReader};

/// `[track]`: the names of flow and tasks, where runs are kept, and who else gets them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackSettings {
    /// The flow's name.
    pub flow: String,
    /// The name of the flows that only move messages to or from a topic: `turnstile produce` and `consume`.
    pub topic_flow: String,
    /// The names of its tasks.
    pub tasks: TaskNames,
    /// The file of the runs, relative to the pipeline file's folder. `None`: runs are not kept.
    pub store: Option<PathBuf>,
    /// How long runs are kept, microseconds.
    pub retain_us: i64,
    /// Runs that are kept at most.
    pub runs: u64,
    /// Log lines that are kept of one run, the newest.
    pub log_lines: u64,
    /// Events that wait for a tracker at most.
    pub queue: u64,
    /// `[track.prefect]`.
    pub prefect: Option<PrefectSection>,
    /// `[track.lineage]`.
    pub lineage: Option<LineageSettings>,
    /// `[track.otlp]`.
    pub otlp: Option<OtlpSection>,
}

/// The names of a flow's tasks: by default those of the system that this replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskNames {
    /// Messages are read.
    pub read: String,
    /// Windows are computed.
    pub aggregate: String,
    /// Files are published.
    pub write: String,
    /// The warehouse or a target is loaded.
    pub load: String,
    /// The models' tests ran.
    pub tests: String,
    /// Files were merged or deleted.
    pub retain: String,
    /// Messages are written to a topic.
    pub produce: String,
    /// Messages are read from a topic, and nothing is computed of them.
    pub consume: String,
}

/// `[track.prefect]`: a Prefect server or Prefect Cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefectSection {
    /// Its API, such as `http://127.0.0.1:4200/api`.
    pub api: String,
    /// The key: of Cloud, or `user:password` of a server. `None`: PREFECT_API_KEY or PREFECT_API_AUTH_STRING, if set.
    pub key: Option<PasswordSource>,
    /// Requests a minute at most.
    pub requests_per_minute: u64,
    /// Tags of its flow runs, beside the pipeline's name.
    pub tags: Vec<String>,
    /// What waits for delivery while Prefect is away, bytes on disk.
    pub spool_bytes: u64,
    /// A deployment whose scheduled runs load the warehouse.
    pub deployment: Option<String>,
    /// The work pool that the deployment's runs come from.
    pub work_pool: String,
}

/// `[track.lineage]`: where OpenLineage events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineageSettings {
    /// A file, relative to the pipeline file's folder, or an endpoint.
    pub to: LineageDestination,
    /// The namespace of the job.
    pub namespace: String,
}

/// A file or an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineageDestination {
    /// One JSON object a line is appended.
    File(PathBuf),
    /// Events are posted there, with a key if there is one.
    Http {
        /// The endpoint's full address.
        url: String,
        /// A bearer token.
        key: Option<PasswordSource>,
    },
}

/// `[track.otlp]`: where traces and metrics go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpSection {
    /// The receiver's address, without `/v1/traces`.
    pub endpoint: String,
    /// A header that it asks for, `name: value`.
    pub header: Option<PasswordSource>,
    /// How often metrics are sent, microseconds.
    pub interval_us: i64,
}

/// Where runs are kept when nothing is said.
const STORE: &str = "turnstile-data/runs.sqlite";

const RETAIN_US: i64 = 30 * DAY_US;
const RUNS: u64 = 1_000;
const LOG_LINES: u64 = 10_000;
const QUEUE: u64 = 8_192;
const REQUESTS_PER_MINUTE: u64 = 60;
const SPOOL_BYTES: u64 = 64 << 20;
const INTERVAL_US: i64 = 15 * SECOND_US;

impl Default for TaskNames {
    fn default() -> Self {
        Self {
            read: "Read data stream".to_owned(),
            aggregate: "Aggregate messages".to_owned(),
            write: "Write to Storage".to_owned(),
            load: "Load warehouse".to_owned(),
            tests: "Run tests".to_owned(),
            retain: "Retain".to_owned(),
            produce: "Produce messages".to_owned(),
            consume: "Consume messages".to_owned(),
        }
    }
}

impl Default for TrackSettings {
    fn default() -> Self {
        Self {
            flow: "MTA Spark Data Stream flow".to_owned(),
            topic_flow: "MTA - Kafka Data Stream flow".to_owned(),
            tasks: TaskNames::default(),
            store: Some(STORE.into()),
            retain_us: RETAIN_US,
            runs: RUNS,
            log_lines: LOG_LINES,
            queue: QUEUE,
            prefect: None,
            lineage: None,
            otlp: None,
        }
    }
}

pub(crate) fn read(node: &TomlNode, faults: &Faults) -> Option<TrackSettings> {
    let defaults = TrackSettings::default();
    let mut reader = TableReader::new(node, "track", faults)?;
    let flow = reader.text("flow").map_or(defaults.flow, |flow| flow.value);
    let topic_flow = reader.text("topic_flow").map_or(defaults.topic_flow, |flow| flow.value);
    let tasks = reader.node("tasks").and_then(|node| read_tasks(node, faults)).unwrap_or_default();
    let store = match reader.text("store").map(|store| store.value) {
        Some(word) if word == "off" => None,
        Some(path) => Some(path.into()),
        None => defaults.store,
    };
    let retain_us = reader.positive_duration("retain").unwrap_or(RETAIN_US);
    let runs = reader.count("runs").unwrap_or(RUNS);
    let log_lines = reader.count("log_lines").unwrap_or(LOG_LINES);
    let queue = reader.count("queue").unwrap_or(QUEUE);
    // A section that is there and wrong has been reported.
    let prefect = reader.node("prefect").and_then(|node| read_prefect(node, faults));
    let lineage = reader.node("lineage").and_then(|node| read_lineage(node, faults));
    let otlp = reader.node("otlp").and_then(|node| read_otlp(node, faults));
    reader.finish();
    Some(TrackSettings { flow, topic_flow, tasks, store, retain_us, runs, log_lines, queue, prefect, lineage, otlp })
}

fn read_tasks(node: &TomlNode, faults: &Faults) -> Option<TaskNames> {
    let defaults = TaskNames::default();
    let mut reader = TableReader::new(node, "track.tasks", faults)?;
    let mut name = |key, default| reader.text(key).map_or(default, |name| name.value);
    let names = TaskNames {
        read: name("read", defaults.read),
        aggregate: name("aggregate", defaults.aggregate),
        write: name("write", defaults.write),
        load: name("load", defaults.load),
        tests: name("tests", defaults.tests),
        retain: name("retain", defaults.retain),
        produce: name("produce", defaults.produce),
        consume: name("consume", defaults.consume),
    };
    reader.finish();
    Some(names)
}

const URL_HINT: &str = "write http://host:port or https://host, and the path behind it";

fn read_prefect(node: &TomlNode, faults: &Faults) -> Option<PrefectSection> {
    let mut reader = TableReader::new(node, "track.prefect", faults)?;
    let api = reader.parsed("api", "write http://127.0.0.1:4200/api, or that of your workspace", http_url);
    let api = reader.required("api", api);
    let key = password_source(&mut reader, "key", "key_env", "key_file");
    let requests_per_minute = reader.count("requests_per_minute").unwrap_or(REQUESTS_PER_MINUTE);
    let tags = reader.texts("tags");
    let spool_bytes = reader.bytes("spool").unwrap_or(SPOOL_BYTES);
    let deployment = reader.text("deployment").map(|name| name.value);
    let work_pool = reader.text("work_pool").map_or_else(|| "turnstile".to_owned(), |name| name.value);
    reader.finish();
    let api = api?.value;
    let key = key.map(|key| key.value);
    Some(PrefectSection { api, key, requests_per_minute, tags, spool_bytes, deployment, work_pool })
}

fn read_lineage(node: &TomlNode, faults: &Faults) -> Option<LineageSettings> {
    let mut reader = TableReader::new(node, "track.lineage", faults)?;
    let file = reader.text("file");
    let url = reader.parsed("url", URL_HINT, http_url);
    let key = password_source(&mut reader, "key", "key_env", "key_file");
    let namespace = reader.text("namespace").map_or_else(|| "turnstile".to_owned(), |name| name.value);
    let to = match (file, url, key) {
        (Some(file), None, None) => Some(LineageDestination::File(file.value.into())),
        (None, Some(url), key) => Some(LineageDestination::Http { url: url.value, key: key.map(|key| key.value) }),
        (Some(_), None, Some(key)) => {
            reader.fault(Fault::new(&key.at, "a file needs no key"));
            None
        }
        _ if reader.has("url") && !reader.has("file") => None,
        _ => {
            let fault = Fault::new(reader.at(), "[track.lineage] needs either file or url");
            reader.fault(fault.hint("file = \"lineage.jsonl\", or url = \"http://localhost:5000/api/v1/lineage\""));
            None
        }
    };
    reader.finish();
    Some(LineageSettings { to: to?, namespace })
}

fn read_otlp(node: &TomlNode, faults: &Faults) -> Option<OtlpSection> {
    let mut reader = TableReader::new(node, "track.otlp", faults)?;
    let endpoint = reader.parsed("endpoint", "write http://localhost:4318, the receiver's HTTP address", http_url);
    let endpoint = reader.required("endpoint", endpoint);
    let header = password_source(&mut reader, "header", "header_env", "header_file");
    let interval_us = reader.positive_duration("interval").unwrap_or(INTERVAL_US);
    reader.finish();
    Some(OtlpSection { endpoint: endpoint?.value, header: header.map(|header| header.value), interval_us })
}

impl TrackSettings {
    /// What a person may see of them: no secret is among them.
    pub fn describe(&self) -> BTreeMap<&'static str, String> {
        let mut all = BTreeMap::from([("flow", self.flow.clone())]);
        let store = self.store.as_ref().map_or_else(|| "off".to_owned(), |path| path.display().to_string());
        all.insert("store", store);
        if let Some(prefect) = &self.prefect {
            all.insert("prefect", prefect.api.clone());
        }
        all
    }
}
