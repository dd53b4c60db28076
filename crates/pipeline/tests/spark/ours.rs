//! The dialect's own answers: planned from SQL, evaluated row by row or group by group.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringViewArray, new_null_array};
use arrow::datatypes::Schema;
use datafusion_common::DFSchema;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{EmitTo, Expr};
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use turnstile_pipeline::{AggregateKind, Pipeline};

use crate::answer::Answer;
use crate::rows::{ROWS, Rows};

/// Row `id` is in group `id % GROUPS`.
pub(crate) const GROUPS: usize = 7;

const FILE: &str = r#"
name = "x"
[source]
topic = "x"
format = "json"
[source.schema]
S = "string"
U = "string"
I = "int"
J = "int"
L = "long"
M = "long"
D = "double"
E = "double"
B = "boolean"
T = { type = "timestamp", zone = "ZONE" }
V = { type = "timestamp", zone = "ZONE" }
[stream]
event_time = "T"
watermark = "0 seconds"
[query]
sql = '''SQL'''
[lake]
url = "file:./lake"
"#;

fn planned(rows: &Rows, sql: &str) -> Result<Pipeline, String> {
    let file = FILE.replace("ZONE", rows.zone).replace("SQL", sql);
    Pipeline::from_str(&file, "x.toml").map_err(|error| error.to_string())
}

fn physical(expr: &Expr, schema: &DFSchema) -> Arc<dyn PhysicalExpr> {
    create_physical_expr(expr, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default()).unwrap()
}

