//! SQL: typed by a person, sent by POST from our own form, read-only.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::pages::{BrowserId, failed, framed_for, no_page, refused, title};
use crate::address::PageAddress;
use crate::data::{ConsoleError, SqlRequest, SqlTable};
use crate::fragment::Fragment;
use crate::guard::Refusal;
use crate::render::{in_time, status_of};
use crate::site::Site;
use crate::view::layout::{Frame, PULSE};
use crate::view::overview;
use crate::view::pieces::PageContext;
use crate::view::sql::sql;

/// Bytes of a result that a page shows: what is more is for a file.
const PAGE_BYTES: usize = 2 << 20;

/// What the editor sends.
#[derive(serde::Deserialize)]
pub(super) struct QueryForm {
    key: String,
    query: String,
}

/// The empty editor.
pub(super) async fn editor(
    State(site): State<Arc<Site>>,
    Path(pipeline): Path<String>,
    headers: HeaderMap,
) -> Response {
    show(&site, &pipeline, &headers, "", None).await
}

/// Runs the query and shows the editor with the result.
pub(super) async fn run(
    State(site): State<Arc<Site>>,
    Path(pipeline): Path<String>,
    headers: HeaderMap,
    Form(form): Form<QueryForm>,
) -> Response {
    if !site.is_own_form(&headers, &form.key) {
        return foreign_form();
    }
    let result =
        query(&site, &pipeline, &form.query, site.limits.sql_rows, site.limits.sql_bytes.min(PAGE_BYTES)).await;
    show(&site, &pipeline, &headers, &form.query, Some(result)).await
}

/// Runs the query and sends the result as a file.
pub(super) async fn csv(
    State(site): State<Arc<Site>>,
    Path(pipeline): Path<String>,
    headers: HeaderMap,
    Form(form): Form<QueryForm>,
) -> Response {
    if !site.is_own_form(&headers, &form.key) {
        return foreign_form();
    }
    match query(&site, &pipeline, &form.query, site.limits.csv_rows, site.limits.sql_bytes).await {
        Ok(table) => {
            let headers = [
                (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
                (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"query.csv\"")),
            ];
            (headers, csv_text(&table)).into_response()
        }
        Err(error) if matches!(error, ConsoleError::NotFound { .. }) => failed(&site, &headers, &error),
        Err(error) => show(&site, &pipeline, &headers, &form.query, Some(Err(error))).await,
    }
}

/// The answer to a form that is not ours, or not this browser's, or of before a restart.
pub(super) fn foreign_form() -> Response {
    refused(Refusal::new(
        StatusCode::FORBIDDEN,
        "the form is not from this console, or from before it was restarted; reload the page",
    ))
}

async fn query(
    site: &Site,
    pipeline: &str,
    text: &str,
    max_rows: usize,
    max_bytes: usize,
) -> Result<SqlTable, ConsoleError> {
    let limits = &site.limits;
    let request = SqlRequest { text: text.to_owned(), max_rows, max_bytes, timeout: limits.sql_timeout };
    site.renderer.query(site.data.sql(pipeline, request)).await
}

async fn show(
    site: &Site,
    pipeline: &str,
    headers: &HeaderMap,
    text: &str,
    result: Option<Result<SqlTable, ConsoleError>>,
) -> Response {
    let Some(address) = PageAddress::parse(pipeline, "sql", &[]) else { return no_page(site, headers) };
    let tables = in_time(site.limits.request_timeout, site.data.tables(pipeline)).await;
    let status = match (&result, &tables) {
        (Some(Err(error)), _) | (None, Err(error @ ConsoleError::NotFound { .. })) => status_of(error),
        _ => StatusCode::OK,
    };
    let context =
        PageContext { pipeline: pipeline.to_owned(), now_us: site.now_us(), read_only: site.data.read_only() };
    let browser = BrowserId::of(site, headers);
    let content = sql(&context, &site.form_key(&browser.id), text, &tables, result.as_ref(), &site.limits);
    let pipelines = in_time(site.limits.request_timeout, site.data.pipelines()).await.unwrap_or_default();
    let pulse = in_time(site.limits.request_timeout, site.data.overview(pipeline)).await;
    let pulse: Vec<_> = pulse.iter().map(|overview| Fragment::new(PULSE, overview::pulse(overview))).collect();
    let frame = Frame { title: title(&address), address: Some(address), pipelines, ..Frame::default() };
    framed_for(site, headers, browser, status, frame, &pulse, &content)
}

/// RFC 4180 with a header line; null is empty, empty text is `""`.
fn csv_text(table: &SqlTable) -> String {
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = Option<&str>>| {
        for (at, cell) in cells.enumerate() {
            let comma = if at > 0 { "," } else { "" };
            // Writing to a String cannot fail.
            let _ = match cell {
                None => write!(out, "{comma}"),
                Some(text) if text.is_empty() || text.contains(['"', ',', '\n', '\r']) => {
                    write!(out, "{comma}\"{}\"", text.replace('"', "\"\""))
                }
                Some(text) => write!(out, "{comma}{text}"),
            };
        }
        out.push_str("\r\n");
    };
    line(&mut table.columns.iter().map(|column| Some(column.name.as_str())));
    for row in &table.rows {
        line(&mut row.iter().map(Option::as_deref));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{CellKind, SqlColumn};

    #[test]
    fn csv_tells_null_from_empty_and_quotes_what_needs_it() {
        let column = |name: &str| SqlColumn { name: name.to_owned(), type_name: String::new(), kind: CellKind::Text };
        let cells = |cells: [Option<&str>; 2]| cells.map(|cell| cell.map(str::to_owned)).to_vec();
        let table = SqlTable {
            columns: vec![column("a"), column("b,c")],
            rows: vec![cells([None, Some("")]), cells([Some("x \"y\""), Some("1\n2")])],
            ..SqlTable::default()
        };
        assert_eq!(csv_text(&table), "a,\"b,c\"\r\n,\"\"\r\n\"x \"\"y\"\"\",\"1\n2\"\r\n");
    }
}
