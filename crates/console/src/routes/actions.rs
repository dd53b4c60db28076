//! The two actions: send dead letters again, cancel a run. Each answers with a redirect to the page that shows the outcome.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{Form, Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use futures::FutureExt;
use turnstile_values::human;

use super::pages::no_page;
use super::query::foreign_form;
use crate::address::{is_id, is_pipeline};
use crate::data::{ConsoleError, RequeueSummary};
use crate::outcomes::ActionOutcome;
use crate::site::Site;
use crate::view::pieces::sentence;

/// Longest reason that is accepted, in bytes.
const MAX_REASON_BYTES: usize = 128;

/// What the button "send again" sends.
#[derive(serde::Deserialize)]
pub(super) struct RequeueForm {
    key: String,
    reason: String,
}

/// What the button "cancel" sends.
#[derive(serde::Deserialize)]
pub(super) struct CancelForm {
    key: String,
}

/// Sends the messages that were rejected for a reason again.
pub(super) async fn requeue(
    State(site): State<Arc<Site>>,
    Path(pipeline): Path<String>,
    headers: HeaderMap,
    Form(form): Form<RequeueForm>,
) -> Response {
    if !site.is_own_form(&headers, &form.key) {
        return foreign_form();
    }
    if !is_pipeline(&pipeline) || form.reason.len() > MAX_REASON_BYTES {
        return no_page(&site, &headers);
    }
    let (data, name, reason) = (Arc::clone(&site.data), pipeline.clone(), form.reason.clone());
    let result = carry_out(&site, format!("requeue {pipeline} {reason}"), async move {
        data.requeue(&name, &reason).await.map(|summary| requeued(&reason, &summary))
    })
    .await;
    finish(&site, &headers, result, &format!("/p/{pipeline}/dead-letters"))
}

/// Asks a run to end.
pub(super) async fn cancel(
    State(site): State<Arc<Site>>,
    Path((pipeline, id)): Path<(String, String)>,
    headers: HeaderMap,
    Form(form): Form<CancelForm>,
) -> Response {
    if !site.is_own_form(&headers, &form.key) {
        return foreign_form();
    }
    if !is_pipeline(&pipeline) || !is_id(&id) {
        return no_page(&site, &headers);
    }
    let (data, name, run) = (Arc::clone(&site.data), pipeline.clone(), id.clone());
    let result = carry_out(&site, format!("cancel {pipeline} {id}"), async move {
        let done = "The run is asked to end; it commits what it has read first.";
        data.cancel(&name, &run).await.map(|()| done.to_owned())
    })
    .await;
    finish(&site, &headers, result, &format!("/p/{pipeline}/runs/{id}"))
}

/// Runs an action to its end, even if the browser leaves meanwhile; the same one is not run twice at once, as by a double
/// click. A console that only reads refuses every form.
async fn carry_out(
    site: &Arc<Site>,
    what: String,
    action: impl Future<Output = Result<String, ConsoleError>> + Send + 'static,
) -> Result<String, ConsoleError> {
    if let Some(why) = site.data.read_only() {
        return Err(ConsoleError::Refused { fact: why, hint: None });
    }
    if !site.actions.lock().insert(what.clone()) {
        let hint = Some("Its outcome appears when it is done.".to_owned());
        return Err(ConsoleError::Refused { fact: "this is being done already".to_owned(), hint });
    }
    let shared = Arc::clone(site);
    let running = tokio::spawn(async move {
        let result = AssertUnwindSafe(action).catch_unwind().await;
        shared.actions.lock().remove(&what);
        result.unwrap_or_else(|_| Err(ConsoleError::unavailable("the action failed; the log says why")))
    });
    running.await.unwrap_or_else(|_| Err(ConsoleError::unavailable("the console is stopping")))
}

fn requeued(reason: &str, summary: &RequeueSummary) -> String {
    let topics: Vec<_> =
        summary.topics.iter().map(|(topic, count)| format!("{} to {topic}", human::count(*count))).collect();
    let mut text = format!("{} with reason {reason} sent again", human::plural(summary.sent, "message"));
    if !topics.is_empty() {
        text = format!("{text}: {}", topics.join(", "));
    }
    match &summary.note {
        Some(note) => format!("{} {}", sentence(&text), sentence(note)),
        None => sentence(&text),
    }
}

fn finish(site: &Site, headers: &HeaderMap, result: Result<String, ConsoleError>, page: &str) -> Response {
    let outcome = match result {
        Ok(text) => ActionOutcome { done: true, text },
        Err(error @ ConsoleError::NotFound { .. }) => return super::pages::failed(site, headers, &error),
        Err(error) => {
            let parts = [Some(error.to_string()), error.cause(), error.hint().map(str::to_owned)];
            let text: Vec<_> = parts.iter().flatten().map(|part| sentence(part)).collect();
            ActionOutcome { done: false, text: text.join(" ") }
        }
    };
    tracing::info!(done = outcome.done, page, "an action from the console");
    let Some(id) = site.keys.random_id() else { return Redirect::to(page).into_response() };
    site.outcomes.put(id.clone(), outcome);
    Redirect::to(&format!("{page}?outcome={id}")).into_response()
}
