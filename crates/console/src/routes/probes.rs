//! What machines ask: metrics, liveness, readiness.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::site::Site;

/// The metrics as text.
pub(super) async fn metrics(State(site): State<Arc<Site>>) -> Response {
    let content_type = HeaderValue::from_static(site.probes.metrics_content_type);
    ([(header::CONTENT_TYPE, content_type)], (site.probes.metrics)()).into_response()
}

/// Whether the process works.
pub(super) async fn health(State(site): State<Arc<Site>>, uri: Uri, headers: HeaderMap) -> Response {
    answer(&site, &uri, &headers, (site.probes.health)())
}

/// Whether it reads.
pub(super) async fn ready(State(site): State<Arc<Site>>, uri: Uri, headers: HeaderMap) -> Response {
    answer(&site, &uri, &headers, (site.probes.ready)())
}

/// An orchestrator needs the status only, and asks by any name and without a token; why is for those who may see pages.
fn answer(site: &Site, uri: &Uri, headers: &HeaderMap, result: Result<(), String>) -> Response {
    match result {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(why) if site.hosts.check(headers, uri).is_ok() && site.admits(headers) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response(),
    }
}
