//! Models that read other models, rebuilt, added later, tested whole.

use turnstile_lake::FileEncoding;
use turnstile_warehouse::{BUILT_IN, DropTable, LoadOptions, Models, WarehouseError, WarehouseLimits, loaded_until};

use crate::story::{Story, load, load_all, query};

const FACT: (&str, &str) = (
    "models/fact.sql",
    "-- kind: incremental\n-- key: station, w\n-- window: w\n\
     SELECT station, start AS w, sum(entries) AS entries FROM ext_turnstile GROUP BY station, start",
);
const PLACE: (&str, &str) =
    ("models/place.sql", "-- kind: dimension\n-- key: station\nSELECT DISTINCT station FROM ext_turnstile");
const TOTAL: (&str, &str) =
    ("models/total.sql", "-- kind: table\nSELECT station, sum(entries) AS entries FROM fact GROUP BY station");

async fn again(warehouse: &turnstile_warehouse::Warehouse, names: &[&str]) {
    let full_refresh = names.iter().map(|name| (*name).to_owned()).collect();
    warehouse.load(&LoadOptions { full_refresh }).await.unwrap().unwrap();
    load_all(warehouse).await;
}

fn steps_of(load_rows: u64) -> WarehouseLimits {
    WarehouseLimits { load_rows, ..WarehouseLimits::default() }
}

#[tokio::test]
async fn facts_are_rebuilt_beside_the_dimensions_that_they_refer_to() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)]), (1, 1, &[("b", 2)])]).await;
    let warehouse = story.warehouse();
    load_all(&warehouse).await;
    again(&warehouse, &["fact_turnstile"]).await;
    assert_eq!(query(&warehouse, "SELECT sum(entries) FROM fact_turnstile").await, ["3"]);
    again(&warehouse, &["dim_booth"]).await;
    assert_eq!(query(&warehouse, "SELECT count(*) FROM dim_booth").await, ["2"]);
}

#[tokio::test]
async fn a_new_model_reads_the_tables_that_are_there() {
    // Its own windows of facts, and places whole.
    let share = (
        "models/share.sql",
        "-- kind: incremental\n-- key: station, w\n-- window: w\n-- column station: S. [relationship(fact.station)]\n\
         SELECT f.station, f.w, 10 * f.entries AS tenfold FROM fact f JOIN place p ON p.station = f.station",
    );
    let mut story = Story::begin(FileEncoding::Parquet).await;
    let before = story.warehouse_of(&[FACT, PLACE], WarehouseLimits::default());
    for number in 0..5 {
        story.publish(&[(number, 1, &[("a", number)])]).await;
    }
    load_all(&before).await;
    let after = story.warehouse_of(&[FACT, PLACE, share], steps_of(2));
    load_all(&after).await;
    assert_eq!(query(&after, "SELECT count(*), sum(tenfold) FROM share").await, ["5,100"]);
    story.publish(&[(2, 2, &[("a", 9)])]).await;
    load_all(&after).await;
    assert_eq!(query(&after, "SELECT count(*), sum(tenfold) FROM share").await, ["5,170"]);
}

#[tokio::test]
async fn a_view_over_a_stored_model_holds_no_refresh_up() {
    let view = ("models/seen.sql", "-- kind: view\nSELECT f.station FROM fact f JOIN place p USING (station)");
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    let warehouse = story.warehouse_of(&[FACT, PLACE, view], WarehouseLimits::default());
    load_all(&warehouse).await;
    again(&warehouse, &["place"]).await;
    again(&warehouse, &["fact"]).await;
    assert_eq!(query(&warehouse, "SELECT * FROM seen").await, ["a"]);
}

#[tokio::test]
async fn a_first_load_in_steps_makes_the_table_over_a_model_in_the_last_one() {
    let mut story = Story::begin(FileEncoding::Parquet).await;
    for number in 0..10 {
        story.publish(&[(number, 1, &[("a", 1), ("b", 2)])]).await;
    }
    let warehouse = story.warehouse_of(&[FACT, TOTAL], steps_of(4));
    assert_eq!(load_all(&warehouse).await, 5);
    assert_eq!(query(&warehouse, "SELECT * FROM total ORDER BY 1").await, ["a,10", "b,20"]);
}

