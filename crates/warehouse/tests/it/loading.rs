//! Loads: exactly once, corrections, steps, failures.

use std::path::{Path, PathBuf};

use turnstile_lake::FileEncoding;
use turnstile_warehouse::{LoadOptions, LoadRunState, WarehouseError, WarehouseLimits};

use crate::story::{Story, facts, load, load_all, query};

#[tokio::test]
async fn a_load_takes_what_is_new_and_a_second_one_changes_nothing() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1), ("b", 2)]), (1, 1, &[("a", 3)])]).await;
    let warehouse = story.warehouse();
    let first = load(&warehouse).await.unwrap().unwrap();
    assert_eq!((first.run.windows, first.run.rows_in, first.more), (2, 3, false));
    assert!(first.tests.iter().all(|test| test.passed()) && first.tests.len() > 10);
    assert_eq!(load(&warehouse).await.unwrap(), None);
    assert_eq!(facts(&warehouse).await, ["a,0,1", "b,0,2", "a,1,3"]);
    assert_eq!(query(&warehouse, "SELECT station_name FROM dim_station ORDER BY 1").await, ["a", "b"]);
    let joined = "SELECT b.booth_name, s.station_name, f.entries FROM fact_turnstile f \
                  JOIN dim_booth b USING (booth_id) JOIN dim_station s ON s.station_id = f.station_id ORDER BY 2, 3";
    assert_eq!(query(&warehouse, joined).await, ["A001,a,1", "A001,a,3", "A001,b,2"]);
}

#[tokio::test]
async fn a_corrected_window_replaces_its_rows_and_no_others() {
    for format in [FileEncoding::CsvGz, FileEncoding::Parquet] {
        let mut story = Story::begin(format).await;
        story.publish(&[(0, 1, &[("a", 1), ("b", 2)]), (1, 1, &[("a", 3)])]).await;
        let warehouse = story.warehouse();
        load_all(&warehouse).await;
        story.publish(&[(0, 2, &[("a", 10), ("c", 4)])]).await;
        let run = load(&warehouse).await.unwrap().unwrap().run;
        assert_eq!((run.windows, run.rows_out), (1, 4), "two facts, a station and a booth");
        assert_eq!(facts(&warehouse).await, ["a,0,10", "c,0,4", "a,1,3"]);
        // A station stays in its dimension.
        assert_eq!(query(&warehouse, "SELECT count(*) FROM dim_station").await, ["3"]);
    }
}

#[tokio::test]
async fn a_log_id_is_that_of_the_turnstile_and_its_window() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    let warehouse = story.warehouse();
    load_all(&warehouse).await;
    let sql = "SELECT log_id = md5('R001-A001-02-00-00-a-2026-08-01 00:05:00') FROM fact_turnstile";
    assert_eq!(query(&warehouse, sql).await, ["true"]);
}

#[tokio::test]
async fn a_long_way_is_loaded_in_steps_that_are_each_whole() {
    let mut story = Story::begin(FileEncoding::Parquet).await;
    for number in 0..30 {
        story.publish(&[(number, 1, &[("a", number), ("b", 1)])]).await;
    }
    let warehouse = story
        .warehouse_of(&turnstile_warehouse::BUILT_IN, WarehouseLimits { load_rows: 10, ..WarehouseLimits::default() });
    assert_eq!(load_all(&warehouse).await, 6);
    assert_eq!(facts(&warehouse).await.len(), 60);
    let runs = "SELECT count(*), sum(rows_in), min(from_seq), count(DISTINCT to_seq) FROM load_runs";
    assert_eq!(query(&warehouse, runs).await, ["6,60,0,6"]);
}

#[tokio::test]
async fn of_two_loaders_at_once_one_loads() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    let windows: Vec<_> = (0..20).map(|n| (n, 1, &[("a", 1i64), ("b", 2)][..])).collect();
    story.publish(&windows).await;
    let (one, other) = (story.warehouse(), story.warehouse());
    let (options, again) = (LoadOptions::default(), LoadOptions::default());
    let (first, second) = tokio::join!(one.load(&options), other.load(&again));
    let won = [&first, &second].iter().filter(|load| matches!(load, Ok(Some(_)))).count();
    assert_eq!(won, 1, "{first:?} {second:?}");
    assert!([&first, &second].iter().any(|load| matches!(load, Err(WarehouseError::Moved) | Ok(None))));
    assert_eq!(facts(&one).await.len(), 40);
    assert_eq!(load(&other).await.unwrap(), None);
}

