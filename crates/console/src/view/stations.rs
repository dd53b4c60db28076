//! Charts of a query's columns: entries and exits of each station, or whatever the pipeline offers.

use std::fmt::Write as _;

use maud::{Markup, html};
use turnstile_values::human;

use super::chart::{legend, line_chart};
use super::pieces::{PageContext, empty, scrolling};
use super::series::{ChartColumns, ChartLines, by_series};
use super::words::{self, number};
use crate::data::{ChartSpec, SqlTable};
use crate::fragment::Fragment;

/// Charts beside each other; the others are named and can be chosen.
const MAX_CHARTS: usize = 12;

/// Series that are offered by name.
const MAX_NAMES: usize = 1_000;

/// Rows of the table under a chart.
const MAX_TABLE_ROWS: usize = 400;

/// What stands where a pipeline offers no chart.
pub(crate) fn nothing(context: &PageContext) -> Vec<Fragment> {
    let content = html! {
        div.headline {
            h1 { "Stations" }
        }
        ({
            empty(
                "No chart can be drawn yet.",
                "Charts are drawn from the warehouse, once it has loaded its first window.",
            )
        })
        p {
            "Any query with a column of times or numbers is drawn on the "
            a href=(context.href("sql")) { "SQL page" }
            "."
        }
    };
    vec![Fragment::new("charts", content)]
}

/// The fragments of the page: all charts' names, and the chosen one's series.
pub(crate) fn stations(
    context: &PageContext,
    specs: &[ChartSpec],
    spec: &ChartSpec,
    series: Option<&str>,
    table: &SqlTable,
) -> Vec<Fragment> {
    let columns = ChartColumns::named(table, &spec.x, &spec.y, spec.series.as_deref());
    let all = columns.map(|columns| by_series(table, &columns)).unwrap_or_default();
    let content = match all.is_empty() {
        true => empty("There are no rows yet.", "The chart begins with the first window that is loaded."),
        false => charts(context, spec, series, &all),
    };
    let footer = html! {
        @if table.truncated {
            p.warning { "The query has more rows than are drawn: the newest may be missing." }
        }
        details.query id="chart-query" {
            summary { "The query" }
            pre { (spec.sql) }
            p.muted {
                "Took "
                (words::short_seconds(table.elapsed.as_secs_f64()))
                ", "
                (human::plural(table.rows.len() as u64, "row"))
                "."
            }
        }
    };
    vec![
        Fragment::new("choice", choice(context, specs, spec, series, &all)),
        Fragment::new("charts", content),
        Fragment::new("query", footer),
    ]
}

type NamedLines = (String, f64, ChartLines);

fn choice(
    context: &PageContext,
    specs: &[ChartSpec],
    spec: &ChartSpec,
    series: Option<&str>,
    all: &[NamedLines],
) -> Markup {
    html! {
        div.headline {
            h1 { (spec.title) }
        }
        @if specs.len() > 1 {
            nav.filter aria-label="Charts" {
                ul {
                    @for other in specs {
                        li {
                            a   href={ (context.href("stations")) "?chart=" (other.id) }
                                aria-current=[(other.id == spec.id).then_some("true")]
                            { (other.title) }
                        }
                    }
                }
            }
        }
        @if all.len() > 1 || series.is_some() {
            form.choose method="get" action=(context.href("stations")) {
                input type="hidden" name="chart" value=(spec.id);
                label for="series" { (spec.series.as_deref().unwrap_or("Series")) }
                select #series name="series" {
                    option value="" { "The busiest " (MAX_CHARTS.min(all.len())) }
                    @for (name, ..) in all.iter().take(MAX_NAMES) {
                        option value=(name) selected[series == Some(name)] { (name) }
                    }
                }
                button type="submit" { "Show" }
                span.muted { (human::count(all.len() as u64)) " in all" }
            }
        }
    }
}

fn charts(context: &PageContext, spec: &ChartSpec, series: Option<&str>, all: &[NamedLines]) -> Markup {
    let shown: Vec<_> =
        all.iter().filter(|(name, ..)| series.is_none_or(|wanted| wanted == name)).take(MAX_CHARTS).collect();
    if shown.is_empty() {
        return empty("There is no such series in the chart's rows.", "Choose another.");
    }
    let names: Vec<_> = shown[0].2.lines.iter().map(|line| line.name.clone()).collect();
    html! {
        (legend(&names))
        div class=(if shown.len() == 1 { "charts one" } else { "charts" }) {
            @for (at, (name, _, lines)) in shown.iter().enumerate() {
                @let title = if name.is_empty() {
                    spec.title.as_str()
                } else {
                    name.as_str()
                };
                section.card.small aria-labelledby={ "c-" (at) } {
                    h2 id={ "c-" (at) } {
                        @if name.is_empty() || series.is_some() { (title) } @else {
                            a href={ (context.href("stations")) "?chart=" (spec.id) "&series=" (query_value(name)) } {
                                (title)
                            }
                        }
                    }
                    p.muted {
                        @for (at, line) in lines.lines.iter().enumerate() {
                            @if at > 0 { " · " }
                            (line.name)
                            " "
                            strong { (number(line.points.iter().map(|(_, value)| value).sum())) }
                        }
                        @if let Some(unit) = &spec.unit { " " (unit) }
                    }
                    (line_chart(&format!("chart-{at}"), title, lines))
                    (values(at, lines))
                }
            }
        }
    }
}

/// The numbers of a chart as a table; `at` makes its id unique in the page.
pub(crate) fn values(at: usize, lines: &ChartLines) -> Markup {
    let rows = lines.lines.iter().map(|line| line.points.len()).max().unwrap_or(0);
    html! {
        details id={ "values-" (at) } {
            summary {
                "Table"
                @if lines.rows_a_point > 1 { " (each line adds up to " (lines.rows_a_point) " rows)" }
            }
            ({
                scrolling(
                    "Values of the chart",
                    &html! {
                        table.data.narrow { thead { tr { th scope = "col" { "At" } @ for
                        line in & lines.lines { th.num scope = "col" { (line.name) } } }
                        } tbody { @ for row in 0..rows.min(MAX_TABLE_ROWS) { tr { th
                        scope = "row" { @ if let Some((x, _)) = lines.lines.iter()
                        .find_map(| line | line.points.get(row)) { (lines.x.label(* x)) }
                        } @ for line in & lines.lines { td.num { @ if let Some((_,
                        value)) = line.points.get(row) { (number(* value)) } } } } } } }
                    },
                )
            })
        }
    }
}

/// `text` as the value of a query.
fn query_value(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
