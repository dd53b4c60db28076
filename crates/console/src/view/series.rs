//! Columns of a result as lines of a chart.
//!
//! In: a table, and which columns are the axis, the values and the name of each series. Out: points in order of the axis.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use turnstile_values::DAY_US;

use super::words::{date, number, time_of_day};
use crate::data::{CellKind, SqlTable};

/// Points of a line at most; the values of neighbours are added up beyond that, so that sums stay true.
const MAX_POINTS: usize = 400;

/// Lines of one chart at most.
const MAX_LINES: usize = 6;

/// Lines over a common axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChartLines {
    pub(crate) x: XScale,
    pub(crate) y_min: f64,
    pub(crate) y_max: f64,
    pub(crate) lines: Vec<ChartLine>,
    /// How many rows each point adds up.
    pub(crate) rows_a_point: usize,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChartLine {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// The horizontal axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct XScale {
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) kind: XKind,
}

/// What the horizontal axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum XKind {
    /// Microseconds since the epoch.
    Instant,
    /// Numbers.
    Number,
    /// The rows, one after the other.
    Row,
}

impl XScale {
    /// Where `value` is, from 0 to 1.
    pub(crate) fn part(&self, value: f64) -> f64 {
        if self.max > self.min { (value - self.min) / (self.max - self.min) } else { 0.5 }
    }

    /// The text at `value`.
    pub(crate) fn label(&self, value: f64) -> String {
        match self.kind {
            XKind::Instant if self.max - self.min > 2.0 * DAY_US as f64 => date(value as i64),
            XKind::Instant => time_of_day(value as i64 / 1_000_000 * 1_000_000),
            XKind::Number => number(value),
            XKind::Row => format!("row {}", number(value + 1.0)),
        }
    }

    /// The axis in words.
    pub(crate) fn describe(&self) -> String {
        format!("Horizontal axis from {} to {}", self.label(self.min), self.label(self.max))
    }
}

/// Which columns become what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChartColumns {
    pub(crate) x: Option<usize>,
    pub(crate) y: Vec<usize>,
    pub(crate) series: Option<usize>,
}

impl ChartColumns {
    /// The columns of these names, whatever their letter case.
    pub(crate) fn named(table: &SqlTable, x: &str, y: &[String], series: Option<&str>) -> Option<Self> {
        let find = |name: &str| table.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name));
        let y: Vec<_> = y.iter().filter_map(|name| find(name)).collect();
        (!y.is_empty()).then_some(Self { x: find(x), y, series: series.and_then(find) })
    }

    /// What a person would choose: the first instant or, without one, the first of several numbers as the axis, the other
    /// numbers as values. `None` if there is nothing to draw.
    pub(crate) fn guess(table: &SqlTable) -> Option<Self> {
        let of = |kind: CellKind| (0..table.columns.len()).filter(move |at| table.columns[*at].kind == kind);
        let numbers: Vec<_> = of(CellKind::Number).collect();
        let instant = of(CellKind::Instant).next();
        let x = instant
            .or_else(|| numbers.first().copied().filter(|_| numbers.len() > 1 && of(CellKind::Text).next().is_none()));
        let y: Vec<_> = numbers.into_iter().filter(|at| Some(*at) != x).take(MAX_LINES).collect();
        let series = of(CellKind::Text).next().filter(|_| instant.is_some());
        (!y.is_empty() && table.rows.len() > 1).then_some(Self { x, y, series })
    }
}

/// A row and its place in the table.
type NumberedRow<'a> = (usize, &'a Vec<Option<String>>);

/// Lines by the name of the series, the greatest sum of the first value first. Without a series column there is one, named
/// "".
pub(crate) fn by_series(table: &SqlTable, columns: &ChartColumns) -> Vec<(String, f64, ChartLines)> {
    let mut groups: BTreeMap<&str, Vec<NumberedRow<'_>>> = BTreeMap::new();
    for (at, row) in table.rows.iter().enumerate() {
        let name = columns.series.and_then(|series| row.get(series)).and_then(Option::as_deref).unwrap_or("");
        groups.entry(name).or_default().push((at, row));
    }
    let mut all: Vec<_> = groups
        .into_iter()
        .map(|(name, rows)| {
            let lines = lines(table, columns, &rows);
            let sum = lines.lines.first().map_or(0.0, |line| line.points.iter().map(|(_, value)| value).sum());
            (name.to_owned(), sum, lines)
        })
        .collect();
    all.sort_by(|(_, left, _), (_, right, _)| right.total_cmp(left));
    all
}

