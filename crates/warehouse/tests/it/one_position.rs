//! Models' tables and the lake in one statement are those of one commit.

use std::sync::Arc;

use turnstile_lake::FileEncoding;
use turnstile_warehouse::{BUILT_IN, LiveRows, Models, Warehouse, WarehouseLimits};

use crate::story::{Story, load_all, query};

/// Two windows that were loaded; since then one was corrected and one was added.
async fn ahead_of_its_facts(format: FileEncoding) -> Story {
    let mut story = Story::begin(format).await;
    story.publish(&[(0, 1, &[("a", 1), ("b", 2)])]).await;
    story.publish(&[(1, 1, &[("a", 4)])]).await;
    load_all(&story.warehouse()).await;
    story.publish(&[(0, 2, &[("a", 100), ("b", 2)])]).await;
    story.publish(&[(2, 1, &[("a", 1000)])]).await;
    story
}

#[tokio::test]
async fn models_tests_compare_facts_with_the_lake_as_of_the_commit_that_was_loaded() {
    for format in [FileEncoding::CsvGz, FileEncoding::Parquet] {
        let story = ahead_of_its_facts(format).await;
        let warehouse = story.warehouse();
        let tests = warehouse.test().await.unwrap();
        assert!(tests.iter().any(|test| test.check.starts_with("conservation")), "{tests:?}");
        let failed: Vec<_> = tests.iter().filter(|test| !test.passed()).collect();
        assert!(failed.is_empty(), "{format:?}: {failed:?}");
        load_all(&warehouse).await;
        assert!(warehouse.test().await.unwrap().iter().all(|test| test.passed()), "after the next load too");
    }
}

#[tokio::test]
async fn a_statement_over_models_tables_and_the_lake_sees_one_position_however_it_names_them() {
    let story = ahead_of_its_facts(FileEncoding::Parquet).await;
    let warehouse = story.warehouse();
    for (sql, expected) in [
        ("SELECT sum(entries) FROM ext_turnstile", "1106"),
        ("SELECT sum(entries) FROM fact_turnstile", "7"),
        ("SELECT (SELECT sum(entries) FROM fact_turnstile), (SELECT sum(entries) FROM ext_turnstile)", "7,7"),
        (
            "SELECT sum(e.entries), count(*) FROM ext_turnstile e JOIN fact_turnstile f ON e.start = f.window_start \
          AND e.station = f.station",
            "7,3",
        ),
        (
            "WITH e AS (SELECT * FROM ext_turnstile) SELECT sum(entries) FROM e WHERE EXISTS \
          (SELECT 1 FROM dim_station d WHERE d.station_name = e.station)",
            "7",
        ),
        ("SELECT count(*) FROM ext_turnstile_history", "6"),
        (
            "SELECT count(*) AS versions, (SELECT count(*) FROM fact_turnstile) AS facts FROM ext_turnstile_history",
            "3,3",
        ),
        (
            "SELECT count(*) FROM (SELECT station, start, entries FROM ext_turnstile EXCEPT \
          SELECT station, window_start, entries FROM fact_turnstile)",
            "0",
        ),
        ("SELECT count(*) FROM ext_turnstile, load_runs WHERE load = 1", "4"),
    ] {
        assert_eq!(query(&warehouse, sql).await, [expected], "{sql}");
    }
}

#[tokio::test]
async fn a_statement_that_reads_open_windows_too_sees_all_published_ones_beside_them() {
    let story = ahead_of_its_facts(FileEncoding::CsvGz).await;
    let live: LiveRows = Arc::new(|_| Box::pin(async { Ok(Vec::new()) }));
    let models = Models::parse(BUILT_IN, "ext_turnstile").unwrap();
    let source = story.warehouse().source().clone();
    let warehouse = Warehouse::new(&story.lake, source, models, WarehouseLimits::default(), Some(live)).unwrap();
    let all = "SELECT sum(entries) FROM (SELECT station, entries FROM ext_turnstile UNION ALL \
               SELECT station, entries FROM live_turnstile) JOIN dim_station ON station_name = station";
    assert_eq!(query(&warehouse, all).await, ["1106"]);
}
