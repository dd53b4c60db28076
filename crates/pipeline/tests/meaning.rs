//! What expressions mean: planned from SQL, evaluated by DataFusion on small batches.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, StringViewArray};
use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{EmitTo, Expr};
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use turnstile_pipeline::{AggregateKind, Pipeline};

const FILE: &str = r#"
name = "x"
[source]
topic = "x"
format = "csv"
[source.schema]
S = "string"
I = "int"
L = "long"
D = "double"
B = "boolean"
T = { type = "timestamp", zone = "America/New_York" }
[stream]
event_time = "T"
watermark = "0 seconds"
[query]
sql = '''SQL'''
[lake]
url = "file:./lake"
"#;

fn planned(sql: &str) -> Pipeline {
    Pipeline::from_str(&FILE.replace("SQL", sql), "x.toml").unwrap_or_else(|error| panic!("{sql}\n{error}"))
}

fn physical(expr: &Expr, schema: &DFSchema) -> Arc<dyn PhysicalExpr> {
    create_physical_expr(expr, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default()).unwrap()
}

/// One row of input: S, I, L, D, B, T (microseconds).
#[derive(Clone, Copy, Default)]
struct Row {
    s: Option<&'static str>,
    i: Option<i32>,
    l: Option<i64>,
    d: Option<f64>,
    b: Option<bool>,
    t: i64,
}

/// The row that most claims are about. T is 2023-09-22 14:05:09.12 in New York.
const ROW: Row = Row {
    s: Some("Spark SQL"),
    i: Some(7),
    l: Some(-9_000_000_000),
    d: Some(2.5),
    b: Some(true),
    t: 1_695_405_909_120_000,
};

/// Evaluates `sql` as a key over one row; null is "NULL".
fn evaluate(sql: &str, row: Row) -> Result<String, String> {
    let pipeline = planned(&format!("SELECT count(*) AS n FROM turnstile GROUP BY window(T, '1 hour'), {sql}"));
    let query = &pipeline.query;
    let key = query.keys.first().unwrap_or_else(|| panic!("{sql} is no key"));
    let columns = query.columns.iter().map(|column| -> ArrayRef {
        match column {
            0 => Arc::new(StringViewArray::from_iter([row.s])),
            1 => Arc::new(Int32Array::from_iter([row.i])),
            2 => Arc::new(Int64Array::from_iter([row.l])),
            3 => Arc::new(Float64Array::from_iter([row.d])),
            4 => Arc::new(BooleanArray::from_iter([row.b])),
            _ => Arc::new(TimestampMicrosecondArray::from_iter([Some(row.t)]).with_timezone("America/New_York")),
        }
    });
    // The batch lacks the window's bounds, as the contract of `Query::input` allows.
    let schema = query.input.as_arrow().project(&(0..query.columns.len()).collect::<Vec<_>>()).unwrap();
    let batch = RecordBatch::try_new(Arc::new(schema), columns.collect()).unwrap();
    let key = physical(key, &query.input);
    let value = key.evaluate(&batch).map_err(|error| error.strip_backtrace())?;
    let array = value.into_array(1).map_err(|error| error.strip_backtrace())?;
    let options = FormatOptions::default().with_null("NULL");
    Ok(ArrayFormatter::try_new(&array, &options).unwrap().value(0).to_string())
}

fn means(row: Row, claims: &[(&str, &str)]) {
    for (sql, expected) in claims {
        assert_eq!(evaluate(sql, row).as_deref(), Ok(*expected), "{sql}");
    }
}

