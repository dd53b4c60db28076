//! Queries: their results, and the errors of those that fail.

use std::sync::Arc;
use std::time::Duration;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use turnstile_lake::FileEncoding;
use turnstile_warehouse::{
    LiveRows, LiveRowsError, Models, QueryError, QueryResultFormat, Warehouse, WarehouseError, WarehouseLimits,
};

use crate::story::{Story, load_all, query};

#[tokio::test]
async fn the_original_query_reads_the_current_files_only() {
    for format in [FileEncoding::CsvGz, FileEncoding::Parquet] {
        let mut story = Story::begin(format).await;
        story.publish(&[(0, 1, &[("Test-Station1", 7), ("59 ST", 3)])]).await;
        story.publish(&[(1, 1, &[("Test-Station2", 5)])]).await;
        story.publish(&[(0, 2, &[("Test-Station1", 8), ("59 ST", 3)])]).await;
        let warehouse = story.warehouse();
        let question = "SELECT STATION, ENTRIES, EXITS FROM ext_turnstile WHERE STATION LIKE 'Test%' ORDER BY 1";
        assert_eq!(query(&warehouse, question).await, ["Test-Station1,8,7", "Test-Station2,5,4"], "{format:?}");
        assert_eq!(query(&warehouse, "SELECT count(*) FROM ext_turnstile").await, ["3"], "{format:?}");
        let window = "SELECT station FROM ext_turnstile WHERE start >= '2026-08-01T00:05:00Z'";
        assert_eq!(query(&warehouse, window).await, ["Test-Station2"], "{format:?}");
        let history = "SELECT _version, _current, entries FROM ext_turnstile_history \
                       WHERE station LIKE 'Test%' ORDER BY _window_start, _version";
        assert_eq!(query(&warehouse, history).await, ["1,false,7", "2,true,8", "1,true,5"], "{format:?}");
    }
}

#[tokio::test]
async fn a_filter_over_what_the_ledger_records_of_a_window_reads_no_other_file() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)]), (1, 1, &[("a", 2)])]).await;
    story.publish(&[(0, 2, &[("a", 3), ("b", 4)])]).await;
    let warehouse = story.warehouse();
    // A file that is not there cannot be read.
    story.lake.delete(&["date=2026-08-01/p_20260801T000500Z_20260801T001000Z.csv.gz".to_owned()]).await.unwrap();
    let history = "FROM ext_turnstile_history WHERE _window_start =";
    for (question, expected) in [
        (
            format!("SELECT _version, entries {history} '2026-08-01T00:00:00Z' ORDER BY 1, 2"),
            &["1,1", "2,3", "2,4"][..],
        ),
        (format!("SELECT entries {history} '2026-08-01T00:00:00Z' AND _current AND station = 'b' LIMIT 1"), &["4"]),
        (format!("SELECT entries {history} '2026-08-01T00:00:00Z' AND _version = 1"), &["1"]),
        (format!("SELECT count(*) {history} '2027-01-01T00:00:00Z'"), &["0"]),
    ] {
        assert_eq!(query(&warehouse, &question).await, expected, "{question}");
    }
}

#[tokio::test]
async fn the_ledger_tables_show_where_numbers_come_from() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)]), (1, 1, &[("a", 2)])]).await;
    story.publish(&[(0, 2, &[("a", 3)])]).await;
    let warehouse = story.warehouse();
    let windows = "SELECT versions, rows, file FROM _turnstile.windows ORDER BY window_start";
    assert_eq!(
        query(&warehouse, windows).await,
        [
            "2,1,date=2026-08-01/p_20260801T000000Z_20260801T000500Z_v2.csv.gz",
            "1,1,date=2026-08-01/p_20260801T000500Z_20260801T001000Z.csv.gz"
        ]
    );
    let offsets = "SELECT o.topic, o.partition, o.first_offset, o.last_offset FROM _turnstile.offsets o \
                   JOIN _turnstile.windows w ON w.file = o.file ORDER BY o.first_offset";
    assert_eq!(query(&warehouse, offsets).await, ["t,0,0,0", "t,0,1,1"]);
    assert_eq!(query(&warehouse, "SELECT sum(difference) FROM _turnstile.conservation").await, ["0"]);
    assert_eq!(query(&warehouse, "SELECT count(*) FROM _turnstile.dead_letters").await, ["0"]);
}

