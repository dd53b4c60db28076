//! What is asked of BigQuery, and what becomes of its answers. Against `RecordingApi`.

use serde_json::json;
use turnstile_delivery::bigquery::{BigQuerySettings, BigQueryTarget};
use turnstile_delivery::{Delivered, Delivery, Scope, TableKind, Target, TargetError};

use crate::recording::{RecordedRequest, RecordingApi, Reply, done, failed, job, position_rows};
use crate::scene::{delivery, fact_change, position, station_change};

fn one_window() -> Delivery {
    delivery(1, 2, vec![fact_change(&[0], &[("Test-Station1", 0, 7)])])
}

async fn apply(settings: BigQuerySettings, delivery: &Delivery) -> Result<Delivered, TargetError> {
    BigQueryTarget::new(settings).unwrap().apply(delivery).await
}

/// An error with all its causes, as a person reads it.
fn describe_error(error: &TargetError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn a_delivery_is_staged_loaded_committed_and_cleaned_up() {
    let api = RecordingApi::start(1, |_, _| None).await;
    let delivered = apply(api.settings(), &one_window()).await.unwrap();
    assert_eq!(delivered, Delivered { already: false, rows: 1, replaced: 0 });

    let asked = api.asked();
    let made: Vec<&RecordedRequest> = asked.iter().filter(|asked| asked.is("POST", "/tables")).collect();
    let [table, staging] = made.as_slice() else { panic!("{made:?}") };
    assert_eq!(table.json()["timePartitioning"], json!({"type": "DAY", "field": "start_at"}));
    assert_eq!(table.json()["clustering"], json!({"fields": ["station"]}));
    assert_eq!(table.json()["schema"]["fields"][0], json!({"name": "station", "type": "STRING", "mode": "REQUIRED"}));
    let expires: u64 = staging.json()["expirationTime"].as_str().unwrap().parse().unwrap();
    assert!(expires > 1_700_000_000_000);

    let load = asked.iter().find(|asked| asked.is_load()).unwrap();
    assert_eq!(load.path, "/upload/bigquery/v2/projects/p/jobs?uploadType=multipart");
    assert!(load.header("content-type").unwrap().starts_with("multipart/related; boundary="));
    let configuration = &load.json()["configuration"]["load"];
    assert_eq!(configuration["writeDisposition"], "WRITE_TRUNCATE");
    assert_eq!(configuration["sourceFormat"], "PARQUET");
    let name = staging.json()["tableReference"]["tableId"].as_str().unwrap().to_owned();
    assert_eq!(configuration["destinationTable"]["tableId"], name.as_str());
    assert_eq!(load.job(), format!("{name}_1700000000000_0"), "named after the table's content and its making");
    assert!(load.body.windows(4).filter(|four| four == b"PAR1").count() >= 2, "a whole Parquet file is in it");

    let order = |which: fn(&RecordedRequest) -> bool| asked.iter().position(which).unwrap();
    assert!(order(RecordedRequest::is_load) < order(RecordedRequest::is_commit));
    assert!(order(RecordedRequest::is_commit) < order(|asked| asked.is("DELETE", "/turnstile_stage_")));
}

#[tokio::test]
async fn the_same_delivery_names_the_same_jobs_and_another_one_others() {
    let api = RecordingApi::start(1, |_, _| None).await;
    let names = async |delivery: &Delivery| -> Vec<String> {
        let before = api.asked().len();
        apply(api.settings(), delivery).await.unwrap();
        api.asked()[before..].iter().filter(|asked| asked.is("POST", "/jobs")).map(RecordedRequest::job).collect()
    };
    let first = names(&one_window()).await;
    assert_eq!(first, names(&one_window()).await);
    let other = names(&delivery(1, 3, vec![fact_change(&[0], &[("Test-Station1", 0, 7)])])).await;
    assert!(first.iter().all(|name| !other.contains(name)), "{first:?} {other:?}");
}

#[tokio::test]
async fn a_job_that_an_earlier_attempt_started_is_awaited_and_no_second_one_started() {
    let mut polls = 0;
    let api = RecordingApi::start(1, move |asked, _| {
        if asked.is_load() {
            return Some(Reply::error(409, "duplicate", "Already Exists: Job"));
        }
        let id =
            asked.is("GET", "/jobs/turnstile_stage_").then(|| asked.path.rsplit('/').next().unwrap().to_owned())?;
        polls += 1;
        let status = if polls < 3 { json!({"state": "RUNNING"}) } else { done() };
        Some(job(id.split('?').next().unwrap(), status))
    })
    .await;
    assert!(!apply(api.settings(), &one_window()).await.unwrap().already);
    assert_eq!(api.count(RecordedRequest::is_load), 1);
    assert_eq!(api.count(|asked| asked.is("GET", "/jobs/turnstile_stage_")), 3);
}

#[tokio::test]
async fn a_script_that_an_earlier_attempt_ran_is_found_and_reported_as_already_applied() {
    let api = RecordingApi::start(1, |asked, _| {
        if asked.is_commit() {
            return Some(Reply::error(409, "duplicate", "Already Exists: Job"));
        }
        asked.is("GET", "_commit_").then(|| job("x", done()))
    })
    .await;
    assert!(apply(api.settings(), &one_window()).await.unwrap().already);
}

#[tokio::test]
async fn a_job_that_failed_earlier_is_retried_under_the_next_number() {
    let api = RecordingApi::start(1, |asked, _| {
        if asked.is_load() && asked.job().ends_with("_0") {
            return Some(Reply::error(409, "duplicate", "Already Exists: Job"));
        }
        asked.is("GET", "/jobs/turnstile_stage_").then(|| job("x", failed("backendError", "try again", "")))
    })
    .await;
    apply(api.settings(), &one_window()).await.unwrap();
    let loads: Vec<String> = api.asked().iter().filter(|asked| asked.is_load()).map(RecordedRequest::job).collect();
    assert_eq!(loads.len(), 2);
    assert!(loads[1].ends_with("_1"), "{loads:?}");
}

#[tokio::test]
async fn a_transient_failure_is_retried() {
    for reason in ["backendError", "rateLimitExceeded", "jobRateLimitExceeded"] {
        let mut failures = 0;
        let api = RecordingApi::start(1, move |asked, _| {
            let fails = asked.is_commit() && failures < 2;
            failures += u32::from(fails);
            let status = if reason == "backendError" { 503 } else { 403 };
            fails.then(|| Reply::error(status, reason, "Try again."))
        })
        .await;
        apply(api.settings(), &one_window()).await.unwrap();
        assert_eq!(api.count(RecordedRequest::is_commit), 3, "{reason}");
        let jobs: Vec<String> =
            api.asked().iter().filter(|asked| asked.is_commit()).map(RecordedRequest::job).collect();
        assert!(jobs.iter().all(|id| *id == jobs[0]), "a repeated request names the same job: {jobs:?}");
    }
}

#[tokio::test]
async fn a_service_that_stays_away_is_unreachable() {
    let settings = RecordingApi::start(1, |_, _| None).await.settings();
    // The double is gone, and its port with it.
    let settings = BigQuerySettings { retry_secs: 0, ..settings };
    let error = apply(settings, &one_window()).await.unwrap_err();
    assert!(matches!(error, TargetError::Unreachable { .. }), "{}", describe_error(&error));
}

#[tokio::test]
async fn an_exhausted_quota_is_not_retried_at_once() {
    let quota = |asked: &RecordedRequest, _| {
        asked.is_load().then(|| Reply::error(403, "quotaExceeded", "Quota exceeded: imports"))
    };
    let api = RecordingApi::start(1, quota).await;
    let error = apply(api.settings(), &one_window()).await.unwrap_err();
    assert!(
        matches!(error, TargetError::Unreachable { .. }) && describe_error(&error).contains("imports"),
        "{}",
        describe_error(&error)
    );
    assert_eq!(api.count(RecordedRequest::is_load), 1);
}

#[tokio::test]
async fn a_failed_job_is_reported_with_reason_message_and_location() {
    let api = RecordingApi::start(1, |asked, _| {
        asked.is_load().then(|| job(&asked.job(), failed("invalid", "Bad value in column entries", "part-0.parquet")))
    })
    .await;
    let error = apply(api.settings(), &one_window()).await.unwrap_err();
    let text = describe_error(&error);
    assert!(matches!(error, TargetError::Refused { .. }), "{text}");
    for word in ["fact_turnstile", "Bad value in column entries", "at part-0.parquet", "(invalid)"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert_eq!(api.count(RecordedRequest::is_commit), 0);
}

#[tokio::test]
async fn a_missing_permission_names_the_page_with_the_roles() {
    let denied = |asked: &RecordedRequest, _| {
        asked.is("POST", "/tables").then(|| Reply::error(403, "accessDenied", "bigquery.tables.create denied"))
    };
    let api = RecordingApi::start(1, denied).await;
    let error = apply(api.settings(), &one_window()).await.unwrap_err();
    let TargetError::Refused { hint, .. } = &error else { panic!("{}", describe_error(&error)) };
    assert!(hint.contains("warehouse-bigquery.md"), "{hint}");
    assert!(describe_error(&error).contains("bigquery.tables.create denied"));
}

#[tokio::test]
async fn a_target_at_another_position_or_of_another_warehouse_is_not_changed() {
    for at in [0, 5] {
        let api = RecordingApi::start(at, |_, _| None).await;
        let error = apply(api.settings(), &one_window()).await.unwrap_err();
        let TargetError::Moved { at: found, .. } = error else { panic!("{}", describe_error(&error)) };
        assert_eq!(found, (at > 0).then(|| position(at)));
        assert_eq!(api.count(|asked| asked.method != "GET"), 0);
    }
    let mut anothers = one_window();
    anothers.from.as_mut().unwrap().warehouse = "w-2".into();
    let api = RecordingApi::start(1, |_, _| None).await;
    assert!(matches!(apply(api.settings(), &anothers).await, Err(TargetError::Moved { .. })));
}

#[tokio::test]
async fn a_script_that_lost_a_conflict_reports_whether_the_target_moved() {
    let message = "Transaction is aborted due to concurrent update against table p:d.turnstile_position";
    // The position as it is after the script failed: this delivery's end, its beginning, another's end.
    for after in [2, 1, 3] {
        let mut committed = false;
        let api = RecordingApi::start(1, move |asked, _| {
            committed |= asked.is_commit();
            match committed {
                true if asked.is_commit() => Some(job(&asked.job(), failed("invalidQuery", message, "query"))),
                true if asked.path.contains("/data?") => Some(position_rows(after)),
                _ => None,
            }
        })
        .await;
        let result = apply(api.settings(), &one_window()).await;
        match after {
            2 => assert!(result.unwrap().already),
            1 => assert!(matches!(result, Err(TargetError::Unreachable { .. })), "{result:?}"),
            _ => assert!(matches!(result, Err(TargetError::Moved { at: Some(at), .. }) if at == position(3))),
        }
    }
}

#[tokio::test]
async fn an_expired_staging_table_is_loaded_again_by_the_next_attempt() {
    let lacks = |asked: &RecordedRequest, _| {
        let status = failed("invalidQuery", "turnstile: a staging table lacks rows", "query");
        asked.is_commit().then(|| job(&asked.job(), status))
    };
    let api = RecordingApi::start(1, lacks).await;
    let error = apply(api.settings(), &one_window()).await.unwrap_err();
    assert!(matches!(error, TargetError::Unreachable { .. }), "{}", describe_error(&error));
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_left_to_the_next_attempt() {
    let slow = |asked: &RecordedRequest, _| {
        let load = asked.is_load() || asked.is("GET", "/jobs/");
        load.then(|| job(&asked.job(), json!({"state": "RUNNING"})))
    };
    let api = RecordingApi::start(1, slow).await;
    let settings = BigQuerySettings { job_secs: 0, ..api.settings() };
    let error = apply(settings, &one_window()).await.unwrap_err();
    assert!(
        matches!(error, TargetError::Unreachable { .. }) && describe_error(&error).contains("keeps running"),
        "{}",
        describe_error(&error)
    );
}

#[tokio::test]
async fn a_staged_load_names_its_files_in_cloud_storage() {
    let api = RecordingApi::start(1, |_, _| None).await;
    let root = tempfile::tempdir().unwrap();
    let settings = BigQuerySettings {
        stage: Some("gs://bucket/warehouse".into()),
        storage_root: Some(root.path().into()),
        part_bytes: 1,
        ..api.settings()
    };
    let rows = [("A", 0, 1), ("B", 0, 2), ("C", 0, 3)];
    assert_eq!(apply(settings, &delivery(1, 2, vec![fact_change(&[0], &rows)])).await.unwrap().rows, 3);
    let asked = api.asked();
    let load = asked.iter().find(|asked| asked.is_load()).unwrap().json();
    let urls = load["configuration"]["load"]["sourceUris"].as_array().unwrap().clone();
    assert_eq!(urls.len(), 2, "two batches of the rows, each a file");
    assert!(urls[0].as_str().unwrap().starts_with("gs://bucket/warehouse/turnstile-stage/"), "{urls:?}");
    assert_eq!(api.count(RecordedRequest::is_load), 1);
    let left = std::fs::read_dir(root.path().join("bucket/warehouse/turnstile-stage")).unwrap();
    let files = left.flat_map(|folder| std::fs::read_dir(folder.unwrap().path().join("fact_turnstile")).unwrap());
    assert_eq!(files.count(), 0, "staged files are deleted after the commit");
}

#[tokio::test]
async fn a_table_with_other_columns_is_refused_by_column_and_types() {
    let other = |asked: &RecordedRequest, _| {
        asked.is("GET", "/tables/dim_station").then(|| {
            let fields = json!([{"name": "station_id", "type": "STRING", "mode": "REQUIRED"}]);
            Reply::ok(json!({"schema": {"fields": fields}}))
        })
    };
    let api = RecordingApi::start(1, other).await;
    let change = station_change(TableKind::Dimension, Scope::Keys, &[(1, "Test-Station1")]);
    let error = apply(api.settings(), &delivery(1, 2, vec![change])).await.unwrap_err();
    let text = describe_error(&error);
    assert!(
        text.contains("table dim_station: column station_id should be INTEGER REQUIRED and is STRING REQUIRED"),
        "{text}"
    );
    assert_eq!(api.count(|asked| asked.is("POST", "")), 0);
}

#[tokio::test]
async fn a_dataset_in_another_location_is_refused_before_anything_is_created() {
    let elsewhere =
        |asked: &RecordedRequest, _| asked.path.ends_with("/datasets/d").then(|| Reply::ok(json!({"location": "EU"})));
    let api = RecordingApi::start(1, elsewhere).await;
    let error = apply(api.settings(), &one_window()).await.unwrap_err();
    assert!(
        describe_error(&error).contains("the dataset is in EU, but the settings say US"),
        "{}",
        describe_error(&error)
    );
}

#[tokio::test]
async fn what_the_script_replaced_is_counted_without_the_position() {
    let stats = |asked: &RecordedRequest, _| {
        let stats = |deleted: &str, updated: &str| json!({"statistics": {"query": {"dmlStats": {"deletedRowCount": deleted, "updatedRowCount": updated}}}});
        let jobs = json!({"jobs": [stats("4", "0"), stats("0", "1"), {}]});
        asked.is("GET", "/jobs?parentJobId=").then(|| Reply::ok(jobs))
    };
    let api = RecordingApi::start(1, stats).await;
    assert_eq!(apply(api.settings(), &one_window()).await.unwrap().replaced, 4);
}

#[tokio::test]
async fn another_warehouses_dataset_is_not_changed_until_adopt_names_it() {
    let api = RecordingApi::start(7, |_, _| None).await;
    let village = |load| turnstile_delivery::LoadPosition { warehouse: "village".into(), load, ledger_seq: 1 };
    let all = station_change(TableKind::Dimension, Scope::Everything, &[(1, "A")]);
    let mut foreign = delivery(7, 9, vec![all]);
    foreign.to = village(2);
    let refused = apply(api.settings(), &foreign).await.unwrap_err();
    let TargetError::Refused { reason, hint, .. } = &refused else { panic!("{refused:?}") };
    assert!(reason.contains("warehouse w-1, not of village") && hint.contains("adopt = \"w-1\""), "{refused:?}");
    assert_eq!(api.count(|asked| asked.method != "GET"), 0, "nothing was made or changed");

    let settings = |adopt: &str| BigQuerySettings { adopt: Some(adopt.into()), ..api.settings() };
    assert!(apply(settings("w-2"), &foreign).await.is_err());
    apply(settings("w-1"), &foreign).await.unwrap();
    let sql = api.asked().iter().find(|asked| asked.is_commit()).unwrap().sql();
    assert!(sql.contains("`warehouse` = 'w-1' AND `load` = 7") && sql.contains("SET `warehouse` = 'village'"), "{sql}");
    // A part would leave rows of both.
    let mut part = delivery(7, 9, vec![fact_change(&[0], &[("A", 0, 1)])]);
    part.to = village(2);
    assert!(
        describe_error(&apply(settings("w-1"), &part).await.unwrap_err())
            .contains("would keep rows of another warehouse")
    );
}