#[test]
fn a_timestamp_is_seen_in_its_own_zone() {
    means(
        ROW,
        &[
            ("date_format(T, 'yyyy-MM-dd HH:mm:ss')", "2023-09-22 14:05:09"),
            ("date_format(T, \"EEEE 'at' h a\")", "Friday at 2 PM"),
            ("CAST(T AS string)", "2023-09-22 14:05:09.12"),
            ("concat('at ', T)", "at 2023-09-22 14:05:09.12"),
            ("year(T) * 10000 + month(T) * 100 + day(T)", "20230922"),
            ("hour(T)", "14"),
            ("extract(MINUTE FROM T)", "5"),
            ("second(T)", "9"),
            ("dayofweek(T)", "6"),
            ("weekday(T)", "4"),
            ("dayofyear(T)", "265"),
            ("weekofyear(T)", "38"),
            ("quarter(T)", "3"),
            ("to_date(T)", "2023-09-22"),
            ("date_format(date_trunc('HOUR', T), 'HH:mm:ss')", "14:00:00"),
            ("date_format(date_trunc('day', T), 'yyyy-MM-dd HH:mm XXX')", "2023-09-22 00:00 -04:00"),
            ("date_format(date_trunc('week', T), 'yyyy-MM-dd HH')", "2023-09-18 00"),
            ("unix_timestamp(T)", "1695405909"),
            ("CAST(T AS bigint)", "1695405909"),
            ("CAST(T AS double)", "1695405909.12"),
            ("date_format(T + INTERVAL 1 HOUR, 'HH:mm')", "15:05"),
            ("T > '2023-09-22 14:05:09'", "true"),
            ("T >= TIMESTAMP '2023-09-22 14:05:10'", "false"),
            ("to_date(T) = DATE '2023-09-22'", "true"),
            ("date_format(to_date(T), 'yyyy-MM-dd HH:mm')", "2023-09-22 00:00"),
        ],
    );
    let before_1970 = Row { t: -1, ..ROW };
    means(
        before_1970,
        &[("unix_timestamp(T)", "0"), ("unix_seconds(T)", "-1"), ("CAST(T AS string)", "1969-12-31 18:59:59.999999")],
    );
}

#[test]
fn the_late_evening_belongs_to_the_local_day_and_not_to_that_of_utc() {
    // 2023-09-22 23:30 in New York is 2023-09-23 03:30 UTC.
    let evening = Row { t: 1_695_439_800_000_000, ..ROW };
    means(evening, &[("to_date(T)", "2023-09-22"), ("day(T)", "22"), ("hour(T)", "23"), ("dayofweek(T)", "6")]);
}

#[test]
fn a_clock_change_is_seen_where_it_happens() {
    // 01:30 EDT, and 01:30 EST an hour later.
    let first = Row { t: 1_699_162_200_000_000, ..ROW };
    let second = Row { t: 1_699_165_800_000_000, ..ROW };
    means(first, &[("hour(T)", "1"), ("date_format(T, 'HH:mm z')", "01:30 EDT")]);
    means(second, &[("hour(T)", "1"), ("date_format(T, 'HH:mm z')", "01:30 EST")]);
    // A day that has 25 hours: an hour later is not a day later, and midnight is midnight.
    means(
        second,
        &[
            ("date_format(date_trunc('day', T), 'yyyy-MM-dd HH:mm XXX')", "2023-11-05 00:00 -04:00"),
            ("date_format(T + INTERVAL 1 DAY, 'dd HH:mm')", "06 01:30"),
        ],
    );
    // The hour that 2024-03-10 does not have: 02:30 means 03:30.
    let morning = Row { t: 1_710_055_800_000_000, ..ROW };
    means(morning, &[("date_format(T, 'yyyy-MM-dd HH:mm z')", "2024-03-10 03:30 EDT")]);
}

#[test]
fn division_is_of_doubles_and_by_zero_it_is_null() {
    means(
        ROW,
        &[
            ("I / 2", "3.5"),
            ("6 / I * I", "6.0"),
            ("L / 0", "NULL"),
            ("D / (I - 7)", "NULL"),
            ("I % 4", "3"),
            ("L % 7", "-5"),
            ("I % 0", "NULL"),
            ("mod(I, 4)", "3"),
            ("try_divide(I, 0)", "NULL"),
        ],
    );
}

#[test]
fn integers_fail_rather_than_wrap() {
    let limit = Row { i: Some(i32::MAX), l: Some(i64::MIN), ..ROW };
    for sql in ["I + 1", "I * 2", "-2 - I", "-L", "L - 1", "L * L"] {
        let error = evaluate(sql, limit).unwrap_err();
        assert!(error.contains("verflow"), "{sql}: {error}");
    }
    means(
        limit,
        &[("I + CAST(1 AS bigint)", "2147483648"), ("I - 1", "2147483646"), ("L + I", "-9223372034707292161")],
    );
}

#[test]
fn text_beside_a_number_is_read_as_one() {
    let row = Row { s: Some(" 7 "), ..ROW };
    means(
        row,
        &[
            ("S = I", "true"),
            ("I < '10'", "true"),
            ("S + 1", "8"),
            ("S * D", "17.5"),
            ("I IN ('6', '7')", "true"),
            ("I BETWEEN '6' AND '8'", "true"),
            ("CAST(S AS int)", "7"),
            ("TRY_CAST('x' AS int) IS NULL AND I = 7", "true"),
            ("S = '7'", "false"),
        ],
    );
    let error = evaluate("CAST(S AS int)", ROW).unwrap_err();
    assert!(error.contains("Spark SQL"), "{error}");
    means(ROW, &[("TRY_CAST(S AS int)", "NULL")]);
}

