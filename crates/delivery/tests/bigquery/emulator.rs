//! What can be shown on a running emulator: loads, merges, positions, repetition.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use futures::TryStreamExt;
use serde_json::{Value, json};
use turnstile_delivery::bigquery::{BigQueryCredentials, BigQuerySettings, BigQueryTarget};
use turnstile_delivery::{
    Delivered, Delivery, RowSource, RowStream, Scope, TableChange, TableKind, Target, TargetError, TargetTable,
};

use crate::scene::{START, STEP, delivery, fact, fact_change, facts, position, station_change, stations, windows};

/// A dataset for one test.
pub(crate) struct Dataset {
    pub(crate) server: turnstile_testkit::BigQuery,
    pub(crate) name: String,
}

impl Dataset {
    pub(crate) fn new(story: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{story}_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self { server: turnstile_testkit::bigquery(), name }
    }

    pub(crate) fn settings(&self) -> BigQuerySettings {
        BigQuerySettings {
            endpoint: self.server.endpoint.clone(),
            credentials: BigQueryCredentials::None,
            retry_secs: 0,
            ..BigQuerySettings::new(self.server.project, &self.name)
        }
    }

    fn target(&self) -> BigQueryTarget {
        BigQueryTarget::new(self.settings()).unwrap()
    }

    /// The answer to a query; `{name}` stands for a table of the dataset. Null is shown as `null`.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let begin = format!("`{}.{}.", self.server.project, self.name);
        let sql = sql.replace('{', &begin).replace('}', "`");
        let url = format!("{}/bigquery/v2/projects/{}/queries", self.server.endpoint, self.server.project);
        let body = json!({"query": sql, "useLegacySql": false}).to_string();
        let asked = reqwest::Client::new().post(url).header("Content-Type", "application/json").body(body);
        let answer = asked.send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        // A query that fails is a job that failed: the emulator then answers with no rows and `errors`.
        assert!(answer["error"].is_null() && answer["errors"].is_null(), "{sql}: {answer}");
        let value = |value: &Value| value["v"].as_str().unwrap_or("null").to_owned();
        let rows = answer["rows"].as_array().cloned().unwrap_or_default();
        rows.iter().map(|row| row["f"].as_array().unwrap().iter().map(value).collect()).collect()
    }

    /// Names of the dataset's tables.
    async fn tables(&self) -> Vec<String> {
        let path = format!("projects/{}/datasets/{}", self.server.project, self.name);
        let url = format!("{}/bigquery/v2/{path}/tables?maxResults=1000", self.server.endpoint);
        let answer = reqwest::get(url).await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["error"].is_null() && answer["nextPageToken"].is_null(), "{answer}");
        let id = |table: &Value| table["tableReference"]["tableId"].as_str().unwrap().to_owned();
        answer["tables"].as_array().unwrap().iter().map(id).collect()
    }

    /// Station, number of the window, entries.
    async fn facts(&self) -> Vec<(String, i64, i64)> {
        let rows =
            self.rows("SELECT station, UNIX_MICROS(start_at), entries FROM {fact_turnstile} ORDER BY 2, 1").await;
        let number = |text: &str| text.parse::<i64>().unwrap();
        rows.iter().map(|row| (row[0].clone(), (number(&row[1]) - START) / STEP, number(&row[2]))).collect()
    }
}

