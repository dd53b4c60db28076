//! The facets that events have.
//!
//! Source: OpenLineage 2-0-2, `spec/OpenLineage.json` (`BaseFacet`) and `spec/facets/*.json` in the versions named here; those of
//! ours are in docs/lineage.

use serde_json::{Map, Value, json};
use turnstile_message::OffsetRange;
use turnstile_values::human;
use uuid::Uuid;

use super::dataset::LineageDataset;

/// Names the files of `docs/lineage` and identifies turnstile in events. Not an address to fetch.
pub const LINEAGE_PRODUCER: &str = "https://turnstile.invalid";

const SPECIFICATION: &str = "https://openlineage.io/spec/facets";
/// Of the schemas in docs/lineage.
const OWN_VERSION: &str = "1-0-0";

/// Facets by their keys.
pub(super) type Facets = Map<String, Value>;

/// A facet of OpenLineage: its fields, and where its schema is.
fn facet(version: &str, name: &str, fields: Value) -> Value {
    with_base(format!("{SPECIFICATION}/{version}/{name}.json#/$defs/{name}"), fields)
}

/// A facet of turnstile.
fn own_facet(name: &str, fields: Value) -> Value {
    with_base(format!("{LINEAGE_PRODUCER}/docs/lineage/{OWN_VERSION}/{name}.json#/$defs/{name}"), fields)
}

fn with_base(schema: String, mut fields: Value) -> Value {
    fields["_producer"] = LINEAGE_PRODUCER.into();
    fields["_schemaURL"] = schema.into();
    fields
}

pub(super) fn nominal_time(start_us: i64) -> Value {
    facet("1-0-1", "NominalTimeRunFacet", json!({"nominalStartTime": human::instant(start_us)}))
}

pub(super) fn error_message(message: &str) -> Value {
    facet("1-0-1", "ErrorMessageRunFacet", json!({"message": message, "programmingLanguage": "RUST"}))
}

pub(super) fn processing_engine(version: &str) -> Value {
    let fields = json!({"version": version, "name": "turnstile", "openlineageAdapterVersion": version});
    facet("1-1-1", "ProcessingEngineRunFacet", fields)
}

pub(super) fn parent(run: Uuid, namespace: &str, job: &str) -> Value {
    let fields = json!({"run": {"runId": run}, "job": {"namespace": namespace, "name": job}});
    facet("1-2-0", "ParentRunFacet", fields)
}

pub(super) fn job_type(processing: &str, job: &str) -> Value {
    let fields = json!({"processingType": processing, "integration": "TURNSTILE", "jobType": job});
    facet("2-0-4", "JobTypeJobFacet", fields)
}

pub(super) fn sql(query: &str) -> Value {
    facet("1-1-0", "SQLJobFacet", json!({"query": query, "dialect": "spark"}))
}

/// `schema` and `dataSource` of a dataset.
pub(super) fn of_dataset(dataset: &LineageDataset) -> Facets {
    let source = json!({"name": dataset.namespace, "uri": dataset.namespace});
    let mut facets = Facets::new();
    facets.insert("dataSource".into(), facet("1-0-1", "DatasourceDatasetFacet", source));
    if let Some(columns) = &dataset.schema {
        let fields: Vec<_> = columns
            .iter()
            .enumerate()
            .map(|(at, (name, kind))| json!({"name": name, "type": kind, "ordinal_position": at + 1}))
            .collect();
        facets.insert("schema".into(), facet("1-2-0", "SchemaDatasetFacet", json!({"fields": fields})));
    }
    facets
}

pub(super) fn input_statistics(rows: u64, bytes: u64) -> Value {
    facet("1-0-0", "InputStatisticsInputDatasetFacet", json!({"rowCount": rows, "size": bytes}))
}

pub(super) fn output_statistics(rows: u64, bytes: Option<u64>, files: Option<u64>) -> Value {
    let mut fields = json!({"rowCount": rows});
    if let Some(bytes) = bytes {
        fields["size"] = bytes.into();
    }
    if let Some(files) = files {
        fields["fileCount"] = files.into();
    }
    facet("1-0-2", "OutputStatisticsOutputDatasetFacet", fields)
}

/// Offsets of a topic that the run has committed: partition, first (`None`: unknown), next.
pub(super) fn offsets(partitions: &[(i32, Option<i64>, i64)]) -> Value {
    let partitions: Vec<_> = partitions
        .iter()
        .map(|(partition, first, next)| json!({"partition": partition, "firstOffset": first, "nextOffset": next}))
        .collect();
    own_facet("TurnstileOffsetsInputDatasetFacet", json!({"partitions": partitions}))
}

/// A published file, as the facet lists it.
pub(super) fn file(name: &str, rows: u64, bytes: u64, sources: &[OffsetRange]) -> Value {
    let sources: Vec<_> = sources
        .iter()
        .map(|range| {
            json!({
                "topic": &*range.partition.topic, "partition": range.partition.partition,
                "firstOffset": range.first, "lastOffset": range.last, "messages": range.messages,
            })
        })
        .collect();
    json!({"name": name, "rows": rows, "bytes": bytes, "sources": sources})
}

/// The files published since the event before; `omitted` more are not listed.
pub(super) fn files(files: &[Value], omitted: u64) -> Value {
    own_facet("TurnstileFilesOutputDatasetFacet", json!({"files": files, "omitted": omitted}))
}
