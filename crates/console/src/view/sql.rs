//! The SQL page: editor, tables, result as a table and as a chart.

use maud::{Markup, html};
use turnstile_values::human;

use super::chart::{legend, line_chart};
use super::pieces::{PageContext, card, empty, problem, result_table};
use super::series::{ChartColumns, by_series};
use super::stations::values;
use super::words::short_seconds;
use crate::data::{ConsoleError, SqlTable, TableListing};
use crate::settings::ConsoleLimits;

/// Charts of one result.
const MAX_CHARTS: usize = 6;

/// The page's content: it has forms, so it does not change while it is open.
pub(crate) fn sql(
    context: &PageContext,
    form_key: &str,
    text: &str,
    tables: &Result<Vec<TableListing>, ConsoleError>,
    result: Option<&Result<SqlTable, ConsoleError>>,
    limits: &ConsoleLimits,
) -> Markup {
    html! {
        div.headline {
            h1 { "SQL" }
            p {
                "Read-only queries over the lake and the warehouse. At most "
                (human::count(limits.sql_rows as u64))
                " rows are shown and a query may take "
                (short_seconds(limits.sql_timeout.as_secs_f64()))
                "."
            }
        }
        div.workbench {
            form.editor method="post" action=(context.href("sql")) {
                input type="hidden" name="key" value=(form_key);
                label for="query" { "Query" }
                textarea
                    #query
                    name="query"
                    rows="9"
                    spellcheck="false"
                    autocomplete="off"
                    autocapitalize="off"
                    required
                { "\n" (text) }
                div.buttons {
                    button.primary type="submit" { "Run" }
                    button type="submit" formaction=(context.href("sql.csv")) { "Download CSV" }
                    span.muted {
                        "CSV: up to "
                        (human::count(limits.csv_rows as u64))
                        " rows. Nulls are empty, empty text is \"\"."
                    }
                }
            }
            aside.tables aria-labelledby="h-tables" {
                h2 #h-tables { "Tables" }
                (table_list(tables))
            }
        }
        div #result aria-live="polite" {
            @match result {
                None => {}
                Some(Err(error)) => (sql_problem(text, error)),
                Some(Ok(table)) => (outcome(table)),
            }
        }
    }
}

fn table_list(tables: &Result<Vec<TableListing>, ConsoleError>) -> Markup {
    let tables = match tables {
        Err(error) => return problem(error),
        Ok(tables) if tables.is_empty() => {
            return empty("There are no tables yet.", "They appear with the first load of the warehouse.");
        }
        Ok(tables) => tables,
    };
    html! {
        ul {
            @for (at, table) in tables.iter().enumerate() {
                li {
                    details id={ "table-" (at) } {
                        summary {
                            code { (table.name) }
                            " "
                            small { (table.kind) }
                        }
                        button type="button" hidden data-query={ "SELECT *\nFROM " (table.name) "\nLIMIT 100" } {
                            "Query it"
                        }
                        table.data.narrow {
                            thead {
                                tr {
                                    th scope="col" { "Column" }
                                    th scope="col" { "Type" }
                                }
                            }
                            tbody {
                                @for (name, type_name) in &table.columns {
                                    tr {
                                        th scope="row" { (name) }
                                        td { (type_name) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn sql_problem(text: &str, error: &ConsoleError) -> Markup {
    let position = match error {
        ConsoleError::Sql(problem) => problem.line.map(|line| (line, problem.column)),
        _ => None,
    };
    let faulty = position.and_then(|(line, _)| text.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?));
    html! {
        (problem(error))
        @if let (Some((line, column)), Some(faulty)) = (position, faulty) {
            pre.position {
                (line)
                " | "
                (faulty)
                "\n"
                (" ".repeat(line.to_string().len()))
                " | "
                (" ".repeat(caret(column, faulty)))
                "^"
            }
        }
    }
}

/// Spaces before the mark under a line.
fn caret(column: Option<u64>, line: &str) -> usize {
    let column = column.and_then(|column| usize::try_from(column).ok()).unwrap_or(1);
    column.saturating_sub(1).min(line.chars().count())
}

fn outcome(table: &SqlTable) -> Markup {
    let summary = html! {
        p.muted {
            (human::plural(table.rows.len() as u64, "row"))
            " in "
            (short_seconds(table.elapsed.as_secs_f64()))
            @if table.truncated { ". There are more: download the CSV, or add a LIMIT." }
        }
    };
    if table.rows.is_empty() {
        return card(
            "result",
            "Result",
            &html! {
                (summary)
                (empty("The query returned no rows.", ""))
            },
        );
    }
    html! {
        @if let Some(columns) = ChartColumns::guess(table) {
            @let all = by_series(table, &columns);
            ({
                card(
                    "chart",
                    "Chart",
                    &html! {
                        (legend(& all.first().map(| (_, _, lines) | lines.lines.iter()
                        .map(| line | line.name.clone()).collect::< Vec < _ >> ())
                        .unwrap_or_default())) div class = (if all.len() == 1 {
                        "charts one" } else { "charts" }) { @ for (at, (name, _, lines))
                        in all.iter().take(MAX_CHARTS).enumerate() { div { @ if ! name
                        .is_empty() { h3 { (name) } } (line_chart(&
                        format!("chart-{at}"), if name.is_empty() { "The result" } else {
                        name }, lines)) (values(at, lines)) } } } @ if all.len() >
                        MAX_CHARTS { p.muted { "The "(MAX_CHARTS)
                        " largest of "(human::count(all.len() as u64)) " are drawn." } }
                    },
                )
            })
        }
        ({
            card(
                "result",
                "Result",
                &html! {
                    (summary) (result_table("Result of the query", table))
                },
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::SqlProblem;

    #[test]
    fn the_mark_stands_under_the_fault() {
        let fault =
            SqlProblem { fact: "there is no column nope".to_owned(), line: Some(2), column: Some(8), hint: None };
        let html = sql_problem("SELECT 1,\nWHERE  nope", &ConsoleError::Sql(fault.clone())).into_string();
        assert!(html.contains("2 | WHERE  nope\n  |        ^"), "{html}");
        let beyond = SqlProblem { line: Some(99), ..fault };
        assert!(!sql_problem("SELECT 1", &ConsoleError::Sql(beyond)).into_string().contains('^'));
    }
}