fn owned(rows: &[(&str, i64, i64)]) -> Vec<(String, i64, i64)> {
    rows.iter().map(|row| (row.0.to_owned(), row.1, row.2)).collect()
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn windows_are_added_corrected_and_emptied() {
    let dataset = Dataset::new("windows");
    let mut target = dataset.target();
    assert_eq!(target.position().await.unwrap(), None);
    let first = [("A", 0, 1), ("B", 0, 2), ("A", 1, 3), ("A", 2, 4)];
    let made = target.apply(&delivery(0, 1, vec![fact_change(&[0, 1, 2], &first)])).await.unwrap();
    assert_eq!((made.already, made.rows), (false, 4));
    assert_eq!(dataset.facts().await, owned(&first));
    // Window 0 loses a station and gains one, window 1 is emptied, window 3 is new; window 2 is left alone.
    let second = [("A", 0, 10), ("C", 0, 20), ("A", 3, 30)];
    target.apply(&delivery(1, 2, vec![fact_change(&[0, 1, 3], &second)])).await.unwrap();
    assert_eq!(dataset.facts().await, owned(&[("A", 0, 10), ("C", 0, 20), ("A", 2, 4), ("A", 3, 30)]));
    target.apply(&delivery(2, 3, vec![fact_change(&[2, 3], &[])])).await.unwrap();
    assert_eq!(dataset.facts().await, owned(&[("A", 0, 10), ("C", 0, 20)]));
    assert_eq!(target.position().await.unwrap(), Some(position(3)));
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn keys_are_overwritten_and_everything_is_everything() {
    let dataset = Dataset::new("scopes");
    let mut target = dataset.target();
    let both = |keys: &[(i64, &str)], all: &[(i64, &str)]| {
        let keys = station_change(TableKind::Dimension, Scope::Keys, keys);
        vec![keys, station_change(TableKind::Table, Scope::Everything, all)]
    };
    target.apply(&delivery(0, 1, both(&[(1, "one"), (2, "two")], &[(1, "one"), (2, "two")]))).await.unwrap();
    target.apply(&delivery(1, 2, both(&[(2, "zwei"), (3, "drei")], &[(3, "drei")]))).await.unwrap();
    let kept = dataset.rows("SELECT station_id, name FROM {dim_station} ORDER BY 1").await;
    assert_eq!(kept, [["1", "one"], ["2", "zwei"], ["3", "drei"]]);
    assert_eq!(dataset.rows("SELECT station_id, name FROM {all_stations}").await, [["3", "drei"]]);
    target.apply(&delivery(2, 3, both(&[], &[]))).await.unwrap();
    assert_eq!(dataset.rows("SELECT COUNT(*) FROM {dim_station}").await, [["3"]]);
    assert_eq!(dataset.rows("SELECT COUNT(*) FROM {all_stations}").await, [["0"]]);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn rows_arrive_by_cloud_storage_by_one_request_and_in_parts() {
    let rows: Vec<(&'static str, i64, i64)> = (0..40_000).map(|n| ("A", n, n * 7_919 % 100_003)).collect();
    let numbers: Vec<i64> = (0..40_000).collect();
    for way in ["cloud", "request", "parts"] {
        let dataset = Dataset::new(way);
        let settings = match way {
            "cloud" => BigQuerySettings {
                stage: Some(format!("gs://{}/stage", dataset.name)),
                storage_root: Some(dataset.server.storage.clone()),
                part_bytes: 50_000,
                ..dataset.settings()
            },
            "request" => BigQuerySettings { part_bytes: 50_000, ..dataset.settings() },
            _ => BigQuerySettings { multipart_bytes: 10_000, upload_bytes: 256 << 10, ..dataset.settings() },
        };
        let change = TableChange { table: fact(), scope: windows(&numbers), rows: Arc::new(facts(&rows, 5_000)) };
        let made = BigQueryTarget::new(settings).unwrap().apply(&delivery(0, 1, vec![change])).await.unwrap();
        assert_eq!(made.rows, 40_000, "{way}");
        let sums = dataset.rows("SELECT COUNT(*), SUM(entries), COUNT(DISTINCT start_at) FROM {fact_turnstile}").await;
        let sum: i64 = rows.iter().map(|row| row.2).sum();
        assert_eq!(sums, [["40000".to_owned(), sum.to_string(), "40000".to_owned()]], "{way}");
        let mut left = dataset.tables().await;
        left.sort();
        assert_eq!(left, ["fact_turnstile", "turnstile_position"], "{way}: staging tables are gone");
    }
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_repeated_delivery_changes_nothing() {
    let dataset = Dataset::new("repeated");
    let load = delivery(0, 1, vec![fact_change(&[0], &[("A", 0, 1)])]);
    assert!(!dataset.target().apply(&load).await.unwrap().already);
    assert_eq!(dataset.target().apply(&load).await.unwrap(), Delivered { already: true, ..Delivered::default() });
    assert_eq!(dataset.facts().await, owned(&[("A", 0, 1)]));
}

/// Rows that are read only after another deliverer has come through: the worst moment, after the position was asked for
/// and before the script.
struct Overtaken {
    rows: Vec<RecordBatch>,
    settings: BigQuerySettings,
    by: Delivery,
}

impl RowSource for Overtaken {
    fn read(&self) -> RowStream {
        let (rows, settings, by) = (self.rows.clone(), self.settings.clone(), self.by.clone());
        let first = async move {
            BigQueryTarget::new(settings)?.apply(&by).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(futures::stream::iter(rows.into_iter().map(Ok)))
        };
        Box::pin(futures::stream::once(first).try_flatten())
    }

    fn count(&self) -> Option<u64> {
        None
    }
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_writer_that_was_overtaken_changes_nothing_and_reports_it() {
    let won = [("A", 0, 1), ("B", 0, 2)];
    for to in [1, 2] {
        let dataset = Dataset::new("overtaken");
        // The loser's rows differ from the winner's, also if both claim to be the same load.
        let rows = facts(&[("A", 0, 5)], 1);
        let by = delivery(0, 1, vec![fact_change(&[0], &won)]);
        let rows = Overtaken { rows, settings: dataset.settings(), by };
        let change = TableChange { table: fact(), scope: windows(&[0]), rows: Arc::new(rows) };
        match (to, dataset.target().apply(&delivery(0, to, vec![change])).await) {
            (1, Ok(delivered)) => assert!(delivered.already),
            (2, Err(TargetError::Moved { at, .. })) => assert_eq!(at, Some(position(1))),
            (to, other) => panic!("{to}: {other:?}"),
        }
        assert_eq!(dataset.facts().await, owned(&won));
        assert_eq!(dataset.target().position().await.unwrap(), Some(position(1)));
    }
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn deploying_twice_creates_once_and_other_columns_are_refused() {
    let dataset = Dataset::new("deploy");
    let tables = [fact(), stations(TableKind::Dimension)];
    let made = dataset.target().deploy(&tables, None).await.unwrap();
    assert_eq!(made, [dataset.name.as_str(), "fact_turnstile", "dim_station"]);
    assert!(dataset.target().deploy(&tables, None).await.unwrap().is_empty());
    let mut other = TargetTable::clone(&fact());
    let mut fields: Vec<Field> = other.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields[2] = Field::new("entries", DataType::Utf8, true);
    other.schema = Arc::new(Schema::new(fields));
    let error = dataset.target().deploy(&[Arc::new(other)], None).await.unwrap_err().to_string();
    assert!(error.contains("column entries should be STRING and is INTEGER"), "{error}");
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn every_type_arrives_as_it_was_sent() {
    let instant: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(START), None]).with_timezone("UTC"));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int32Array::from(vec![1, 2]))),
        ("text", Arc::new(StringArray::from(vec![Some("it's a \\ \"text\"\n"), None]))),
        ("amount", Arc::new(Decimal128Array::from(vec![Some(-125), None]).with_precision_and_scale(10, 2).unwrap())),
        ("ratio", Arc::new(Float64Array::from(vec![Some(0.1), None]))),
        ("open", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(20_666), None]))),
        ("instant", instant),
        ("local", Arc::new(TimestampMicrosecondArray::from(vec![Some(START + 1), None]))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, c)| (name, c, true))).unwrap();
    let table = Arc::new(TargetTable {
        name: "types".into(),
        description: String::new(),
        schema: batch.schema(),
        key: vec!["id".into()],
        kind: TableKind::Dimension,
    });
    let dataset = Dataset::new("types");
    let change = TableChange { table, scope: Scope::Keys, rows: Arc::new(vec![batch]) };
    dataset.target().apply(&delivery(0, 1, vec![change])).await.unwrap();
    let sql = "SELECT id, text, CAST(amount AS STRING), ratio, open, CAST(day AS STRING), UNIX_MICROS(instant), \
        CAST(local AS STRING) FROM {types} ORDER BY id";
    let rows = dataset.rows(sql).await;
    assert_eq!(rows[0][..2], ["1", "it's a \\ \"text\"\n"]);
    assert_eq!(rows[0][2].parse::<f64>().unwrap(), -1.25);
    assert_eq!(rows[0][3..7], ["0.1", "true", "2026-08-01", &START.to_string()]);
    assert!(rows[0][7].starts_with("2026-08-01") && rows[0][7].ends_with("00.000001"), "{}", rows[0][7]);
    assert_eq!(rows[1], ["2", "null", "null", "null", "null", "null", "null", "null"]);
}