#[tokio::test]
async fn a_new_table_is_built_although_nothing_is_published() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    load_all(&story.warehouse_of(&[FACT], WarehouseLimits::default())).await;
    let warehouse = story.warehouse_of(&[FACT, TOTAL], WarehouseLimits::default());
    load_all(&warehouse).await;
    assert_eq!(query(&warehouse, "SELECT * FROM total").await, ["a,1"]);
    // So is one whose query is another.
    let text = TOTAL.1.replace("sum(entries)", "2 * sum(entries)");
    let changed = story.warehouse_of(&[FACT, (TOTAL.0, &text)], WarehouseLimits::default());
    load_all(&changed).await;
    assert_eq!(query(&changed, "SELECT * FROM total").await, ["a,2"]);
    assert_eq!(load(&changed).await.unwrap(), None);
}

#[tokio::test]
async fn tables_that_depend_on_rebuilt_facts_are_rebuilt_too() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    load_all(&story.warehouse_of(&[FACT, TOTAL], WarehouseLimits::default())).await;
    let text = FACT.1.replace("sum(entries)", "3 * sum(entries)");
    let changed = story.warehouse_of(&[(FACT.0, &text), TOTAL], WarehouseLimits::default());
    again(&changed, &["fact"]).await;
    assert_eq!(query(&changed, "SELECT * FROM total").await, ["a,3"]);
}

#[tokio::test]
async fn a_whole_table_is_tested_against_the_whole_lake() {
    let whole = (
        "models/whole.sql",
        "-- kind: table\n-- check: conservation(entries)\n-- column station: S. [relationship(fact.station)]\n\
         SELECT station, sum(entries) AS entries FROM ext_turnstile GROUP BY station",
    );
    let top = ("models/top.sql", "-- kind: view\n-- check: conservation(entries)\nSELECT * FROM whole");
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    let warehouse = story.warehouse_of(&[FACT, whole, top], WarehouseLimits::default());
    for number in 0..3 {
        // Each load has different stations: the table has those of earlier loads too.
        story.publish(&[(number, 1, &[(["a", "b", "c"][number as usize], number + 1)])]).await;
        let load = load(&warehouse).await.unwrap().unwrap();
        assert_eq!(load.tests.iter().filter(|test| test.passed()).count(), 4, "{:?}", load.tests);
    }
    assert_eq!(query(&warehouse, "SELECT * FROM top ORDER BY 1").await, ["a,1", "b,2", "c,3"]);
}

#[tokio::test]
async fn facts_may_refer_to_facts_of_earlier_loads() {
    let echo = (
        "models/echo.sql",
        "-- kind: incremental\n-- key: station, w\n-- window: w\n\
         -- column before: The entries before. [relationship(fact.entries)]\n\
         SELECT station, start AS w, sum(entries) - 1 AS before FROM ext_turnstile \
         WHERE entries > 1 GROUP BY station, start",
    );
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    let warehouse = story.warehouse_of(&[FACT, echo], WarehouseLimits::default());
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    load_all(&warehouse).await;
    story.publish(&[(1, 1, &[("a", 2)])]).await;
    load_all(&warehouse).await;
    story.publish(&[(2, 1, &[("a", 9)])]).await;
    let error = load(&warehouse).await.unwrap_err().to_string();
    assert!(error.contains("echo relationship(before -> fact.entries): 1 row, such as 8"), "{error}");
}

#[tokio::test]
async fn two_rows_of_one_key_are_not_loaded() {
    let twice = "SELECT station, start AS w, entries FROM ext_turnstile";
    let fact = format!("-- kind: incremental\n-- key: station, w\n-- window: w\n{twice}");
    let place = format!("-- kind: dimension\n-- key: station\n{twice}");
    for (path, text) in [("models/fact.sql", &fact), ("models/place.sql", &place)] {
        let mut story = Story::begin(FileEncoding::CsvGz).await;
        story.publish(&[(0, 1, &[("a", 1), ("a", 2)])]).await;
        let error =
            load(&story.warehouse_of(&[(path, text)], WarehouseLimits::default())).await.unwrap_err().to_string();
        assert!(error.contains("unique(station") && error.contains("such as a"), "{error}");
    }
}

