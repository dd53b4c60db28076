//! Requests to a Prefect server, one at a time.
//!
//! Source: Prefect 3.8.8's REST API; requests and responses of a real server were recorded for this.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use turnstile_values::{Secret, human, is_private};
use uuid::Uuid;

use super::error::PrefectError;
use super::settings::{PrefectSettings, checked};

/// The version of the API that the requests are written for.
const API_VERSION: &str = "0.8.4";
/// The server closes a connection that was idle for 5 seconds; a request on it would be lost.
const IDLE: Duration = Duration::from_secs(4);
/// Longest response that is read.
const MAX_RESPONSE_BYTES: usize = 4 << 20;
/// Every server has these: one that does not is no Prefect server.
const FIXED_PATHS: [&str; 8] = [
    "/flows/",
    "/flow_runs/",
    "/flow_runs/filter",
    "/events",
    "/logs/",
    "/logs/filter",
    "/artifacts/",
    "/artifacts/filter",
];
/// How much of a refusal is shown.
const MAX_DETAIL_CHARS: usize = 300;

/// A Prefect server.
pub struct PrefectClient {
    api: String,
    private: bool,
    key: Option<Secret>,
    client: Client,
    sent: AtomicU64,
    /// This client's id for the server's protection against forged requests, and the token, once it asked for one.
    csrf: Mutex<Option<(Uuid, String)>>,
}

impl fmt::Debug for PrefectClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrefectClient").field("api", &self.api).finish_non_exhaustive()
    }
}

impl PrefectClient {
    /// Sends no request yet.
    ///
    /// # Errors
    /// `Settings`: the address is none, or the key would be sent over an open connection.
    pub fn new(settings: &PrefectSettings) -> Result<Self, PrefectError> {
        Self::connect(&settings.api, settings.key.clone(), settings.timeout)
    }

    /// The same, of the parts that matter: `timeout` is how long one answer may take.
    ///
    /// # Errors
    /// As [`PrefectClient::new`].
    pub fn connect(api: &str, key: Option<Secret>, timeout: Duration) -> Result<Self, PrefectError> {
        let url = checked(api, key.is_some()).map_err(PrefectError::Settings)?;
        let private = is_private(url.scheme(), url.host_str());
        let client = Client::builder().timeout(timeout).pool_idle_timeout(IDLE).redirect(Policy::none());
        let client = client.build().map_err(|e| PrefectError::Settings(human::error(&e)))?;
        let api = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { api, private, key, client, sent: AtomicU64::new(0), csrf: Mutex::new(None) })
    }

    /// Whether no one between here and the server can read its answers.
    pub(super) fn is_private(&self) -> bool {
        self.private
    }

    /// How many requests were sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The address.
    pub fn api(&self) -> &str {
        &self.api
    }

    /// The JSON that a GET of `path` (`/flows/…`) is answered with.
    ///
    /// # Errors
    /// See [`PrefectError`].
    pub async fn get(&self, path: &str) -> Result<Value, PrefectError> {
        self.send(Method::GET, path, None).await
    }

    /// The JSON that a POST is answered with; `Null` without a body.
    ///
    /// # Errors
    /// See [`PrefectError`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, PrefectError> {
        self.change(Method::POST, path, body).await
    }

    /// The same for PATCH.
    ///
    /// # Errors
    /// See [`PrefectError`].
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value, PrefectError> {
        self.change(Method::PATCH, path, body).await
    }

    async fn change(&self, method: Method, path: &str, body: &Value) -> Result<Value, PrefectError> {
        match self.send(method.clone(), path, Some(body)).await {
            Err(PrefectError::Refused { status, detail })
                if status == 403 && detail.to_lowercase().contains("csrf") =>
            {
                self.fetch_token().await?;
                self.send(method, path, Some(body)).await
            }
            other => other,
        }
    }

    /// Gets a token against forged requests, which a server may ask of every client.
    async fn fetch_token(&self) -> Result<(), PrefectError> {
        let id = Uuid::new_v4();
        let answer = self.send(Method::GET, &format!("/csrf-token?client={id}"), None).await?;
        let token = answer["token"].as_str().ok_or_else(|| PrefectError::Garbage("no CSRF token".into()))?;
        *self.csrf.lock() = Some((id, token.to_owned()));
        Ok(())
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> RequestBuilder {
        let mut request = self.client.request(method, format!("{}{path}", self.api));
        request = request.header("x-prefect-api-version", API_VERSION);
        if let Some(key) = self.key.as_ref().map(Secret::expose) {
            // A key of Prefect Cloud holds no colon.
            request = match key.split_once(':') {
                Some((user, password)) => request.basic_auth(user, Some(password)),
                None => request.bearer_auth(key),
            };
        }
        if let Some((id, token)) = &*self.csrf.lock() {
            request = request.header("Prefect-Csrf-Client", id.to_string()).header("Prefect-Csrf-Token", token);
        }
        match body {
            Some(body) => request.header("Content-Type", "application/json").body(body.to_string()),
            None => request,
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, PrefectError> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let response = self.request(method, path, body).send().await;
        let mut response = response.map_err(|e| away(&e.without_url()))?;
        let status = response.status();
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let after = after.filter(|secs: &f64| secs.is_finite() && *secs >= 0.0).map(Duration::from_secs_f64);
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| away(&e.without_url()))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_RESPONSE_BYTES {
                return Err(PrefectError::Garbage(format!("more than {MAX_RESPONSE_BYTES} bytes")));
            }
        }
        if status.is_success() {
            if bytes.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(&bytes)
                .map_err(|_| PrefectError::Garbage("something other than JSON".into()));
        }
        if matches!(status.as_u16(), 404 | 405) && FIXED_PATHS.contains(&path) {
            let api = &self.api;
            let hint =
                format!("{} to {path}: does the address {api} end as that of the API, in /api?", status.as_u16());
            return Err(PrefectError::Garbage(hint));
        }
        Err(refusal(status, &bytes, after))
    }
}

fn away(error: &reqwest::Error) -> PrefectError {
    if error.is_timeout() {
        return PrefectError::Away { cause: "no answer in time".into(), sent: true };
    }
    // A connection that was never made carried nothing to the server.
    PrefectError::Away { cause: human::error(error), sent: !error.is_connect() }
}

fn refusal(status: StatusCode, body: &[u8], after: Option<Duration>) -> PrefectError {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(json) => {
            let detail = ["exception_detail", "detail", "exception_message"].iter().map(|key| &json[key]);
            match detail.into_iter().find(|detail| !detail.is_null()) {
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                None => String::new(),
            }
        }
        Err(_) => String::new(),
    };
    let detail: String = human::one_line(&text).chars().take(MAX_DETAIL_CHARS).collect();
    let status = status.as_u16();
    match status {
        401 => PrefectError::Key { status, detail },
        403 if !detail.to_lowercase().contains("csrf") => PrefectError::Key { status, detail },
        408 | 425 | 429 | 500 | 502..=504 => PrefectError::Busy { status, after },
        300..=399 => PrefectError::Garbage(format!("a redirection ({status})")),
        _ => PrefectError::Refused { status, detail },
    }
}