#[tokio::test]
async fn a_query_sees_one_position_whatever_is_published_meanwhile() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    let warehouse = story.warehouse();
    let session = warehouse.session().await.unwrap();
    story.publish(&[(1, 1, &[("a", 2)])]).await;
    let count = async |sql: &str| session.sql(sql).await.unwrap().count().await.unwrap();
    assert_eq!(count("SELECT * FROM ext_turnstile").await, 1);
    assert_eq!(count("SELECT * FROM _turnstile.files").await, 1);
    assert_eq!(query(&warehouse, "SELECT count(*) FROM ext_turnstile").await, ["2"]);
}

/// pyarrow 14 and older Arrow libraries refuse a file whose stored schema names a view.
#[tokio::test]
async fn a_result_in_parquet_has_no_type_that_older_readers_refuse() {
    let mut story = Story::begin(FileEncoding::Parquet).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    let mut out = Vec::new();
    let warehouse = story.warehouse();
    let sql = "SELECT station, start, array_agg(station) AS stations FROM ext_turnstile GROUP BY 1, 2";
    warehouse.query(sql).await.unwrap().write(QueryResultFormat::Parquet, &mut out).await.unwrap();
    let file = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(out)).unwrap();
    let text = format!("{:?}", file.schema());
    assert!(!text.contains("View") && text.contains("UTC"), "{text}");
    assert_eq!(file.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 1);
}

#[tokio::test]
async fn a_query_that_would_change_something_is_refused() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    let warehouse = story.warehouse();
    for sql in ["DROP TABLE ext_turnstile", "DELETE FROM ext_turnstile", "CREATE TABLE t AS SELECT 1", "SET a = 1"] {
        let error = warehouse.query(sql).await.err().unwrap_or_else(|| panic!("{sql} was taken"));
        assert!(matches!(error, QueryError::Query { .. }), "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_query_over_the_memory_limit_fails_and_the_next_one_succeeds() {
    let mut story = Story::begin(FileEncoding::Parquet).await;
    let stations: Vec<String> = (0..5000).map(|n| format!("station with a long name, number {n}")).collect();
    let rows: Vec<(&str, i64)> = stations.iter().map(|station| (station.as_str(), 1)).collect();
    story.publish(&[(0, 1, &rows)]).await;
    let limits = WarehouseLimits { memory_bytes: 1 << 20, spill_bytes: 1, ..WarehouseLimits::default() };
    let warehouse = story.warehouse_of(&[], limits);
    let large = "SELECT count(*) FROM ext_turnstile a JOIN ext_turnstile b ON a.ca = b.ca JOIN ext_turnstile c ON a.ca = c.ca \
                 WHERE a.station || b.station || c.station LIKE '%x%' GROUP BY a.station, b.station, c.station";
    let mut out = Vec::new();
    let error = match warehouse.query(large).await {
        Ok(answer) => answer.write(turnstile_warehouse::QueryResultFormat::Csv, &mut out).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(error.to_string().contains("more memory than allowed"), "{error}");
    assert_eq!(query(&warehouse, "SELECT count(*) FROM ext_turnstile").await, ["5000"]);
}

#[tokio::test]
async fn a_lake_without_a_ledger_is_empty_and_says_so() {
    let story = Story::begin(FileEncoding::CsvGz).await;
    let other = turnstile_warehouse::WarehouseSource::new(
        "other",
        "ext",
        story.warehouse().source().files.clone(),
        FileEncoding::CsvGz,
    )
    .unwrap();
    let warehouse = turnstile_warehouse::Warehouse::new(
        &story.lake,
        other,
        turnstile_warehouse::Models::default(),
        WarehouseLimits::default(),
        None,
    )
    .unwrap();
    assert!(matches!(warehouse.session().await, Err(WarehouseError::Empty { .. })));
}

#[tokio::test]
async fn every_table_can_be_listed() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    let warehouse = story.warehouse();
    load_all(&warehouse).await;
    let session = warehouse.session().await.unwrap();
    let names = turnstile_warehouse::Warehouse::table_names(&session);
    for table in [
        "ext_turnstile",
        "ext_turnstile_history",
        "live_turnstile",
        "dim_station",
        "dim_booth",
        "fact_turnstile",
        "load_runs",
        "_turnstile.files",
        "_turnstile.windows",
        "_turnstile.offsets",
        "_turnstile.dead_letters",
        "_turnstile.conservation",
    ] {
        assert!(names.contains(&table.to_owned()), "{table} is not in {names:?}");
        session.sql(&format!("SELECT * FROM {table}")).await.unwrap().collect().await.unwrap();
    }
}

#[tokio::test]
async fn the_ledger_tables_return_more_than_a_batch_and_less() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    let windows: Vec<_> = (0..4_500).map(|number| (number, 1, &[("a", 1i64)][..])).collect();
    story.publish(&windows).await;
    let warehouse = story.warehouse();
    assert_eq!(query(&warehouse, "SELECT count(*), count(DISTINCT name) FROM _turnstile.files").await, ["4500,4500"]);
    assert_eq!(query(&warehouse, "SELECT kind FROM _turnstile.files LIMIT 1").await, ["window"]);
}

