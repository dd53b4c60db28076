//! Models of one's own: kinds, tests, changes.

use turnstile_lake::FileEncoding;
use turnstile_warehouse::{LoadOptions, WarehouseError, WarehouseLimits};

use crate::story::{Story, facts, load, load_all, query};

const FACT: (&str, &str) = (
    "models/fact.sql",
    "-- kind: incremental\n-- key: station, w\n-- window: w\n-- column entries: Entries. [not_null]\n\
     SELECT station, start AS w, sum(entries) AS entries FROM ext_turnstile GROUP BY station, start",
);
const DAILY: (&str, &str) = (
    "models/daily.sql",
    "-- kind: table\n-- column total: All. [not_null]\nSELECT station, sum(entries) AS total FROM fact GROUP BY station",
);
const TOP: (&str, &str) = ("models/top.sql", "-- kind: view\nSELECT station FROM daily ORDER BY total DESC LIMIT 1");

#[tokio::test]
async fn tables_and_views_over_models_follow_each_load() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    let warehouse = story.warehouse_of(&[DAILY, FACT, TOP], WarehouseLimits::default());
    story.publish(&[(0, 1, &[("a", 1), ("b", 2)])]).await;
    load_all(&warehouse).await;
    assert_eq!(query(&warehouse, "SELECT * FROM top").await, ["b"]);
    story.publish(&[(0, 2, &[("a", 5), ("b", 2)])]).await;
    load_all(&warehouse).await;
    assert_eq!(query(&warehouse, "SELECT * FROM top").await, ["a"]);
    assert_eq!(query(&warehouse, "SELECT * FROM daily ORDER BY 1").await, ["a,5", "b,2"]);
    assert!(warehouse.test().await.unwrap().iter().all(|test| test.passed()));
}

#[tokio::test]
async fn a_test_that_fails_keeps_the_load_out_and_is_seen() {
    let strict = (
        "models/fact.sql",
        "-- kind: incremental\n-- key: station, w\n-- window: w\n-- column station: S. [accepted(a, b)]\n\
         SELECT station, start AS w, entries FROM ext_turnstile",
    );
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    let warehouse = story.warehouse_of(&[strict], WarehouseLimits::default());
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    load_all(&warehouse).await;
    story.publish(&[(1, 1, &[("a", 1), ("elsewhere", 2)])]).await;
    let error = load(&warehouse).await.unwrap_err();
    assert!(error.to_string().contains("fact accepted(station: a, b): 1 row, such as elsewhere"), "{error}");
    assert_eq!(query(&warehouse, "SELECT count(*) FROM fact").await, ["1"]);
    let runs = "SELECT state, tests_failed, to_seq > from_seq FROM load_runs ORDER BY load";
    assert_eq!(query(&warehouse, runs).await, ["succeeded,0,true", "failed,1,false"]);
    // The next correction repairs it.
    story.publish(&[(1, 2, &[("a", 1), ("b", 2)])]).await;
    load_all(&warehouse).await;
    assert_eq!(query(&warehouse, "SELECT station FROM fact ORDER BY w, 1").await, ["a", "a", "b"]);
}

#[tokio::test]
async fn rows_of_a_window_that_is_not_loaded_are_refused() {
    let stray = (
        "models/fact.sql",
        "-- kind: incremental\n-- key: station\n-- window: w\n\
         SELECT station, start + INTERVAL '1 day' AS w, entries FROM ext_turnstile",
    );
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    let error = load(&story.warehouse_of(&[stray], WarehouseLimits::default())).await.unwrap_err();
    assert!(error.to_string().contains("models/fact.sql:4: a row's w is 2026-08-02T00:00Z"), "{error}");
}

#[tokio::test]
async fn a_model_that_lacks_a_column_of_its_header_is_named() {
    let wrong = ("models/d.sql", "-- kind: dimension\n-- key: id\nSELECT DISTINCT station FROM ext_turnstile");
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    let error = load(&story.warehouse_of(&[wrong], WarehouseLimits::default())).await.unwrap_err();
    assert!(error.to_string().contains("models/d.sql:3: the SELECT has no column id"), "{error}");
}

#[tokio::test]
async fn a_new_model_is_computed_from_all_that_exists() {
    let mut story = Story::begin(FileEncoding::Parquet).await;
    for number in 0..6 {
        story.publish(&[(number, 1, &[("a", number)])]).await;
    }
    let before = story.warehouse();
    load_all(&before).await;
    story.publish(&[(6, 1, &[("a", 6)])]).await;
    let models: Vec<_> = turnstile_warehouse::BUILT_IN.iter().copied().chain([FACT]).collect();
    let after = story.warehouse_of(&models, WarehouseLimits { load_rows: 2, ..WarehouseLimits::default() });
    load_all(&after).await;
    assert_eq!(query(&after, "SELECT count(*), sum(entries) FROM fact").await, ["7,21"]);
    assert_eq!(facts(&after).await.len(), 7);
}

#[tokio::test]
async fn a_model_that_changed_is_refused_until_its_table_is_rebuilt() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    load_all(&story.warehouse_of(&[FACT], WarehouseLimits::default())).await;
    let text = FACT.1.replace("sum(entries)", "2 * sum(entries)");
    let changed = story.warehouse_of(&[(FACT.0, &text)], WarehouseLimits::default());
    assert!(matches!(load(&changed).await, Err(WarehouseError::Changed { .. })));
    assert_eq!(query(&changed, "SELECT entries FROM fact").await, ["1"]);
    changed.load(&LoadOptions { full_refresh: vec!["fact".to_owned()] }).await.unwrap();
    assert_eq!(query(&changed, "SELECT entries FROM fact").await, ["2"]);
    assert_eq!(load(&changed).await.unwrap(), None);
}