#[tokio::test]
async fn a_lake_file_that_changed_is_named_and_nothing_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let mut story = Story::at(&format!("file:{}", folder.path().display()), FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    let warehouse = story.warehouse();
    load_all(&warehouse).await;
    story.publish(&[(1, 1, &[("a", 2)]), (2, 1, &[("a", 3)])]).await;
    // The next commit confirms that those were there.
    story.publish(&[(3, 1, &[("a", 4)])]).await;
    let name = "date=2026-08-01/p_20260801T000500Z_20260801T001000Z.csv.gz";
    std::fs::write(folder.path().join(name), b"something else").unwrap();
    let error = load(&warehouse).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("{name} changed since it was published")), "{error}");
    assert_eq!(facts(&warehouse).await, ["a,0,1"]);
    let failed = warehouse.runs().await.unwrap().pop().unwrap();
    assert_eq!(failed.state, LoadRunState::Failed);
    assert!(failed.error.unwrap().contains(name));
}

#[tokio::test]
async fn many_small_files_become_one_and_the_rows_stay() {
    let mut story = Story::begin(FileEncoding::Parquet).await;
    let warehouse = story.warehouse();
    for number in 0..60 {
        story.publish(&[(number, 1, &[("a", number)])]).await;
        load_all(&warehouse).await;
    }
    let files = story.lake.list("_warehouse/p/tables/fact_turnstile", None).await.unwrap();
    assert_eq!(facts(&warehouse).await.len(), 60);
    // Files that were merged stay for a while, for readers of an older state.
    assert!(files.len() > 60, "{}", files.len());
    let plan = query(&warehouse, "EXPLAIN SELECT entries FROM fact_turnstile").await.join("\n");
    assert!(plan.matches(".parquet").count() < 20, "{plan}");
}

/// The files below `folder`, at any depth, whose names end so.
fn found(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = entries.flat_map(|path| if path.is_dir() { found(&path, ending) } else { vec![path] });
    below.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

#[tokio::test]
async fn tables_files_that_earlier_releases_named_as_data_files_are_renamed_by_the_next_load() {
    let folder = tempfile::tempdir().unwrap();
    let mut story = Story::at(&format!("file:{}", folder.path().display()), FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1), ("b", 2)])]).await;
    load_all(&story.warehouse()).await;
    assert!(found(folder.path(), ".parquet").is_empty(), "no table's file is one of the lake's data files");
    // What an earlier release left: Parquet names, and a record of format 1, which is its JSON alone.
    let entry = folder.path().join("_warehouse/p/log/00000000000000000001");
    let text = std::fs::read_to_string(&entry).unwrap();
    std::fs::write(&entry, text.lines().nth(1).unwrap().replace(".table\"", ".parquet\"")).unwrap();
    for table in found(folder.path(), ".table") {
        std::fs::rename(&table, table.with_extension("parquet")).unwrap();
    }
    assert_eq!(found(folder.path(), ".parquet").len(), 3);
    let sum = "SELECT sum(f.entries), count(d.station_id) FROM fact_turnstile f JOIN dim_station d USING (station_id)";
    assert_eq!(query(&story.warehouse(), sum).await, ["3,2"], "they are read under their old names");

    assert_eq!(load(&story.warehouse()).await.unwrap(), None, "nothing is new");
    for old in found(folder.path(), ".parquet") {
        std::fs::remove_file(old).unwrap();
    }
    assert_eq!(query(&story.warehouse(), sum).await, ["3,2"]);
    story.publish(&[(0, 2, &[("a", 5), ("b", 2)])]).await;
    load_all(&story.warehouse()).await;
    assert_eq!(query(&story.warehouse(), sum).await, ["7,2"]);
    assert!(found(folder.path(), ".parquet").is_empty());
}