fn batch(rows: &Rows, pipeline: &Pipeline, chosen: &[usize]) -> RecordBatch {
    let query = &pipeline.query;
    // The batch lacks the window's bounds, as the contract of `Query::input` allows.
    let bounds = 2;
    let input = query.input.as_arrow();
    let schema: Schema = input.project(&(0..input.fields().len() - bounds).collect::<Vec<_>>()).unwrap();
    let mut columns: Vec<ArrayRef> = query.columns.iter().map(|column| rows.array(*column, chosen)).collect();
    if query.is_ordered {
        let topics: StringViewArray = chosen.iter().map(|_| Some("x")).collect();
        let offsets: Int64Array = chosen.iter().map(|row| Some(*row as i64)).collect();
        columns.extend([
            Arc::new(topics) as ArrayRef,
            Arc::new(Int32Array::from(vec![0; chosen.len()])),
            Arc::new(offsets),
        ]);
    }
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

/// The key that `sql` is planned as.
fn key(rows: &Rows, sql: &str) -> Result<(Pipeline, Arc<dyn PhysicalExpr>), String> {
    let pipeline = planned(rows, &format!("SELECT count(*) AS n FROM turnstile GROUP BY window(T, '1 hour'), {sql}"))?;
    let key = physical(pipeline.query.keys.first().ok_or("no key")?, &pipeline.query.input);
    Ok((pipeline, key))
}

/// Whether `sql` is accepted.
pub(crate) fn plans(rows: &Rows, sql: &str) -> bool {
    key(rows, sql).is_ok()
}

/// What `sql` is for each row.
///
/// # Errors
/// Why it is refused.
pub(crate) fn of_columns(rows: &Rows, sql: &str) -> Result<Vec<Answer>, String> {
    let (pipeline, key) = key(rows, sql)?;
    let answers: Vec<Answer> = (0..rows.needed(sql))
        .map(|row| {
            evaluated(&key, &batch(rows, &pipeline, &[row])).map_or(Answer::Error, |array| Answer::of_array(&array))
        })
        .collect();
    let all: Vec<usize> = (0..rows.needed(sql)).collect();
    if let Some(array) = evaluated(&key, &batch(rows, &pipeline, &all)) {
        let together: Vec<Answer> = all.iter().map(|row| Answer::of_array(&array.slice(*row, 1))).collect();
        assert_eq!(together, answers, "{sql}: in one batch, and row by row");
    }
    Ok(answers)
}

/// What `sql`, which has constants alone, is; `None` when it is refused.
pub(crate) fn of_constants(rows: &Rows, sql: &str) -> Option<Answer> {
    let (pipeline, key) = key(rows, sql).ok()?;
    Some(evaluated(&key, &batch(rows, &pipeline, &[0])).map_or(Answer::Error, |array| Answer::of_array(&array)))
}

/// The expression as it stands in the query that is sent to Spark, over the columns of [`Rows`].
///
/// # Errors
/// Why it is refused.
pub(crate) fn sent(rows: &Rows, sql: &str, is_aggregate: bool) -> Result<String, String> {
    let group = if is_aggregate { String::new() } else { format!(", {sql}") };
    let text = format!("SELECT {sql} AS x FROM turnstile GROUP BY window(T, '1 hour'){group}");
    let sent = planned(rows, &text)?.query.for_spark().map_err(|refused| refused.join("; "))?.sql;
    let item = sent.strip_prefix("SELECT ").and_then(|rest| rest.split_once(" AS `x`, ")).ok_or("no item")?.0;
    Ok(item.replace("`__topic`", "'x'").replace("`__partition`", "0").replace("`__offset`", "id"))
}

fn evaluated(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Option<ArrayRef> {
    expr.evaluate(batch).ok()?.into_array(batch.num_rows()).ok()
}

/// What the aggregate `sql` is for each group.
///
/// # Errors
/// Why it is refused.
pub(crate) fn of_groups(rows: &Rows, sql: &str) -> Result<Vec<Answer>, String> {
    let pipeline = planned(rows, &format!("SELECT {sql} AS x FROM turnstile GROUP BY window(T, '1 hour')"))?;
    Ok((0..GROUPS).map(|group| aggregated(rows, &pipeline, group).unwrap_or(Answer::Error)).collect())
}

fn aggregated(rows: &Rows, pipeline: &Pipeline, group: usize) -> Option<Answer> {
    let query = &pipeline.query;
    let AggregateKind::Function { udaf, args, distinct, filter } = &query.aggregates[0].kind else {
        panic!("an aggregate of the engine")
    };
    let chosen: Vec<usize> = (0..ROWS).filter(|row| row % GROUPS == group).collect();
    let mut batch = batch(rows, pipeline, &chosen);
    if let Some(filter) = filter {
        let kept = evaluated(&physical(filter, &query.input), &batch)?;
        batch = arrow::compute::filter_record_batch(&batch, kept.as_boolean()).unwrap();
    }
    let args: Vec<_> = args.iter().map(|arg| physical(arg, &query.input)).collect();
    let values: Option<Vec<ArrayRef>> = args.iter().map(|arg| evaluated(arg, &batch)).collect();
    let values = values?;
    let built = AggregateExprBuilder::new(Arc::clone(udaf), args).schema(batch.schema()).alias("x");
    let built = if *distinct { built.distinct() } else { built }.build().unwrap();
    let array: ArrayRef = if built.groups_accumulator_supported() {
        // Two halves merged through their states, as workers are.
        let mut merged = built.create_groups_accumulator().unwrap();
        for half in [0..batch.num_rows() / 2, batch.num_rows() / 2..batch.num_rows()] {
            let mut part = built.create_groups_accumulator().unwrap();
            let slices: Vec<ArrayRef> = values.iter().map(|array| array.slice(half.start, half.len())).collect();
            part.update_batch(&slices, &vec![0; half.len()], None, 1).ok()?;
            merged.merge_batch(&part.state(EmitTo::All).ok()?, &[0], 1).ok()?;
        }
        merged.evaluate(EmitTo::All).ok()?
    } else {
        let mut single = built.create_accumulator().unwrap();
        single.update_batch(&values).ok()?;
        single.evaluate().ok()?.to_array().unwrap()
    };
    // What the query makes of the aggregate: Spark's type, among others.
    let schema = Arc::clone(query.aggregated.inner());
    let columns = schema.fields().iter().map(|field| match field.name().starts_with("__agg") {
        true => Arc::clone(&array),
        false => new_null_array(field.data_type(), 1),
    });
    let nullable =
        Schema::new(schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>());
    let groups = RecordBatch::try_new(Arc::new(nullable), columns.collect()).unwrap();
    let output = physical(&query.output[0].1, &query.aggregated);
    evaluated(&output, &groups).map(|array| Answer::of_array(&array))
}