#[tokio::test]
async fn a_view_over_query_only_tables_delays_no_load() {
    let views = [
        ("models/busy.sql", "-- kind: view\nSELECT station FROM live_turnstile"),
        ("models/late.sql", "-- kind: view\n-- check: unique(load)\nSELECT load FROM load_runs"),
        ("models/both.sql", "-- kind: view\nSELECT load, name FROM late JOIN _turnstile.files ON true"),
    ];
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    let models: Vec<_> = BUILT_IN.iter().copied().chain(views).collect();
    let warehouse = story.warehouse_of(&models, WarehouseLimits::default());
    load_all(&warehouse).await;
    again(&warehouse, &["fact_turnstile"]).await;
    assert_eq!(query(&warehouse, "SELECT count(DISTINCT load) FROM both").await, ["2"]);
    assert!(warehouse.test().await.unwrap().iter().any(|test| test.model == "late" && test.passed()));
}

#[tokio::test]
async fn a_value_that_a_column_cannot_hold_ends_the_load_and_is_named() {
    let big = (
        "models/big.sql",
        "-- kind: table\nSELECT CAST(18446744073709551615 AS bigint unsigned) AS number FROM ext_turnstile",
    );
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    let error = load(&story.warehouse_of(&[big], WarehouseLimits::default())).await.unwrap_err();
    let WarehouseError::Compute { source, .. } = error else { panic!("{error}") };
    assert!(source.to_string().contains("column number of big") && source.to_string().contains("1844"), "{source}");
}

#[tokio::test]
async fn checking_models_finds_what_a_load_would_stumble_over() {
    let story = Story::begin(FileEncoding::CsvGz).await;
    let plan = async |models: &[(&str, &str)]| {
        let warehouse = story.warehouse_of(models, WarehouseLimits::default());
        warehouse.models().plan(warehouse.source()).await
    };
    let tables = plan(&BUILT_IN).await.unwrap();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["dim_booth", "dim_station", "fact_turnstile"]);
    assert_eq!(tables[2].schema.fields().len(), 13);
    for (text, line, reason) in [
        ("-- kind: view\nSELECT station,\n  entires FROM ext_turnstile", "", "column entires does not exist"),
        ("-- kind: table\nSELECT sum(station) AS s FROM ext_turnstile", "m.sql:2", "sum"),
        ("-- kind: dimension\n-- key: id\nSELECT station FROM ext_turnstile", "m.sql:3", "has no column id"),
        ("-- kind: view\n-- check: conservation(entires)\nSELECT entries FROM ext_turnstile", "m.sql:1", "entires"),
    ] {
        let error = plan(&[("m.sql", text)]).await.unwrap_err();
        assert!(error.to_string().contains(reason) && error.to_string().contains(line), "{error}");
    }
    let parse = |text| Models::parse([("m.sql", text)], "ext_turnstile").unwrap_err().to_string();
    assert!(
        parse("-- kind: table\nSELECT * FROM live_turnstile").contains("m.sql:2: the table model m reads live_turn")
    );
    let unknown = "-- kind: view\n-- column a: A. [relationship(nowhere.b)]\nSELECT 1 AS a";
    assert!(parse(unknown).contains("names nowhere, which is neither a model"), "{}", parse(unknown));
    let kept = "-- kind: dimension\n-- key: a\n-- check: conservation(a)\nSELECT 1 AS a";
    assert!(parse(kept).contains("the dimension m cannot have a conservation check"), "{}", parse(kept));
}

#[tokio::test]
async fn a_table_is_rebuilt_as_of_the_position_of_the_others() {
    let lake = ("models/lake.sql", "-- kind: table\nSELECT sum(entries) AS entries FROM ext_turnstile");
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    let warehouse = story.warehouse_of(&[FACT, lake], WarehouseLimits::default());
    load_all(&warehouse).await;
    story.publish(&[(0, 2, &[("a", 5)]), (1, 1, &[("a", 7)])]).await;
    let full_refresh = vec!["fact".to_owned(), "lake".to_owned()];
    let made = warehouse.load(&LoadOptions { full_refresh }).await.unwrap().unwrap();
    assert!(made.more);
    let sums = "SELECT f.entries, l.entries FROM (SELECT sum(entries) AS entries FROM fact) f CROSS JOIN lake l";
    assert_eq!(query(&warehouse, sums).await, ["1,1"]);
    load_all(&warehouse).await;
    assert_eq!(query(&warehouse, sums).await, ["12,12"]);
}

