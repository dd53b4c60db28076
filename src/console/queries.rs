//! The warehouse's tables, charts over them, and SQL.

use std::time::Instant;

use arrow::datatypes::{DataType, Schema};
use turnstile_console::data::{
    CellKind, ChartSpec, ConsoleError, SqlColumn, SqlProblem, SqlRequest, SqlTable, TableListing,
};
use turnstile_values::human;
use turnstile_warehouse::{QueryError, TextColumn, Warehouse};

use crate::flow::Context;

/// Runs `request` on the warehouse.
///
/// # Errors
/// `Sql`, `Timeout`; `Unavailable`: the tables cannot be read.
pub(crate) async fn query(warehouse: &Warehouse, request: &SqlRequest) -> Result<SqlTable, ConsoleError> {
    let began = Instant::now();
    let rows = async {
        let result = warehouse.query(&request.text).await?;
        result.text_rows(request.max_rows, request.max_bytes).await
    };
    let rows = match tokio::time::timeout(request.timeout, rows).await {
        Ok(rows) => rows.map_err(failed)?,
        Err(_) => return Err(ConsoleError::Timeout(request.timeout)),
    };
    let columns = rows.columns.iter().map(column).collect();
    Ok(SqlTable { columns, rows: rows.rows, truncated: rows.truncated, elapsed: began.elapsed() })
}

fn column(column: &TextColumn) -> SqlColumn {
    let kind = match &column.data_type {
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => CellKind::Instant,
        DataType::Boolean => CellKind::Boolean,
        kind if kind.is_numeric() => CellKind::Number,
        _ => CellKind::Text,
    };
    SqlColumn { name: column.name.clone(), type_name: column.type_name.clone(), kind }
}

fn failed(error: QueryError) -> ConsoleError {
    match error {
        QueryError::Query { hint, .. } => ConsoleError::Sql(SqlProblem {
            fact: hint.fact,
            line: hint.position.map(|(line, _)| line as u64),
            column: hint.position.map(|(_, column)| column as u64),
            hint: hint.hint,
        }),
        QueryError::Timeout(limit) => ConsoleError::Timeout(limit),
        other => ConsoleError::Unavailable {
            fact: "the warehouse cannot be read".to_owned(),
            hint: None,
            source: Some(Box::new(other)),
        },
    }
}

/// Tables with their columns.
///
/// # Errors
/// As [`query`].
pub(crate) async fn tables(warehouse: &Warehouse) -> Result<Vec<TableListing>, ConsoleError> {
    let text = "SELECT c.table_schema, c.table_name, t.table_type, c.column_name, c.data_type \
                FROM information_schema.columns c JOIN information_schema.tables t \
                ON t.table_schema = c.table_schema AND t.table_name = c.table_name \
                WHERE c.table_schema IN ('public', '_turnstile') ORDER BY 1 DESC, 2, c.ordinal_position";
    let request = SqlRequest {
        text: text.to_owned(),
        max_rows: TABLE_COLUMNS,
        max_bytes: usize::MAX,
        timeout: warehouse.limits().statement_timeout,
    };
    let mut tables: Vec<TableListing> = Vec::new();
    for row in query(warehouse, &request).await?.rows {
        let mut cells = row.into_iter().map(Option::unwrap_or_default);
        let [Some(schema), Some(table), Some(kind), Some(column), Some(of_type)] =
            std::array::from_fn(|_| cells.next())
        else {
            continue;
        };
        let name = if schema == "public" { table } else { format!("{schema}.{table}") };
        if tables.last().is_none_or(|last| last.name != name) {
            let kind = kind_of(warehouse, &name, &kind);
            tables.push(TableListing { name: name.clone(), kind, columns: Vec::new() });
        }
        if let Some(table) = tables.last_mut() {
            table.columns.push((column, of_type));
        }
    }
    Ok(tables)
}

/// Columns of all tables that are listed at most.
const TABLE_COLUMNS: usize = 5_000;