#[tokio::test]
async fn planning_counts_towards_the_statement_timeout() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    let limits = WarehouseLimits { statement_timeout: Duration::from_millis(20), ..WarehouseLimits::default() };
    let never: LiveRows = Arc::new(|_| Box::pin(std::future::pending()));
    let of = story.warehouse();
    let warehouse = Warehouse::new(&story.lake, of.source().clone(), Models::default(), limits, Some(never)).unwrap();
    let late = warehouse.query("SELECT count(*) FROM live_turnstile").await;
    assert!(matches!(late.err(), Some(QueryError::Timeout(_))));
}

#[tokio::test]
async fn open_windows_are_those_of_the_position_whose_files_are_read() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    let before = story.publish(&[(0, 1, &[("a", 1)])]).await;
    let newest = story.publish(&[(1, 1, &[("b", 2)])]).await;
    let seen: Arc<parking_lot::Mutex<Vec<u64>>> = Arc::default();
    let seqs = Arc::clone(&seen);
    let live: LiveRows = Arc::new(move |slot| {
        seqs.lock().push(slot.seq);
        Box::pin(async { Ok(Vec::new()) })
    });
    let open = || {
        let source = story.warehouse().source().clone();
        Warehouse::new(&story.lake, source, Models::default(), WarehouseLimits::default(), Some(live.clone())).unwrap()
    };
    let rows = "SELECT (SELECT count(*) FROM ext_turnstile) AS kept, (SELECT count(*) FROM live_turnstile) AS open";
    assert_eq!(query(&open(), rows).await, ["2,0"]);
    // The newest commit's file is not at its name yet.
    story.lake.delete(&["date=2026-08-01/p_20260801T000500Z_20260801T001000Z.csv.gz".to_owned()]).await.unwrap();
    assert_eq!(query(&open(), rows).await, ["1,0"]);
    assert_eq!(*seen.lock(), [newest, before]);
}

/// A warehouse whose open windows `live` computes.
fn with_live(story: &Story, live: LiveRows) -> Warehouse {
    let source = story.warehouse().source().clone();
    Warehouse::new(&story.lake, source, Models::default(), WarehouseLimits::default(), Some(live)).unwrap()
}

#[tokio::test]
async fn a_query_whose_open_windows_are_replaced_while_they_are_read_is_answered_from_a_newer_position() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    let first = story.publish(&[(0, 1, &[("a", 1)])]).await;
    let (asked, mut asks) = tokio::sync::mpsc::channel::<()>(1);
    let (done, committed) = tokio::sync::mpsc::channel::<()>(1);
    let committed = Arc::new(tokio::sync::Mutex::new(committed));
    let live: LiveRows = Arc::new(move |slot| {
        let (asked, committed) = (asked.clone(), Arc::clone(&committed));
        Box::pin(async move {
            if slot.seq > first {
                return Ok(Vec::new());
            }
            // Between the session's listing of the ledger and the reading of the state, a commit replaces the state.
            asked.send(()).await.unwrap();
            committed.lock().await.recv().await.unwrap();
            Err(LiveRowsError::Replaced)
        })
    });
    let warehouse = with_live(&story, live);
    let commit = async {
        asks.recv().await.unwrap();
        story.publish(&[(1, 1, &[("b", 2)])]).await;
        done.send(()).await.unwrap();
    };
    let rows = "SELECT (SELECT count(*) FROM ext_turnstile) AS kept, (SELECT count(*) FROM live_turnstile) AS open";
    let (answer, ()) = tokio::join!(query(&warehouse, rows), commit);
    assert_eq!(answer, ["2,0"]);
}

#[tokio::test]
async fn a_query_whose_open_windows_are_replaced_every_time_fails_after_a_few_snapshots() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    let tried: Arc<parking_lot::Mutex<u32>> = Arc::default();
    let counted = Arc::clone(&tried);
    let live: LiveRows = Arc::new(move |_| {
        *counted.lock() += 1;
        Box::pin(async { Err(LiveRowsError::Replaced) })
    });
    let failed = with_live(&story, live).query("SELECT count(*) FROM live_turnstile").await.err().unwrap();
    let QueryError::Query { hint, .. } = failed else { panic!("{failed}") };
    assert!(hint.fact.contains("newer commits replaced the open windows"), "{hint:?}");
    assert_eq!((hint.hint.as_deref(), *tried.lock()), (Some("run the query again"), 5));
}
