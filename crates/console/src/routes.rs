//! Which URL does what.
//!
//! Every request passes [`check_request`] first. GET never changes anything; POST needs the key of our own form.

mod actions;
mod login;
mod pages;
mod probes;
mod query;
mod stream;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use crate::guard::{Refusal, check_origin, check_path, secure_headers};
use crate::site::Site;

/// Paths that need no login: what the login page itself needs, and what an orchestrator asks.
const OPEN_PATHS: [&str; 3] = ["/login", "/healthz", "/readyz"];

/// All routes. `extra` are the caller's; they pass the same checks.
pub(crate) fn router(site: &Arc<Site>, extra: Option<Router>) -> Router {
    let routes = Router::new()
        .route("/", get(pages::first_page))
        .route("/p/{pipeline}", get(pages::pipeline_page))
        .route("/p/{pipeline}/{*path}", get(pages::page))
        .route("/p/{pipeline}/sql", get(query::editor).post(query::run))
        .route("/p/{pipeline}/sql.csv", post(query::csv))
        .route("/p/{pipeline}/dead-letters/requeue", post(actions::requeue))
        .route("/p/{pipeline}/runs/{id}/cancel", post(actions::cancel))
        .route("/live/p/{pipeline}", get(stream::pipeline_stream))
        .route("/live/p/{pipeline}/{*path}", get(stream::stream))
        .route("/login", get(login::form).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/assets/{name}", get(pages::asset))
        .route("/metrics", get(probes::metrics))
        .route("/healthz", get(probes::health))
        .route("/readyz", get(probes::ready))
        .fallback(pages::nothing_here)
        .with_state(Arc::clone(site));
    let routes = match extra {
        Some(extra) => routes.merge(extra),
        None => routes,
    };
    routes
        .layer(DefaultBodyLimit::max(site.limits.body_bytes))
        .layer(middleware::from_fn_with_state(Arc::clone(site), check_request))
        .layer(middleware::from_fn(secure_headers))
}

/// Refuses what no page of ours and no person who may would ask for.
async fn check_request(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    if let Err(refusal) = refusal(&site, &request) {
        tracing::debug!(path = request.uri().path(), fact = refusal.fact, "refused a request");
        return pages::refused(refusal);
    }
    let path = request.uri().path();
    let open = OPEN_PATHS.contains(&path) || path.starts_with("/assets/");
    if !open && !site.admits(request.headers()) {
        return ask_for_login(&site, &request);
    }
    let limit = site.limits.request_timeout + site.limits.sql_timeout;
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => pages::refused(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request took too long")),
    }
}

fn refusal(site: &Site, request: &Request) -> Result<(), Refusal> {
    check_path(request.uri())?;
    let probe = matches!(request.uri().path(), "/healthz" | "/readyz");
    if !probe {
        site.hosts.check(request.headers(), request.uri())?;
    }
    match *request.method() {
        Method::GET | Method::HEAD => Ok(()),
        Method::POST => check_origin(request.headers()),
        _ => Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "only GET and POST are answered")),
    }
}

/// A person is led to the login page, a program is answered 401.
fn ask_for_login(site: &Site, request: &Request) -> Response {
    let accepts_html = request
        .headers()
        .get("accept")
        .is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")));
    if site.gate.has_token() && accepts_html && request.method() == Method::GET {
        return Redirect::to("/login").into_response();
    }
    let mut response = pages::refused(Refusal::new(StatusCode::UNAUTHORIZED, "the request does not carry the token"));
    response
        .headers_mut()
        .insert("www-authenticate", axum::http::HeaderValue::from_static("Bearer realm=\"turnstile\""));
    response
}