#[test]
fn functions_of_text_follow_spark() {
    means(
        ROW,
        &[
            ("upper(S)", "SPARK SQL"),
            ("lcase(S)", "spark sql"),
            ("substring(S, 5, 1)", "k"),
            ("substring(S, -3)", "SQL"),
            ("substring(S FROM 2 FOR 4)", "park"),
            ("left(S, 5)", "Spark"),
            ("right(S, 3)", "SQL"),
            ("right(S, 0)", ""),
            ("length(S)", "9"),
            ("replace(S, 'S', '$')", "$park $QL"),
            ("split_part(S, ' ', 2)", "SQL"),
            ("split_part(S, ' ', -1)", "SQL"),
            ("lpad(I, 3, '0')", "007"),
            ("rpad(S, 5)", "Spark"),
            ("trim('  a ') || S", "aSpark SQL"),
            ("trim(BOTH 'S' FROM S)", "park SQL"),
            ("ltrim('  a') || S", "aSpark SQL"),
            ("concat(S, '-', I)", "Spark SQL-7"),
            ("concat(S, NULL)", "NULL"),
            ("concat_ws('/', S, NULL, I)", "Spark SQL/7"),
            ("instr(S, 'SQL')", "7"),
            ("position('SQL' IN S)", "7"),
            ("locate('SQL', S)", "7"),
            ("startswith(S, 'Sp')", "true"),
            ("endswith(S, 'QL')", "true"),
            ("contains(S, 'k S')", "true"),
            ("reverse(S)", "LQS krapS"),
            ("repeat(I, 3)", "777"),
            ("translate(S, 'SQ', '01')", "0park 01L"),
            ("S LIKE 'Sp%'", "true"),
            ("S LIKE 'Sp\\_%'", "false"),
            ("S ILIKE 'sp%'", "true"),
            ("S RLIKE '^S.*L$'", "true"),
            ("regexp_like(S, 'x')", "false"),
        ],
    );
    let null = Row { s: None, ..ROW };
    means(null, &[("concat(S, 'x')", "NULL"), ("S || 'x'", "NULL"), ("coalesce(S, 'none')", "none")]);
}

#[test]
fn conditions_and_nulls_follow_spark() {
    let null = Row { i: None, ..ROW };
    means(
        null,
        &[
            ("if(I > 5, 'high', 'low')", "low"),
            ("CASE WHEN I IS NULL THEN 'none' WHEN I > 5 THEN 'high' END", "none"),
            ("CASE I WHEN 7 THEN 'seven' ELSE 'other' END", "other"),
            ("nvl(I, 0)", "0"),
            ("nvl2(I, 1, 2)", "2"),
            ("nullif(D, 2.5)", "NULL"),
            ("I <=> NULL", "true"),
            ("I = NULL", "NULL"),
            ("isnull(I)", "true"),
            ("greatest(D, 3)", "3.0"),
            ("least(L, 3)", "-9000000000"),
            ("B AND NOT (D > 3)", "true"),
            ("I IS DISTINCT FROM 7", "true"),
        ],
    );
}

#[test]
fn functions_of_numbers_follow_spark() {
    means(
        ROW,
        &[
            ("ceil(D)", "3"),
            ("floor(-D)", "-3"),
            ("round(D)", "3.0"),
            ("round(-D)", "-3.0"),
            ("round(D / 3, 2)", "0.83"),
            ("abs(L)", "9000000000"),
            ("sqrt(D * 10)", "5.0"),
            ("power(I, 2)", "49.0"),
            ("ln(0 * D)", "NULL"),
            ("sign(L)", "-1.0"),
            ("CAST(D AS int)", "2"),
            ("bigint(D) + 1", "3"),
            ("CAST(I AS decimal(10, 2))", "7.00"),
            ("-I", "-7"),
        ],
    );
}

