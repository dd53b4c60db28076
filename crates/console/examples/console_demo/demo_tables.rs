//! Made-up tables and charts. A station is named like an attack, so that every look at the pages is a test too.

use std::time::Duration;

use turnstile_console::data::*;

use super::demo_values::{WINDOW_US, instant, wave};

const STATIONS: [&str; 8] = [
    "34 ST-PENN STA",
    "GRD CNTRL-42 ST",
    "TIMES SQ-42 ST",
    "FULTON ST",
    "59 ST COLUMBUS",
    "UNION SQ",
    "JAY ST-METROTEC",
    "<script>alert(1)</script>",
];

pub(crate) fn charts() -> Vec<ChartSpec> {
    let chart = |id: &str, title: &str, sql: &str, y: &[&str], series: Option<&str>, unit: &str| ChartSpec {
        id: id.to_owned(),
        title: title.to_owned(),
        sql: sql.to_owned(),
        x: "start".to_owned(),
        y: y.iter().map(|name| (*name).to_owned()).collect(),
        series: series.map(str::to_owned),
        unit: Some(unit.to_owned()),
    };
    vec![
        chart(
            "stations",
            "Entries and exits per station",
            "SELECT start, station, sum(entries) AS entries, sum(exits) AS exits\nFROM fact_turnstile GROUP BY 1, 2 ORDER BY 1",
            &["entries", "exits"],
            Some("station"),
            "people",
        ),
        chart(
            "all",
            "All stations together",
            "SELECT start, sum(entries) AS entries FROM fact_turnstile GROUP BY 1 ORDER BY 1",
            &["entries"],
            None,
            "people",
        ),
    ]
}

pub(crate) fn chart(text: &str, newest_us: i64) -> SqlTable {
    if text.contains("station,") { station_rows(newest_us, 48) } else { total_rows(newest_us) }
}

fn column(name: &str, type_name: &str, kind: CellKind) -> SqlColumn {
    SqlColumn { name: name.to_owned(), type_name: type_name.to_owned(), kind }
}

fn total_rows(newest_us: i64) -> SqlTable {
    let row = |at: i64| {
        vec![Some(instant(newest_us - at * WINDOW_US)), Some(format!("{}", 9_000 + (3_000.0 * wave(at, 31)) as i64))]
    };
    let columns = vec![column("start", "timestamp", CellKind::Instant), column("entries", "bigint", CellKind::Number)];
    SqlTable { columns, rows: (0..96).rev().map(row).collect(), truncated: false, elapsed: Duration::from_millis(31) }
}

pub(crate) fn station_rows(newest_us: i64, windows: i64) -> SqlTable {
    let columns = vec![
        column("start", "timestamp", CellKind::Instant),
        column("station", "text", CellKind::Text),
        column("entries", "bigint", CellKind::Number),
        column("exits", "bigint", CellKind::Number),
    ];
    let row = |at: i64, index: usize| {
        let size = 1_400.0 / (1.0 + index as f64 * 0.5);
        let value = |shift: i64| Some(format!("{}", (size * (1.2 + wave(at + shift + index as i64 * 3, 37))) as i64));
        let exits = if at == 2 && index == 1 { None } else { value(9) };
        vec![Some(instant(newest_us - at * WINDOW_US)), Some(STATIONS[index].to_owned()), value(0), exits]
    };
    let rows = (0..windows).rev().flat_map(|at| (0..STATIONS.len()).map(move |index| row(at, index))).collect();
    SqlTable { columns, rows, truncated: false, elapsed: Duration::from_millis(87) }
}

pub(crate) fn query(request: &SqlRequest, newest_us: i64) -> SqlTable {
    let mut table = station_rows(newest_us, 24);
    table.truncated = table.rows.len() > request.max_rows;
    table.rows.truncate(request.max_rows);
    table
}

pub(crate) fn tables() -> Vec<TableListing> {
    let table = |name: &str, kind: &str, columns: &[(&str, &str)]| TableListing {
        name: name.to_owned(),
        kind: kind.to_owned(),
        columns: columns.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect(),
    };
    vec![
        table(
            "ext_turnstile",
            "external",
            &[("station", "text"), ("start", "timestamp"), ("entries", "bigint"), ("exits", "bigint")],
        ),
        table(
            "fact_turnstile",
            "fact",
            &[("station_id", "bigint"), ("time_id", "bigint"), ("entries", "bigint"), ("exits", "bigint")],
        ),
        table("dim_station", "dimension", &[("station_id", "bigint"), ("station", "text"), ("line", "text")]),
        table("dim_time", "dimension", &[("time_id", "bigint"), ("at", "timestamp")]),
    ]
}