#[tokio::test]
async fn the_table_of_a_deleted_model_is_dropped_and_that_of_another_is_not() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1), ("b", 2)])]).await;
    load_all(&story.warehouse_of(&[FACT, PLACE, TOTAL], WarehouseLimits::default())).await;
    let warehouse = story.warehouse_of(&[PLACE], WarehouseLimits::default());
    assert_eq!(warehouse.drop_table("place").await.unwrap(), DropTable::HasModel);
    let without_model = vec!["fact".to_owned(), "total".to_owned()];
    assert_eq!(warehouse.drop_table("nothing").await.unwrap(), DropTable::Unknown { without_model });
    assert_eq!(warehouse.drop_table("fact").await.unwrap(), DropTable::Dropped { rows: 2 });
    let without_model = vec!["total".to_owned()];
    assert_eq!(warehouse.drop_table("fact").await.unwrap(), DropTable::Unknown { without_model });
    let tables =
        "SELECT table_name FROM information_schema.tables WHERE table_name IN ('fact', 'place', 'total') ORDER BY 1";
    assert_eq!(query(&warehouse, tables).await, ["place", "total"]);
    // A model of that name starts from all that the lake has.
    story.publish(&[(1, 1, &[("a", 5)])]).await;
    let again = story.warehouse_of(&[FACT, PLACE], WarehouseLimits::default());
    load_all(&again).await;
    assert_eq!(query(&again, "SELECT sum(entries) FROM fact").await, ["8"]);
}

#[tokio::test]
async fn a_load_that_fails_leaves_no_file() {
    let strict = FACT.1.replace("-- window: w\n", "-- window: w\n-- column station: S. [accepted(a)]\n");
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    let warehouse = story.warehouse_of(&[(FACT.0, &strict), PLACE, TOTAL], WarehouseLimits::default());
    story.publish(&[(0, 1, &[("b", 1)])]).await;
    load(&warehouse).await.unwrap_err();
    assert_eq!(story.lake.list("_warehouse/p/tables", None).await.unwrap().len(), 0);
    story.publish(&[(0, 2, &[("a", 1)])]).await;
    load_all(&warehouse).await;
    let loaded = story.lake.list("_warehouse/p/tables", None).await.unwrap();
    assert_eq!(loaded.len(), 3);
    // So does one that rebuilds tables.
    let stricter = strict.replace("accepted(a)", "accepted(c)");
    let warehouse = story.warehouse_of(&[(FACT.0, &stricter), PLACE, TOTAL], WarehouseLimits::default());
    warehouse.load(&LoadOptions { full_refresh: vec!["fact".to_owned()] }).await.unwrap_err();
    assert_eq!(story.lake.list("_warehouse/p/tables", None).await.unwrap(), loaded);
}

#[tokio::test]
async fn commits_that_publish_nothing_are_not_read_again_and_again() {
    let mut story = Story::begin(FileEncoding::CsvGz).await;
    story.publish(&[(0, 1, &[("a", 1)])]).await;
    let warehouse = story.warehouse();
    load_all(&warehouse).await;
    let (loaded, runs) = (loaded_until(&story.lake, "p").await.unwrap(), warehouse.runs().await.unwrap());
    let mut last = 0;
    for _ in 0..200 {
        last = story.publish(&[]).await;
    }
    assert_eq!(load(&warehouse).await.unwrap(), None);
    let until = loaded_until(&story.lake, "p").await.unwrap();
    assert!(until > loaded + 190 && until <= last, "{loaded} {until} {last}");
    assert_eq!(warehouse.runs().await.unwrap(), runs, "it is no run");
    story.publish(&[(1, 1, &[("a", 2)])]).await;
    load_all(&warehouse).await;
    assert_eq!(query(&warehouse, "SELECT sum(entries) FROM fact_turnstile").await, ["3"]);
}
