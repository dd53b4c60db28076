//! One event, as it is sent.
//!
//! Source: OpenLineage 2-0-2, `spec/OpenLineage.json`, `RunEvent`.

use serde::Serialize;
use serde_json::Map;
use turnstile_values::human;
use uuid::Uuid;

use super::dataset::LineageDataset;
use super::facet::{self, Facets, LINEAGE_PRODUCER};

const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

/// A run event. Its JSON is what OpenLineage's endpoints take.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LineageEvent {
    event_time: String,
    event_type: LineageEventType,
    run: LineageRunPart,
    job: LineageJobPart,
    inputs: Vec<LineageInput>,
    outputs: Vec<LineageOutput>,
    producer: &'static str,
    #[serde(rename = "schemaURL")]
    schema_url: &'static str,
}

/// The transition that an event reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LineageEventType {
    /// The run began.
    Start,
    /// It goes on.
    Running,
    /// It ended as it should.
    Complete,
    /// It ended with an error.
    Fail,
    /// It was asked to end.
    Abort,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct LineageRunPart {
    run_id: Uuid,
    facets: Facets,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct LineageJobPart {
    namespace: String,
    name: String,
    facets: Facets,
}

/// A dataset that was read.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LineageInput {
    namespace: String,
    name: String,
    facets: Facets,
    input_facets: Facets,
}

/// A dataset that was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LineageOutput {
    namespace: String,
    name: String,
    facets: Facets,
    output_facets: Facets,
}

impl LineageEvent {
    /// An event of a run of `job` without datasets.
    pub(super) fn new(at_us: i64, kind: LineageEventType, run: Uuid, job: (&str, &str)) -> Self {
        Self {
            event_time: human::instant(at_us),
            event_type: kind,
            run: LineageRunPart { run_id: run, facets: Map::new() },
            job: LineageJobPart { namespace: job.0.to_owned(), name: job.1.to_owned(), facets: Map::new() },
            inputs: Vec::new(),
            outputs: Vec::new(),
            producer: LINEAGE_PRODUCER,
            schema_url: SCHEMA,
        }
    }

    pub(super) fn run_facet(mut self, key: &str, facet: serde_json::Value) -> Self {
        self.run.facets.insert(key.to_owned(), facet);
        self
    }

    pub(super) fn job_facet(mut self, key: &str, facet: serde_json::Value) -> Self {
        self.job.facets.insert(key.to_owned(), facet);
        self
    }

    pub(super) fn input(mut self, dataset: &LineageDataset, input_facets: Facets) -> Self {
        let (namespace, name) = (dataset.namespace.clone(), dataset.name.clone());
        self.inputs.push(LineageInput { namespace, name, facets: facet::of_dataset(dataset), input_facets });
        self
    }

    pub(super) fn output(mut self, dataset: &LineageDataset, output_facets: Facets) -> Self {
        let (namespace, name) = (dataset.namespace.clone(), dataset.name.clone());
        self.outputs.push(LineageOutput { namespace, name, facets: facet::of_dataset(dataset), output_facets });
        self
    }

    /// What it reports.
    pub fn event_type(&self) -> LineageEventType {
        self.event_type
    }
}
