//! Sends the bodies of a queue, one after another.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use turnstile_values::{RetryPolicy, Secret, human};

use super::queue::{NextBody, OutboxQueue};
use super::{OutboxError, OutboxSettings, REQUEST_TIMEOUT};

/// A server that asks for a longer wait is tried again after this one.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct OutboxSender {
    name: &'static str,
    url: Secret,
    client: Client,
    headers: HeaderMap,
    retries: RetryPolicy,
    queue: Arc<OutboxQueue>,
}

/// Why a body was not delivered.
#[derive(Debug)]
enum SendFailure {
    /// The server is away or overloaded; it may have asked for a wait.
    Transient(String, Option<Duration>),
    /// The server refuses this body.
    Refused(String),
}

impl OutboxSender {
    pub(super) fn new(settings: OutboxSettings, queue: Arc<OutboxQueue>) -> Result<Self, OutboxError> {
        let OutboxSettings { name, url, headers, content_type, retries, .. } = settings;
        let parsed = Url::parse(url.expose()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        parsed.filter(Url::has_host).ok_or(OutboxError::Url { name })?;
        let mut map = HeaderMap::new();
        map.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        for (header, value) in headers {
            let pair = HeaderName::from_bytes(header.as_bytes()).ok().zip(HeaderValue::from_str(value.expose()).ok());
            let Some((header_name, mut value)) = pair else { return Err(OutboxError::Header { name, header }) };
            value.set_sensitive(true);
            map.insert(header_name, value);
        }
        // A redirect would take the body, and the password in a header, to an address that is not configured.
        let client = Client::builder().timeout(REQUEST_TIMEOUT).redirect(Policy::none()).build();
        let client = client.map_err(|source| OutboxError::Client { name, source: source.without_url() })?;
        Ok(Self { name, url, client, headers: map, retries, queue })
    }

    pub(super) async fn run(self) {
        let mut waits = self.retries.waits();
        let (mut away, mut refusing) = (false, false);
        while let NextBody::Body(number, body) = self.queue.next().await {
            match self.send(body).await {
                Ok(()) => {
                    if away || refusing {
                        tracing::info!("{} takes what is sent again", self.name);
                    }
                    (away, refusing) = (false, false);
                    waits.reset();
                    self.queue.finish(number, true);
                }
                Err(SendFailure::Refused(why)) => {
                    if !refusing {
                        tracing::warn!("{} refuses what is sent: {why}", self.name);
                    }
                    (away, refusing) = (false, true);
                    waits.reset();
                    self.queue.finish(number, false);
                }
                Err(SendFailure::Transient(why, asked)) => {
                    if !away {
                        tracing::warn!("{} is away: {why}; it is tried again until it answers", self.name);
                    }
                    away = true;
                    let wait = waits.next().unwrap_or(self.retries.longest_wait);
                    tokio::time::sleep(asked.unwrap_or(wait).min(LONGEST_RETRY_AFTER)).await;
                }
            }
        }
    }

    async fn send(&self, body: bytes::Bytes) -> Result<(), SendFailure> {
        let request = self.client.post(self.url.expose()).headers(self.headers.clone()).body(body);
        // The error's own text has the URL.
        let response =
            request.send().await.map_err(|e| SendFailure::Transient(human::error(&e.without_url()), None))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let why = format!("HTTP status {status}");
        let transient = status.is_server_error()
            || status == StatusCode::TOO_MANY_REQUESTS
            || status == StatusCode::REQUEST_TIMEOUT;
        if !transient {
            return Err(SendFailure::Refused(why));
        }
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        Err(SendFailure::Transient(why, asked.and_then(|value| value.trim().parse().ok()).map(Duration::from_secs)))
    }
}
