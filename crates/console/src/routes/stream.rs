//! Live streams: the fragments of a page that have changed, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::pages::{Pairs, no_page, refused};
use crate::address::PageAddress;
use crate::fragment::Fragment;
use crate::guard::Refusal;
use crate::live::{LiveFrame, LivePage};
use crate::site::Site;
use crate::view::layout::PULSE;

/// How long a stream lasts; the browser then opens it again, which checks its login again.
const STREAM_LIFE: Duration = Duration::from_secs(15 * 60);

/// Time between two comments that keep a quiet stream open through proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What an event carries: the order of all fragments, and those that changed.
#[derive(serde::Serialize)]
struct PageChange<'a> {
    order: Vec<&'static str>,
    fragments: Vec<&'a Fragment>,
}

/// The stream of a pipeline's overview.
pub(super) async fn pipeline_stream(
    State(site): State<Arc<Site>>,
    Path(pipeline): Path<String>,
    query: Pairs,
    headers: HeaderMap,
) -> Response {
    open(&site, &pipeline, "", &query, &headers)
}

/// The stream of another page.
pub(super) async fn stream(
    State(site): State<Arc<Site>>,
    Path((pipeline, path)): Path<(String, String)>,
    query: Pairs,
    headers: HeaderMap,
) -> Response {
    open(&site, &pipeline, &path, &query, &headers)
}

fn open(site: &Arc<Site>, pipeline: &str, path: &str, query: &Pairs, headers: &HeaderMap) -> Response {
    let address = PageAddress::parse(pipeline, path, &query.0).filter(PageAddress::is_live);
    let Some(address) = address else { return no_page(site, headers) };
    let busy = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open; this one is not live");
    let Ok(place) = Arc::clone(&site.streams).try_acquire_owned() else { return refused(busy) };
    let Some(page) = site.live.subscribe(&address) else { return refused(busy) };
    let ended = {
        let stop = site.stop.clone();
        async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(STREAM_LIFE) => {}
            }
        }
    };
    let events = events(page, place).take_until(Box::pin(ended));
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

struct StreamState {
    frames: watch::Receiver<Arc<LiveFrame>>,
    /// The newest frame that was sent.
    sent: u64,
    _page: Arc<LivePage>,
    _place: OwnedSemaphorePermit,
}

/// The page as it is, then what changes. A client that is slow is sent the newest frame next, not each one.
fn events(page: Arc<LivePage>, place: OwnedSemaphorePermit) -> impl Stream<Item = Result<Event, Infallible>> {
    let state = StreamState { frames: page.frames(), sent: 0, _page: page, _place: place };
    stream::unfold(state, async |mut state| {
        let sent = state.sent;
        let frame = state.frames.wait_for(|frame| frame.number > sent).await.ok()?.clone();
        state.sent = frame.number;
        Some((Ok(event(&frame, sent)), state))
    })
}

fn event(frame: &LiveFrame, sent: u64) -> Event {
    let order = frame.fragments.iter().map(|(_, fragment)| fragment.id).filter(|id| *id != PULSE).collect();
    let change = PageChange { order, fragments: frame.since(sent).collect() };
    let event = Event::default().event("page").id(frame.number.to_string());
    match serde_json::to_string(&change) {
        Ok(text) => event.data(text),
        // Text and lists always have a JSON form.
        Err(_) => event.data("{}"),
    }
}
