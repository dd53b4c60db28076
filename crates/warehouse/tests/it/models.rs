//! Models of one's own: kinds, tests, changes.

use turnstile_lake::FileEncoding;
use turnstile_warehouse::{Limits, LoadOptions, WarehouseError};

use crate::story::{Story, ask, facts, load, load_all};

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
    let warehouse = story.warehouse_of(&[DAILY, FACT, TOP], Limits::default());
    story.publish(&[(0, 1, &[("a", 1), ("b", 2)])]).await;
    load_all(&warehouse).await;
    assert_eq!(ask(&warehouse, "SELECT * FROM top").await, ["b"]);
    story.publish(&[(0, 2, &[("a", 5), ("b", 2)])]).await;
    load_all(&warehouse).await;
    assert_eq!(ask(&warehouse, "SELECT * FROM top").await, ["a"]);
    assert_eq!(ask(&warehouse, "SELECT * FROM daily ORDER BY 1").await, ["a,5", "b,2"]);
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
    let warehouse = story.warehouse_of(&[strict], Limits::default());
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    load_all(&warehouse).await;
    story.publish(&[(1, 1, &[("a", 1), ("elsewhere", 2)])]).await;
    let error = load(&warehouse).await.unwrap_err();
    assert!(error.to_string().contains("fact accepted(station: a, b): 1 row, such as elsewhere"), "{error}");
    assert_eq!(ask(&warehouse, "SELECT count(*) FROM fact").await, ["1"]);
    let runs = "SELECT state, tests_failed, to_seq > from_seq FROM load_runs ORDER BY load";
    assert_eq!(ask(&warehouse, runs).await, ["succeeded,0,true", "failed,1,false"]);
    // The next correction makes it good.
    story.publish(&[(1, 2, &[("a", 1), ("b", 2)])]).await;
    load_all(&warehouse).await;
    assert_eq!(ask(&warehouse, "SELECT station FROM fact ORDER BY w, 1").await, ["a", "a", "b"]);
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
    let error = load(&story.warehouse_of(&[stray], Limits::default())).await.unwrap_err();
    assert!(error.to_string().contains("models/fact.sql:4: a row's w is 2026-08-02T00:00Z"), "{error}");
}

#[tokio::test]
async fn a_model_that_lacks_a_column_of_its_header_is_named() {
    let wrong = ("models/d.sql", "-- kind: dimension\n-- key: id\nSELECT DISTINCT station FROM ext_turnstile");
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    let error = load(&story.warehouse_of(&[wrong], Limits::default())).await.unwrap_err();
    assert!(error.to_string().contains("models/d.sql:3: the SELECT makes no column id"), "{error}");
}

#[tokio::test]
async fn a_new_model_is_made_of_all_that_is_there() {
    let mut story = Story::begin(FileEncoding::Parquet).await;
    for number in 0..6 {
        story.publish(&[(number, 1, &[("a", number)])]).await;
    }
    let before = story.warehouse();
    load_all(&before).await;
    story.publish(&[(6, 1, &[("a", 6)])]).await;
    let models: Vec<_> = turnstile_warehouse::BUILT_IN.iter().copied().chain([FACT]).collect();
    let after = story.warehouse_of(&models, Limits { load_rows: 2, ..Limits::default() });
    load_all(&after).await;
    assert_eq!(ask(&after, "SELECT count(*), sum(entries) FROM fact").await, ["7,21"]);
    assert_eq!(facts(&after).await.len(), 7);
}

#[tokio::test]
async fn a_model_that_changed_is_refused_until_its_table_is_made_anew() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    load_all(&story.warehouse_of(&[FACT], Limits::default())).await;
    let text = FACT.1.replace("sum(entries)", "2 * sum(entries)");
    let changed = story.warehouse_of(&[(FACT.0, &text)], Limits::default());
    assert!(matches!(load(&changed).await, Err(WarehouseError::Changed { .. })));
    assert_eq!(ask(&changed, "SELECT entries FROM fact").await, ["1"]);
    changed.load(&LoadOptions { full_refresh: vec!["fact".to_owned()] }).await.unwrap();
    assert_eq!(ask(&changed, "SELECT entries FROM fact").await, ["2"]);
    assert_eq!(load(&changed).await.unwrap(), None);
}