#[test]
fn where_having_and_outputs_are_boolean_and_named() {
    let pipeline = planned(
        "SELECT upper(S) AS name, sum(L) AS total, avg(I), count(DISTINCT S) AS kinds, max(T) AS newest \
         FROM turnstile t WHERE t.I > 1 AND T > '2023-01-01' \
         GROUP BY window(T, '10 minutes', '5 minutes', '-1 minute'), upper(S) \
         HAVING total > 10 AND sum(L) < 100 AND count(*) > 1 AND upper(S) <> 'X'",
    );
    let query = &pipeline.query;
    let minute = 60_000_000;
    assert_eq!(
        (query.window.size_us, query.window.slide_us, query.window.offset_us),
        (10 * minute, 5 * minute, 4 * minute)
    );
    let names: Vec<&str> = query.output.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["name", "total", "avg(I)", "kinds", "newest"]);
    // sum(L) is written twice and computed once.
    let functions: Vec<(&str, bool)> = query
        .aggregates
        .iter()
        .map(|aggregate| match &aggregate.kind {
            AggregateKind::Function { udaf, distinct, .. } => (udaf.name(), *distinct),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(functions, [("sum", false), ("avg", false), ("count", true), ("max", false), ("count", false)]);
    insta::assert_snapshot!("hopping", pipeline.explain());
    // All of it can be made physical over the schemas that the query promises.
    for expr in query.filter.iter().chain(&query.keys) {
        physical(expr, &query.input);
    }
    for expr in query.having.iter().chain(query.output.iter().map(|(_, expr)| expr)) {
        physical(expr, &query.aggregated);
    }
}

#[test]
fn every_aggregate_of_the_dialect_plans_with_the_type_that_spark_gives_it() {
    for (sql, kind) in [
        ("count(*)", "long"),
        ("count(S)", "long"),
        ("count(DISTINCT S)", "long"),
        ("count_if(I > 3)", "long"),
        ("sum(I)", "long"),
        ("sum(L)", "long"),
        ("sum(D)", "double"),
        ("sum(CAST(D AS decimal(10, 2)))", "decimal(20,2)"),
        ("min(S)", "string"),
        ("max(T)", "timestamp"),
        ("avg(I)", "double"),
        ("mean(D)", "double"),
        ("stddev(I)", "double"),
        ("stddev_pop(I)", "double"),
        ("variance(I)", "double"),
        ("var_pop(I)", "double"),
        ("approx_count_distinct(S)", "long"),
        ("approx_count_distinct(D)", "long"),
        ("median(I)", "double"),
        ("percentile(I, 0.9)", "double"),
        ("percentile_approx(D, 0.9)", "double"),
        ("bool_and(B)", "boolean"),
        ("any(B)", "boolean"),
        ("sum(I) FILTER (WHERE B)", "long"),
        ("increase(L)", "long"),
        ("increase(I, 100)", "long"),
        ("resets(L)", "long"),
        ("jumps(L, 100)", "long"),
        ("sum(I) / count(*)", "double"),
        ("date_format(max(T), 'HH')", "string"),
    ] {
        let pipeline = planned(&format!("SELECT {sql} AS x FROM turnstile GROUP BY window(T, '1 hour')"));
        let tree = pipeline.output_schema_tree();
        assert!(tree.contains(&format!("x: {kind} ")), "{sql}: {tree}");
        for (_, expr) in &pipeline.query.output {
            physical(expr, &pipeline.query.aggregated);
        }
    }
}

#[test]
fn group_by_takes_numbers_and_names_of_the_select_list_as_spark_does() {
    let pipeline = planned("SELECT lower(S) AS k, I, count(*) AS n FROM turnstile GROUP BY window(T, '1 hour'), k, 2");
    let keys: Vec<String> = pipeline.query.keys.iter().map(ToString::to_string).collect();
    assert_eq!(keys, ["lower(S)", "I"]);
    // In HAVING a grouped column wins over a name of the SELECT list (SPARK-31519).
    let pipeline = planned("SELECT sum(L) AS I FROM turnstile GROUP BY window(T, '1 hour'), I HAVING I > 10");
    assert_eq!(pipeline.query.having.map(|having| having.to_string()).as_deref(), Some("I > Int32(10)"));
    let pipeline = planned("SELECT sum(L) AS L FROM turnstile GROUP BY window(T, '1 hour') HAVING L > 10");
    assert_eq!(pipeline.query.having.map(|having| having.to_string()).as_deref(), Some("__agg0 > Int64(10)"));
}

/// Runs an aggregate of `sql` over the rows of I (and D = 2 * I, S = "a" and "b" in turn).
fn aggregated(sql: &str, readings: &[Option<i32>]) -> String {
    let pipeline = planned(&format!("SELECT {sql} AS x FROM turnstile GROUP BY window(T, '1 hour')"));
    let query = &pipeline.query;
    let AggregateKind::Function { udaf, args, distinct, filter } = &query.aggregates[0].kind else {
        panic!("{sql} is the engine's")
    };
    assert!(filter.is_none());
    let words = ["a", "b"].into_iter().cycle().take(readings.len());
    let columns = query.columns.iter().map(|column| -> ArrayRef {
        match column {
            0 => Arc::new(StringViewArray::from_iter_values(words.clone())),
            1 => Arc::new(Int32Array::from_iter(readings.iter().copied())),
            3 => Arc::new(Float64Array::from_iter(readings.iter().map(|i| i.map(|i| f64::from(i) * 2.0)))),
            4 => Arc::new(BooleanArray::from_iter(readings.iter().map(|i| i.map(|i| i > 1)))),
            _ => Arc::new(TimestampMicrosecondArray::from(vec![0; readings.len()]).with_timezone("America/New_York")),
        }
    });
    let schema = Arc::new(query.input.as_arrow().project(&(0..query.columns.len()).collect::<Vec<_>>()).unwrap());
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap();
    let args: Vec<_> = args.iter().map(|arg| physical(arg, &query.input)).collect();
    let values: Vec<ArrayRef> =
        args.iter().map(|arg| arg.evaluate(&batch).unwrap().into_array(batch.num_rows()).unwrap()).collect();
    let built = AggregateExprBuilder::new(Arc::clone(udaf), args).schema(schema).alias("x");
    let built = if *distinct { built.distinct() } else { built }.build().unwrap();
    let mut single = built.create_accumulator().unwrap();
    single.update_batch(&values).unwrap();
    let value = single.evaluate().unwrap();
    if built.groups_accumulator_supported() {
        // Two halves merged through their states, as workers are.
        let mut merged = built.create_groups_accumulator().unwrap();
        for half in [0..readings.len() / 2, readings.len() / 2..readings.len()] {
            let mut part = built.create_groups_accumulator().unwrap();
            let slices: Vec<ArrayRef> = values.iter().map(|array| array.slice(half.start, half.len())).collect();
            part.update_batch(&slices, &vec![0; half.len()], None, 1).unwrap();
            merged.merge_batch(&part.state(EmitTo::All).unwrap(), &[0], 1).unwrap();
        }
        let array = merged.evaluate(EmitTo::All).unwrap();
        match (ScalarValue::try_from_array(&array, 0).unwrap(), &value) {
            // The order of additions shows in the last bit of a double.
            (ScalarValue::Float64(Some(a)), ScalarValue::Float64(Some(b))) => assert!((a - b).abs() < 1e-9, "{sql}"),
            (merged, value) => assert_eq!(merged, *value, "{sql}"),
        }
    }
    value.to_string()
}

#[test]
fn aggregates_compute_what_spark_computes() {
    let readings = [Some(1), Some(2), None, Some(4), Some(2)];
    for (sql, expected) in [
        ("count(*)", "5"),
        ("count(I)", "4"),
        ("count(DISTINCT I)", "3"),
        ("count_if(I > 1)", "3"),
        ("sum(I)", "9"),
        ("sum(D)", "18"),
        ("min(I)", "1"),
        ("max(S)", "b"),
        ("avg(I)", "2.25"),
        ("median(I)", "2"),
        ("percentile(I, 0.75)", "2.5"),
        ("percentile_approx(I, 0.0)", "1"),
        ("var_pop(I)", "1.1875"),
        ("variance(I)", "1.5833333333333333"),
        ("approx_count_distinct(I)", "3"),
        ("approx_count_distinct(S)", "2"),
        ("bool_and(B)", "false"),
        ("bool_or(B)", "true"),
    ] {
        let value = aggregated(sql, &readings);
        match (value.parse::<f64>(), expected.parse::<f64>()) {
            (Ok(value), Ok(expected)) => assert!((value - expected).abs() < 1e-9, "{sql}: {value}"),
            _ => assert_eq!(value, expected, "{sql}"),
        }
    }
    for sql in ["sum(I)", "avg(I)", "max(I)", "stddev(I)", "median(I)"] {
        assert_eq!(aggregated(sql, &[None, None]), "NULL", "{sql}");
    }
    assert_eq!(aggregated("stddev(I)", &[Some(1)]), "NULL");
}
