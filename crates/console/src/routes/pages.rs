//! Pages: GET only, and nothing changes by them.

use std::sync::Arc;

use axum::extract::{Path, Query, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use maud::{Markup, html};

use crate::address::{Page, PageAddress};
use crate::assets;
use crate::data::ConsoleError;
use crate::fragment::Fragment;
use crate::guard::{LOGIN_COOKIE, Refusal, cookie, set_cookie};
use crate::outcomes::ActionOutcome;
use crate::render::{in_time, status_of};
use crate::site::{BROWSER_COOKIE, Site};
use crate::view::layout::{Frame, layout};
use crate::view::pieces::{StateTone, empty, pill, problem};

/// How long a browser keeps the cookie to which its forms are bound.
const BROWSER_COOKIE_SECS: i64 = 30 * 86_400;

/// The pairs of a query. A query that is malformed is none.
pub(super) type Pairs = Query<Vec<(String, String)>>;

/// Leads to the first pipeline.
pub(super) async fn first_page(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    match in_time(site.limits.request_timeout, site.data.pipelines()).await {
        Ok(pipelines) => match pipelines.first() {
            Some(first) => Redirect::to(&format!("/p/{}", first.name)).into_response(),
            None => {
                let content = html! {
                    h1 { "turnstile" }
                    ({
                        empty(
                            "There is no pipeline here yet.",
                            "Start one with `turnstile run FILE`, or `turnstile up` for a demonstration.",
                        )
                    })
                };
                framed(
                    &site,
                    &headers,
                    StatusCode::OK,
                    Frame { title: "No pipeline".to_owned(), ..Frame::default() },
                    &content,
                )
            }
        },
        Err(error) => failed(&site, &headers, &error),
    }
}

/// The overview of a pipeline.
pub(super) async fn pipeline_page(
    State(site): State<Arc<Site>>,
    Path(pipeline): Path<String>,
    query: Pairs,
    raw: RawQuery,
    headers: HeaderMap,
) -> Response {
    show(&site, &pipeline, "", query, raw, &headers).await
}

/// Any other page of a pipeline.
pub(super) async fn page(
    State(site): State<Arc<Site>>,
    Path((pipeline, path)): Path<(String, String)>,
    query: Pairs,
    raw: RawQuery,
    headers: HeaderMap,
) -> Response {
    show(&site, &pipeline, &path, query, raw, &headers).await
}

async fn show(site: &Site, pipeline: &str, path: &str, query: Pairs, raw: RawQuery, headers: &HeaderMap) -> Response {
    let Some(address) = PageAddress::parse(pipeline, path, &query.0) else { return no_page(site, headers) };
    let rendered = site.renderer.render(&address).await;
    let outcome = query.0.iter().find(|(key, _)| key == "outcome").and_then(|(_, id)| site.outcomes.take(id));
    let search = raw.0.map(|query| format!("?{query}")).unwrap_or_default();
    let slash = if path.is_empty() { "" } else { "/" };
    let frame = Frame {
        title: title(&address),
        live: address.is_live().then(|| format!("/live/p/{pipeline}{slash}{path}{search}")),
        pipelines: in_time(site.limits.request_timeout, site.data.pipelines()).await.unwrap_or_default(),
        outcome: outcome.as_ref().map(outcome_panel),
        address: Some(address),
        ..Frame::default()
    };
    framed_for(site, headers, BrowserId::of(site, headers), rendered.status, frame, &rendered.fragments, &html! {})
}

/// The title of a page, for tabs and history.
pub(super) fn title(address: &PageAddress) -> String {
    let section = crate::address::SECTIONS[address.section()].0;
    let what = match &address.page {
        Page::Window { start_us } => format!("Window {}", turnstile_values::human::short_instant(*start_us)),
        Page::Run { id } => format!("Run {id}"),
        _ => section.to_owned(),
    };
    format!("{what} · {}", address.pipeline)
}

/// A compiled-in file.
pub(super) async fn asset(State(site): State<Arc<Site>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = assets::find(&name) else { return no_page(&site, &headers) };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
    ];
    (headers, asset.bytes).into_response()
}

/// What answers every path that is no page's.
pub(super) async fn nothing_here(State(site): State<Arc<Site>>, _uri: Uri, headers: HeaderMap) -> Response {
    no_page(&site, &headers)
}

pub(super) fn no_page(site: &Site, headers: &HeaderMap) -> Response {
    let content = html! {
        h1 { "There is no such page" }
        p {
            a href="/" { "To the overview" }
        }
    };
    let frame = Frame { title: "No such page".to_owned(), ..Frame::default() };
    framed(site, headers, StatusCode::NOT_FOUND, frame, &content)
}

pub(super) fn failed(site: &Site, headers: &HeaderMap, error: &ConsoleError) -> Response {
    let content = html! {
        h1 { "This cannot be shown" }
        (problem(error))
    };
    framed(site, headers, status_of(error), Frame { title: "Error".to_owned(), ..Frame::default() }, &content)
}

/// A refusal in plain text: who is refused sees nothing of the console.
pub(super) fn refused(refusal: Refusal) -> Response {
    (refusal.status, format!("{}\n", refusal.fact)).into_response()
}

pub(super) fn framed(site: &Site, headers: &HeaderMap, status: StatusCode, frame: Frame, content: &Markup) -> Response {
    framed_for(site, headers, BrowserId::of(site, headers), status, frame, &[], content)
}

/// The page in its frame; a browser without the cookie to which forms are bound gets one.
pub(super) fn framed_for(
    site: &Site,
    headers: &HeaderMap,
    browser: BrowserId,
    status: StatusCode,
    mut frame: Frame,
    fragments: &[Fragment],
    content: &Markup,
) -> Response {
    frame.form_key = site.form_key(&browser.id);
    frame.theme = match cookie(headers, "turnstile_theme") {
        Some("light") => Some("light"),
        Some("dark") => Some("dark"),
        _ => None,
    };
    frame.logged_in = cookie(headers, LOGIN_COOKIE).is_some();
    let mut response = (status, Html(layout(&frame, fragments, content).into_string())).into_response();
    if let Some(cookie) = browser.new_cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// The browser to which the forms of a page are bound.
pub(super) struct BrowserId {
    pub(super) id: String,
    /// Gives the browser its id, if it had none.
    new_cookie: Option<HeaderValue>,
}

impl BrowserId {
    pub(super) fn of(site: &Site, headers: &HeaderMap) -> Self {
        if let Some(id) = Site::browser(headers) {
            return Self { id: id.to_owned(), new_cookie: None };
        }
        // Without random bytes the id is not one that a form can be bound to, and forms are refused.
        let id = site.keys.random_id().unwrap_or_default();
        let new_cookie = set_cookie(BROWSER_COOKIE, &id, BROWSER_COOKIE_SECS, site.secure_cookies);
        Self { id, new_cookie }
    }
}

fn outcome_panel(outcome: &ActionOutcome) -> Markup {
    let (class, tone, word) =
        if outcome.done { ("outcome", StateTone::Good, "done") } else { ("problem", StateTone::Bad, "not done") };
    html! {
        div class=(class) role="status" {
            p.fact { (pill(tone, word)) " " (outcome.text) }
        }
    }
}
