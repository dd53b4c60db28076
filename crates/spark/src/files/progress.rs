//! The progress of a batch, as the query reports it. It is kept in the driver's memory only, and not for long.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::UnknownFormat;

const WHAT: &str = "a batch's progress";

/// What a query says of a batch that it has executed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchProgress {
    /// Which.
    pub batch: u64,
    /// How long it took, milliseconds.
    pub took_ms: u64,
    /// Messages of the source. 0 as well if the batch was already in the sink when the query was started again.
    pub input_rows: u64,
    /// Rows that came after the watermark and were dropped, by stateful operator, in the order of the plan from its end: Spark
    /// counts them before the last operator as rows of messages only if no aggregation went before.
    pub dropped_by_watermark: Vec<(String, u64)>,
    /// Rows that were dropped as duplicates.
    pub duplicates: u64,
    /// Bytes of memory that the states take.
    pub state_bytes: u64,
    /// What was observed: by name and alias.
    pub observed: BTreeMap<String, BTreeMap<String, Option<i64>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    batch_id: u64,
    #[serde(default)]
    duration_ms: BTreeMap<String, u64>,
    #[serde(default)]
    state_operators: Vec<StateOperator>,
    #[serde(default)]
    sources: Vec<ProgressSource>,
    #[serde(default)]
    observed_metrics: BTreeMap<String, ObservedRow>,
}

/// A row, as Spark Connect writes it.
#[derive(Deserialize)]
struct ObservedRow {
    values: Vec<Value>,
    schema: RowSchema,
}

#[derive(Deserialize)]
struct RowSchema {
    fields: Vec<RowField>,
}

#[derive(Deserialize)]
struct RowField {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StateOperator {
    operator_name: String,
    #[serde(default)]
    num_rows_dropped_by_watermark: u64,
    #[serde(default)]
    memory_used_bytes: u64,
    #[serde(default)]
    custom_metrics: BTreeMap<String, i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProgressSource {
    #[serde(default)]
    num_input_rows: u64,
}

impl BatchProgress {
    /// Reads Spark's JSON; `None`: nothing was executed, the query waits.
    ///
    /// # Errors
    /// It is not what Spark 4 writes.
    pub fn parse(json: &str) -> Result<Option<Self>, UnknownFormat> {
        let read: Progress = serde_json::from_str(json).map_err(|error| UnknownFormat::new(WHAT, error))?;
        if !read.duration_ms.contains_key("addBatch") {
            return Ok(None);
        }
        let operators = &read.state_operators;
        let numbers = |row: ObservedRow| {
            let names = row.schema.fields.into_iter().map(|field| field.name);
            names.zip(row.values.iter().map(Value::as_i64)).collect()
        };
        Ok(Some(Self {
            batch: read.batch_id,
            took_ms: read.duration_ms.get("triggerExecution").copied().unwrap_or_default(),
            input_rows: read.sources.iter().map(|source| source.num_input_rows).sum(),
            dropped_by_watermark: operators
                .iter()
                .map(|operator| (operator.operator_name.clone(), operator.num_rows_dropped_by_watermark))
                .collect(),
            duplicates: operators
                .iter()
                .filter_map(|operator| operator.custom_metrics.get("numDroppedDuplicateRows"))
                .map(|rows| (*rows).max(0) as u64)
                .sum(),
            state_bytes: operators.iter().map(|operator| operator.memory_used_bytes).sum(),
            observed: read.observed_metrics.into_iter().map(|(name, values)| (name, numbers(values))).collect(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shortened from what Spark 4.2 reported.
    const EXECUTED: &str = r#"{
      "id": "dd024d7e", "runId": "e640366f", "name": "turnstile p", "timestamp": "2026-11-30T18:04:12.351Z",
      "batchId": 2, "batchDuration": 10426,
      "durationMs": { "triggerExecution": 10426, "addBatch": 9762, "walCommit": 91 },
      "eventTime": { "watermark": "2026-08-01T03:56:59.000Z" },
      "stateOperators": [
        { "operatorName": "stateStoreSave", "numRowsDroppedByWatermark": 1, "memoryUsedBytes": 788240,
          "customMetrics": { "loadedMapCacheHitCount": 3 } },
        { "operatorName": "dedupeWithinWatermark", "numRowsDroppedByWatermark": 4, "memoryUsedBytes": 43800984,
          "customMetrics": { "numDroppedDuplicateRows": 9 } } ],
      "sources": [ { "description": "KafkaV2[Subscribe[t]]", "endOffset": "{\"t\":{\"0\":5}}", "numInputRows": 60000 } ],
      "sink": { "description": "FileSink[file:/x]", "numOutputRows": -1 },
      "observedMetrics": { "turnstile_stream": { "values": [59987, null],
        "schema": { "type": "struct", "fields": [ { "name": "rows", "type": "long", "nullable": false, "metadata": {} },
          { "name": "newest_us", "type": "long", "nullable": true, "metadata": {} } ] } } } }"#;

    #[test]
    fn a_batch_has_counts() {
        let read = BatchProgress::parse(EXECUTED).unwrap().unwrap();
        assert_eq!((read.batch, read.took_ms, read.input_rows), (2, 10_426, 60_000));
        let dropped = [("stateStoreSave".to_owned(), 1), ("dedupeWithinWatermark".to_owned(), 4)];
        assert_eq!((read.dropped_by_watermark.as_slice(), read.duplicates), (&dropped[..], 9));
        assert_eq!(read.state_bytes, 788_240 + 43_800_984);
        assert_eq!(
            read.observed["turnstile_stream"],
            [("rows".to_owned(), Some(59_987)), ("newest_us".to_owned(), None)].into()
        );
    }

    #[test]
    fn a_query_that_waits_has_no_batch() {
        let idle = EXECUTED.replace(r#" "addBatch": 9762,"#, "");
        assert_eq!(BatchProgress::parse(&idle).unwrap(), None);
        assert!(BatchProgress::parse("{}").is_err());
    }
}