fn lines(table: &SqlTable, columns: &ChartColumns, rows: &[NumberedRow<'_>]) -> ChartLines {
    let kind = columns.x.map_or(XKind::Row, |x| match table.columns[x].kind {
        CellKind::Instant => XKind::Instant,
        CellKind::Number => XKind::Number,
        _ => XKind::Row,
    });
    let x_of =
        |at: usize, row: &[Option<String>]| match (kind, columns.x.and_then(|x| row.get(x)).and_then(Option::as_deref))
        {
            (XKind::Row, _) => Some(at as f64),
            (XKind::Instant, Some(text)) => instant_us(text).map(|us| us as f64),
            (XKind::Number, Some(text)) => text.parse().ok(),
            (_, None) => None,
        };
    let mut rows_a_point = 1;
    let lines: Vec<_> = columns
        .y
        .iter()
        .map(|y| {
            let value = |row: &[Option<String>]| {
                row.get(*y).and_then(Option::as_deref).and_then(|text| text.parse::<f64>().ok())
            };
            let points =
                rows.iter().filter_map(|(at, row)| Some((x_of(*at, row)?, value(row).filter(|v| v.is_finite())?)));
            let mut points: Vec<_> = points.collect();
            points.sort_by(|(left, _), (right, _)| left.total_cmp(right));
            let (thinned, each) = thin(points);
            rows_a_point = rows_a_point.max(each);
            ChartLine { name: table.columns[*y].name.clone(), points: thinned }
        })
        .collect();
    let bounds = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (min, max) = bounds(&mut lines.iter().flat_map(|line| &line.points).map(|(x, _)| *x));
    let (y_min, y_max) = bounds(&mut lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y));
    let finite = |value: f64| if value.is_finite() { value } else { 0.0 };
    let x = XScale { min: finite(min), max: finite(max), kind };
    ChartLines { x, y_min: finite(y_min), y_max: finite(y_max), lines, rows_a_point }
}

/// At most [`MAX_POINTS`] points: neighbours are added up, at the place of the first of them.
fn thin(points: Vec<(f64, f64)>) -> (Vec<(f64, f64)>, usize) {
    let each = points.len().div_ceil(MAX_POINTS).max(1);
    let thinned = points.chunks(each).map(|chunk| (chunk[0].0, chunk.iter().map(|(_, value)| value).sum())).collect();
    (thinned, each)
}

/// Instants as JSON and PostgreSQL (`2026-08-01 02:40:00+00`) write them; without an offset they are UTC.
fn instant_us(text: &str) -> Option<i64> {
    let postgres = || DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z");
    if let Ok(at) = DateTime::parse_from_rfc3339(text).or_else(|_| postgres()) {
        return Some(at.timestamp_micros());
    }
    let naive = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f UTC"];
    let time = naive.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    time.or_else(day).map(|at| at.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::SqlColumn;

    fn table(columns: &[(&str, CellKind)], rows: &[&[&str]]) -> SqlTable {
        let column = |(name, kind): &(&str, CellKind)| SqlColumn {
            name: (*name).to_owned(),
            type_name: String::new(),
            kind: *kind,
        };
        let cell = |text: &&str| (*text != "null").then(|| (*text).to_owned());
        let rows = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        SqlTable { columns: columns.iter().map(column).collect(), rows, ..SqlTable::default() }
    }

    #[test]
    fn stations_become_series_the_busiest_first_and_nulls_no_points() {
        use CellKind::{Instant, Number, Text};
        let columns = [("start", Instant), ("station", Text), ("entries", Number), ("exits", Number)];
        let rows: [&[&str]; 3] = [
            &["2026-08-01T08:05:00Z", "A", "3", "1"],
            &["2026-08-01 08:00:00", "A", "null", "2"],
            &["2026-08-01 08:00:00", "B", "9", "4"],
        ];
        let table = table(&columns, &rows);
        let guessed = ChartColumns::guess(&table).unwrap();
        assert_eq!(guessed, ChartColumns { x: Some(0), y: vec![2, 3], series: Some(1) });
        let series = by_series(&table, &guessed);
        assert_eq!(
            series.iter().map(|(name, sum, _)| (name.as_str(), *sum)).collect::<Vec<_>>(),
            [("B", 9.0), ("A", 3.0)]
        );
        let a = &series[1].2;
        assert_eq!((a.lines[0].points.len(), a.lines[1].points.len()), (1, 2));
        assert!(a.lines[1].points[0].0 < a.lines[1].points[1].0, "in order of time");
    }

    #[test]
    fn instants_are_read_as_the_warehouse_writes_them() {
        let expected = instant_us("2026-08-01T02:40:00Z");
        assert!(expected.is_some());
        for text in
            ["2026-08-01 02:40:00+00", "2026-08-01 04:40:00+02", "2026-08-01 08:10:00+05:30", "2026-08-01 02:40:00"]
        {
            assert_eq!(instant_us(text), expected, "{text}");
        }
        assert_eq!(instant_us("2026-08-01 02:40:00.25+00"), expected.map(|us| us + 250_000));
        assert_eq!(instant_us("yesterday"), None);
    }

    #[test]
    fn many_points_are_added_up_and_their_sum_stays() {
        let rows: Vec<_> = (0..1000).map(|at| vec![Some(at.to_string()), Some("2".to_owned())]).collect();
        let empty = table(&[("at", CellKind::Number), ("n", CellKind::Number)], &[]);
        let table = SqlTable { rows, ..empty };
        let (_, sum, lines) = &by_series(&table, &ChartColumns::guess(&table).unwrap())[0];
        assert_eq!((*sum, lines.rows_a_point), (2000.0, 3));
        assert!(lines.lines[0].points.len() <= MAX_POINTS);
    }

    #[test]
    fn what_has_no_numbers_is_not_drawn() {
        assert_eq!(ChartColumns::guess(&table(&[("a", CellKind::Text)], &[&["x"], &["y"]])), None);
        assert_eq!(ChartColumns::guess(&table(&[("a", CellKind::Number)], &[&["1"]])), None);
    }
}