fn kind_of(warehouse: &Warehouse, name: &str, stored: &str) -> String {
    match warehouse.models().get(name) {
        Some(model) => model.kind.word().to_owned(),
        None if *name == warehouse.source().table => "external".to_owned(),
        None => stored.to_lowercase().replace("base table", "table"),
    }
}

/// Windows that a chart shows, the newest: a day of five minutes each. Each is a file that is read.
const CHART_WINDOWS: usize = 288;

/// Charts of the query's columns: its first text column names the series, its numbers are drawn over the window's start.
/// `newest` gives the start of the n-th newest window, if there are that many: older ones need not be read.
pub(crate) fn charts(context: &Context, columns: &Schema, newest: impl Fn(usize) -> Option<i64>) -> Vec<ChartSpec> {
    let pipeline = context.pipeline();
    let table = pipeline.warehouse.as_ref().map_or("ext_turnstile", |warehouse| &warehouse.table);
    let quoted = |name: &str| format!("\"{}\"", name.to_lowercase());
    let numbers: Vec<String> = columns
        .fields()
        .iter()
        .filter(|field| field.data_type().is_numeric())
        .map(|field| field.name().to_lowercase())
        .take(4)
        .collect();
    let start = pipeline.query.window_columns().0.map(|at| columns.field(at).name().to_lowercase());
    let (Some(start), false) = (start, numbers.is_empty()) else { return Vec::new() };
    let since = |windows: usize| match newest(windows) {
        Some(since_us) => format!("{} >= TIMESTAMP '{}'", quoted(&start), human::instant(since_us)),
        None => "true".to_owned(),
    };
    let names = numbers.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    let sums: Vec<String> = numbers.iter().map(|name| format!("sum({}) AS {}", quoted(name), quoted(name))).collect();
    let sums = sums.join(", ");
    let what = numbers.join(" and ");
    let people = numbers.iter().any(|name| name == "entries" || name == "exits").then(|| "people".to_owned());
    let mut charts = vec![ChartSpec {
        id: "total".to_owned(),
        title: format!("{} in all", capitalized(&what)),
        sql: format!(
            "SELECT {start_q}, {sums} FROM {table} WHERE {since} GROUP BY {start_q} ORDER BY {start_q}",
            start_q = quoted(&start),
            since = since(CHART_WINDOWS),
        ),
        x: start.clone(),
        y: numbers.clone(),
        series: None,
        unit: people.clone(),
    }];
    let station = columns.fields().iter().map(|field| field.name().to_lowercase()).find(|name| name == "station");
    let series = station.or_else(|| {
        let text = |field: &&std::sync::Arc<arrow::datatypes::Field>| {
            matches!(field.data_type(), DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8)
        };
        columns.fields().iter().find(text).map(|field| field.name().to_lowercase())
    });
    if let Some(series) = series {
        let (series_q, start_q, first) = (quoted(&series), quoted(&start), quoted(&numbers[0]));
        charts.insert(
            0,
            ChartSpec {
                id: format!("by-{}", series.replace(|c: char| !c.is_ascii_alphanumeric(), "-")),
                title: format!("{} per {series}", capitalized(&what)),
                // Each file is read once: the series with the largest sums are found among their sums by window.
                sql: format!(
                    "WITH by_window AS (SELECT {series_q}, {start_q}, {sums} FROM {table} \
                     WHERE {since} AND {series_q} IS NOT NULL GROUP BY {series_q}, {start_q}), \
                     totals AS (SELECT *, sum({first}) OVER (PARTITION BY {series_q}) AS _total FROM by_window), \
                     places AS (SELECT *, dense_rank() OVER (ORDER BY _total DESC NULLS LAST, {series_q}) AS _place FROM totals) \
                     SELECT {series_q}, {start_q}, {names} FROM places WHERE _place <= {SERIES} ORDER BY {series_q}, {start_q}",
                    since = since(CHART_WINDOWS),
                ),
                x: start,
                y: numbers,
                series: Some(series),
                unit: people,
            },
        );
    }
    charts
}

/// Series of a chart, those with the largest sums.
const SERIES: usize = 12;

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
