//! Days whose windows lie in one file.

use turnstile_lake::maintenance::{Compact, MaintenancePolicy, maintain};
use turnstile_lake::{FileEncoding, WriterId};
use turnstile_warehouse::{QueryResultFormat, WarehouseLimits};

use crate::story::{Story, facts, load_all, query};

/// A day with a window each hour and one of the next day, compacted; a correction came before.
async fn compacted(format: FileEncoding) -> Story {
    let mut story = Story::begin(format).await;
    for hour in 0..24 {
        story.publish(&[(hour * 12, 1, &[("a", hour), ("b", 100 + hour)])]).await;
    }
    story.publish(&[(12, 2, &[("a", 1), ("b", 7)])]).await;
    story.publish(&[(300, 1, &[("a", 1)])]).await;
    let policy = MaintenancePolicy { compact: Compact::All, grace_us: Some(0), ..MaintenancePolicy::default() };
    for _ in 0..2 {
        let done = maintain(&story.lake, "p", &policy, &[], &WriterId::default(), |_| {}).await.unwrap().unwrap();
        assert!(done.failed.is_empty(), "{:?}", done.failed);
    }
    story
}

#[tokio::test]
async fn windows_that_were_compacted_before_they_were_loaded_are_loaded_from_the_one_file() {
    for format in [FileEncoding::Parquet, FileEncoding::CsvGz] {
        let story = compacted(format).await;
        let warehouse = story.warehouse();
        load_all(&warehouse).await;
        let mut expected: Vec<String> = (0..24)
            .flat_map(|hour| [format!("a,{},{hour}", hour * 12), format!("b,{},{}", hour * 12, 100 + hour)])
            .collect();
        expected[3] = "b,12,7".to_owned();
        expected.push("a,12,1".to_owned());
        assert_eq!(facts(&warehouse).await, expected, "{format:?}");
    }
}

#[tokio::test]
async fn each_row_of_a_compacted_file_bears_its_own_window() {
    for format in [FileEncoding::Parquet, FileEncoding::CsvGz] {
        let warehouse = compacted(format).await.warehouse();
        let sql = "SELECT count(*), count(DISTINCT _window_start), count(DISTINCT _file), \
                   sum(CASE WHEN _window_start = start AND _window_end = \"end\" THEN 0 ELSE 1 END) \
                   FROM ext_turnstile_history WHERE _current AND _window_start < '2026-08-02T00:00:00Z'";
        assert_eq!(query(&warehouse, sql).await, ["48,24,1,0"], "{format:?}");
    }
}

#[tokio::test]
async fn files_that_are_unpacked_whole_count_as_memory_of_the_query() {
    let story = compacted(FileEncoding::CsvGz).await;
    let limits = WarehouseLimits { memory_bytes: 1000, ..WarehouseLimits::default() };
    let warehouse = story.warehouse_of(&[], limits);
    let answer = warehouse.query("SELECT entries FROM ext_turnstile_history").await;
    let error = match answer {
        Ok(answer) => answer.write(QueryResultFormat::Csv, &mut Vec::new()).await.unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    assert!(error.contains("files of the lake"), "{error}");
}

#[tokio::test]
async fn facts_whose_windows_retention_has_deleted_are_not_missed_by_the_test_of_conservation() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    for number in [0, 1, 2, 40, 41, 500] {
        story.publish(&[(number, 1, &[("a", number), ("b", 1)])]).await;
    }
    let warehouse = story.warehouse();
    load_all(&warehouse).await;
    let policy =
        MaintenancePolicy { retain_us: Some(3_600_000_000), grace_us: Some(0), ..MaintenancePolicy::default() };
    for _ in 0..2 {
        let done = maintain(&story.lake, "p", &policy, &[], &WriterId::default(), |_| {}).await.unwrap().unwrap();
        assert!(done.failed.is_empty(), "{:?}", done.failed);
    }
    assert_eq!(query(&warehouse, "SELECT count(*) FROM ext_turnstile").await, ["2"]);
    assert_eq!(query(&warehouse, "SELECT count(*) FROM fact_turnstile").await, ["12"]);
    let results = warehouse.test().await.unwrap();
    assert!(results.iter().any(|result| result.check.starts_with("conservation")), "{results:?}");
    assert!(results.iter().all(turnstile_warehouse::TestResult::passed), "{results:?}");
    // A difference in a window that is there is still found.
    let twice = "-- kind: incremental\n-- key: station, w\n-- window: w\n\
                 SELECT station, start AS w, 2 * sum(entries) AS entries FROM ext_turnstile GROUP BY station, start";
    let checked = twice.replace("SELECT", "-- check: conservation(entries)\nSELECT");
    load_all(&story.warehouse_of(&[("models/twice.sql", twice)], WarehouseLimits::default())).await;
    let results =
        story.warehouse_of(&[("models/twice.sql", &checked)], WarehouseLimits::default()).test().await.unwrap();
    let failed: Vec<_> = results.iter().filter(|result| !result.passed()).collect();
    assert_eq!(failed.len(), 1, "{results:?}");
    assert_eq!(failed[0].example.as_deref(), Some("entries 1002 of 501"));
}
