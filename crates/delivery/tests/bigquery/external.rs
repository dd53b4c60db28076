//! Deploying, and the external table. Against `RecordingApi`: the emulator takes an external table and answers no rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use serde_json::json;
use turnstile_delivery::bigquery::{BigQuerySettings, BigQueryTarget, ExternalFiles, ExternalFormat, ExternalTable};

use crate::recording::{RecordedRequest, RecordingApi, Reply};
use crate::scene::fact;

fn table(files: ExternalFiles) -> ExternalTable {
    let fields = vec![Field::new("STATION", DataType::Utf8, true), Field::new("ENTRIES", DataType::Int64, true)];
    ExternalTable {
        name: "ext_turnstile".into(),
        description: "The lake's files.".into(),
        url: "gs://lake/turnstile".into(),
        format: ExternalFormat::CsvGz,
        schema: Arc::new(Schema::new(fields)),
        index_column: true,
        files,
    }
}

#[tokio::test]
async fn deploying_creates_what_is_missing_and_names_it() {
    let missing = |asked: &RecordedRequest, _| {
        let nothing = asked.path.ends_with("/datasets/d") || asked.path.ends_with("/turnstile_position");
        (asked.method == "GET" && nothing).then(|| Reply::error(404, "notFound", "Not found"))
    };
    let api = RecordingApi::start(0, missing).await;
    let mut target = BigQueryTarget::new(api.settings()).unwrap();
    let made = target.deploy(&[fact()], Some(&table(ExternalFiles::All))).await.unwrap();
    assert_eq!(made, ["d", "fact_turnstile", "ext_turnstile"]);
    let asked = api.asked();
    let sql: Vec<String> = asked.iter().map(RecordedRequest::sql).filter(|sql| !sql.is_empty()).collect();
    assert!(sql.len() == 1 && sql[0].starts_with("CREATE TABLE IF NOT EXISTS `p.d.turnstile_position`"), "{sql:?}");
    let external = asked.iter().rfind(|asked| asked.is("POST", "/tables")).unwrap().json();
    assert_eq!(
        external["externalDataConfiguration"],
        json!({
            "sourceUris": ["gs://lake/turnstile/*.csv.gz"],
            "fileSetSpecType": "FILE_SET_SPEC_TYPE_FILE_SYSTEM_MATCH",
            "sourceFormat": "CSV", "compression": "GZIP", "autodetect": false, "maxBadRecords": 0,
            "csvOptions": {"skipLeadingRows": "1", "encoding": "UTF-8", "allowQuotedNewlines": true},
            "schema": {"fields": [
                {"name": "int64_field_0", "type": "INTEGER", "mode": "NULLABLE"},
                {"name": "STATION", "type": "STRING", "mode": "NULLABLE"},
                {"name": "ENTRIES", "type": "INTEGER", "mode": "NULLABLE"},
            ]},
        })
    );
}

#[tokio::test]
async fn a_plan_shows_every_request_and_sends_none() {
    let api = RecordingApi::start(0, |_, _| None).await;
    let target = BigQueryTarget::new(api.settings()).unwrap();
    let plan = target.plan(&[fact()], Some(&table(ExternalFiles::All))).unwrap();
    for part in [
        "POST /bigquery/v2/projects/p/datasets\n",
        "POST /bigquery/v2/projects/p/datasets/d/tables\n",
        "CREATE TABLE IF NOT EXISTS `p.d.turnstile_position`",
        "\"fact_turnstile\"",
        "gs://lake/turnstile/*.csv.gz",
    ] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    assert!(api.asked().is_empty());
}

#[tokio::test]
async fn a_list_of_current_files_is_written_before_the_table_that_reads_it() {
    let root = tempfile::tempdir().unwrap();
    let list = root.path().join("lake/turnstile/_bigquery/ext_turnstile.files");
    let (seen, path) = (Arc::new(parking_lot::Mutex::new(None)), list.clone());
    let noted = Arc::clone(&seen);
    let api = RecordingApi::start(1, move |asked, _| {
        if asked.is("POST", "/tables") {
            *noted.lock() = std::fs::read_to_string(&path).ok();
        }
        None
    })
    .await;
    let settings = BigQuerySettings { storage_root: Some(root.path().into()), ..api.settings() };
    let mut target = BigQueryTarget::new(settings).unwrap();
    let first = ExternalFiles::Listed(vec!["date=2026-08-01/t_a.csv.gz".into(), "date=2026-08-01/t_b.csv.gz".into()]);
    target.deploy(&[], Some(&table(first))).await.unwrap();
    let text = "gs://lake/turnstile/date=2026-08-01/t_a.csv.gz\ngs://lake/turnstile/date=2026-08-01/t_b.csv.gz\n";
    assert_eq!(seen.lock().as_deref(), Some(text));
    let corrected = ExternalFiles::Listed(vec!["date=2026-08-01/t_a_v2.csv.gz".into()]);
    target.list_files(&table(corrected)).await.unwrap();
    assert_eq!(std::fs::read_to_string(list).unwrap(), "gs://lake/turnstile/date=2026-08-01/t_a_v2.csv.gz\n");
}

#[tokio::test]
async fn an_external_table_over_other_files_is_changed_and_one_with_other_columns_refused() {
    let there = |fields: serde_json::Value| {
        move |asked: &RecordedRequest, _: usize| {
            let configuration = json!({"sourceUris": ["gs://old/x*"], "schema": {"fields": fields.clone()}});
            let table = json!({"type": "EXTERNAL", "externalDataConfiguration": configuration});
            asked.is("GET", "/tables/ext_turnstile").then(|| Reply::ok(table))
        }
    };
    let column = |name: &str, kind: &str| json!({"name": name, "type": kind});
    let same = json!([column("int64_field_0", "INT64"), column("STATION", "STRING"), column("ENTRIES", "INT64")]);
    let api = RecordingApi::start(1, there(same)).await;
    let mut target = BigQueryTarget::new(api.settings()).unwrap();
    assert!(target.deploy(&[], Some(&table(ExternalFiles::All))).await.unwrap().is_empty());
    assert_eq!(api.count(|asked| asked.is("PATCH", "/tables/ext_turnstile")), 1);

    let other = json!([column("int64_field_0", "INT64"), column("STATION", "STRING"), column("ENTRIES", "STRING")]);
    let api = RecordingApi::start(1, there(other)).await;
    let mut target = BigQueryTarget::new(api.settings()).unwrap();
    let error = target.deploy(&[], Some(&table(ExternalFiles::All))).await.unwrap_err().to_string();
    assert!(error.contains("table ext_turnstile: column ENTRIES should be INTEGER and is STRING"), "{error}");
}
