//! Every type arrives as the same value; tables that others made or changed.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::record_batch::RecordBatch;
use turnstile_delivery::{Scope, TableKind, Target, TargetTable};

use super::city::{change, dim, load, names, refusal, windows};
use super::test_database::TestDatabase;

fn every_type() -> (TargetTable, RecordBatch) {
    let dictionary: DictionaryArray<Int32Type> = [Some("d"), None, Some("")].into_iter().collect();
    let decimal = Decimal128Array::from(vec![Some(-123_456), None, Some(10i128.pow(38) - 1)]);
    let times = vec![Some(1_785_542_400_123_456), None, Some(-1)];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int32Array::from(vec![1, 2, 3]))),
        ("text", Arc::new(StringArray::from(vec![Some("a\tb\\ü\n'\""), None, Some("")]))),
        ("large", Arc::new(LargeStringArray::from(vec![Some("l"), None, Some("L")]))),
        ("word", Arc::new(dictionary)),
        ("big", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)]))),
        ("float", Arc::new(Float64Array::from(vec![Some(0.1), None, Some(f64::NAN)]))),
        ("yes", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("exact", Arc::new(decimal.with_precision_and_scale(38, 5).unwrap())),
        ("day", Arc::new(Date32Array::from(vec![Some(0), None, Some(20_666)]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(times.clone()).with_timezone("UTC"))),
        ("local", Arc::new(TimestampMicrosecondArray::from(times))),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let rows =
        RecordBatch::try_new(Arc::clone(&schema), columns.into_iter().map(|(_, array)| array).collect()).unwrap();
    let (name, description, kind) = ("types".into(), String::new(), TableKind::Dimension);
    (TargetTable { name, description, schema, key: vec!["id".into()], kind }, rows)
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn every_type_arrives_as_the_same_value() {
    let database = TestDatabase::new().await;
    let mut target = database.target();
    let (table, rows) = every_type();
    // Once into a new table, once beside it and over.
    for number in [1, 2] {
        let delivered = target.apply(&load(number, vec![change(table.clone(), Scope::Everything, rows.clone())])).await;
        assert_eq!(delivered.unwrap().replaced, 0, "the same rows differ from themselves");
        let read = "SET TimeZone = 'UTC'; SELECT * FROM turnstile.types ORDER BY id";
        assert_eq!(
            database.sql(read).await,
            [
                "1|a\tb\\ü\n'\"|l|d|-9223372036854775808|0.1|t|-1.23456|1970-01-01|2026-08-01 00:00:00.123456+00|\
                 2026-08-01 00:00:00.123456",
                "2|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL",
                "3||L||9223372036854775807|NaN|f|999999999999999999999999999999999.99999|2026-08-01|\
                 1969-12-31 23:59:59.999999+00|1969-12-31 23:59:59.999999",
            ]
        );
    }
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_new_nullable_column_is_added_and_old_rows_have_none() {
    let database = TestDatabase::new().await;
    let mut target = database.target();
    target.apply(&load(1, vec![change(dim(), Scope::Keys, names(&[(1, "one"), (2, "two")]))])).await.unwrap();
    let mut fields: Vec<_> = dim().schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("line", DataType::Utf8, true)));
    let wider = TargetTable { schema: Arc::new(Schema::new(fields)), ..dim() };
    let line: ArrayRef = Arc::new(StringArray::from(vec!["L"]));
    let columns = names(&[(2, "two")]).columns().iter().cloned().chain([line]).collect();
    let rows = RecordBatch::try_new(Arc::clone(&wider.schema), columns).unwrap();
    target.apply(&load(2, vec![change(wider, Scope::Keys, rows)])).await.unwrap();
    assert_eq!(database.sql("SELECT * FROM turnstile.dim ORDER BY 1").await, ["1|one|NULL", "2|two|L"]);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_column_of_another_type_is_refused_and_nothing_is_changed() {
    let database = TestDatabase::new().await;
    database
        .sql("CREATE SCHEMA turnstile; CREATE TABLE turnstile.fact (station text, start_at timestamptz, entries int)")
        .await;
    let both = vec![change(dim(), Scope::Keys, names(&[(1, "one")])), windows(&[0], &[("A", 0, 1)])];
    let (reason, hint) = refusal(database.target().apply(&load(1, both)).await.unwrap_err());
    let expected =
        "table \"turnstile\".\"fact\", column entries: it is integer in the database and bigint in the model";
    assert!(reason.ends_with(expected), "{reason}");
    assert!(hint.contains("ALTER COLUMN \"entries\" TYPE bigint"), "{hint}");
    let tables = database.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'turnstile'").await;
    assert_eq!(tables, ["fact"], "the refused delivery left something behind");
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn an_existing_table_is_used_with_its_wider_types_and_other_columns() {
    let database = TestDatabase::new().await;
    database
        .sql(
            "CREATE SCHEMA turnstile; CREATE TABLE turnstile.fact (note text DEFAULT 'mine', entries numeric, \
             start_at timestamptz, station varchar, PRIMARY KEY (start_at, station))",
        )
        .await;
    let mut target = database.target();
    target.apply(&load(1, vec![windows(&[0], &[("A", 0, 1), ("B", 0, 2)])])).await.unwrap();
    let delivered = target.apply(&load(2, vec![windows(&[0], &[("A", 0, 1), ("B", 0, 3)])])).await.unwrap();
    assert_eq!(delivered.replaced, 1);
    let rows = database.sql("SELECT station, entries, note FROM turnstile.fact ORDER BY 1").await;
    assert_eq!(rows, ["A|1|mine", "B|3|mine"]);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_partitioned_table_is_used() {
    let database = TestDatabase::new().await;
    database
        .sql(
            "CREATE SCHEMA turnstile; CREATE TABLE turnstile.fact (station text, start_at timestamptz, entries bigint, \
             PRIMARY KEY (station, start_at)) PARTITION BY RANGE (start_at); \
             CREATE TABLE turnstile.fact_2026 PARTITION OF turnstile.fact DEFAULT",
        )
        .await;
    let mut target = database.target();
    target.apply(&load(1, vec![windows(&[0], &[("A", 0, 1), ("B", 0, 2), ("C", 0, 3)])])).await.unwrap();
    let delivered = target.apply(&load(2, vec![windows(&[0], &[("A", 0, 1), ("B", 0, 3)])])).await.unwrap();
    assert_eq!(delivered.replaced, 2);
    assert_eq!(database.sql("SELECT station, entries FROM turnstile.fact_2026 ORDER BY 1").await, ["A|1", "B|3"]);
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_view_in_the_place_of_a_table_is_refused() {
    let database = TestDatabase::new().await;
    database.sql("CREATE SCHEMA turnstile; CREATE VIEW turnstile.fact AS SELECT 1 AS entries").await;
    let (reason, _) = refusal(database.target().apply(&load(1, vec![windows(&[0], &[])])).await.unwrap_err());
    assert!(reason.contains("is not a table"), "{reason}");
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn names_that_need_quotes_stay_names() {
    let database = TestDatabase::new().await;
    let mut odd = dim();
    odd.schema = Arc::new(Schema::new(vec![
        Field::new("select", DataType::Int64, false),
        Field::new("a \"b\"; drop table x --", DataType::Utf8View, true),
    ]));
    odd.key = vec!["select".into()];
    odd.description = "it's a \\ 'quoted' one".into();
    let columns = names(&[(1, "x")]).columns().to_vec();
    let rows = RecordBatch::try_new(Arc::clone(&odd.schema), columns).unwrap();
    let mut target =
        turnstile_delivery::postgres::PostgresTarget::new(database.settings(&[("schema", "My \"Schema\"")]));
    for number in [1, 2] {
        target.apply(&load(number, vec![change(odd.clone(), Scope::Keys, rows.clone())])).await.unwrap();
    }
    assert_eq!(database.sql("SELECT * FROM \"My \"\"Schema\"\"\".dim").await, ["1|x"]);
    let comment = database.sql("SELECT obj_description('\"My \"\"Schema\"\"\".dim'::regclass, 'pg_class')").await;
    assert_eq!(comment, ["it's a \\ 'quoted' one"]);
}
