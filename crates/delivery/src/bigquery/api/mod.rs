//! BigQuery's REST API, version 2: requests with retries, jobs, uploads.
//!
//! In: a path and a JSON body. Out: the JSON of the response, or a classified [`ApiError`].
//! Knows nothing of tables and deliveries. Start at [`Api::call`].

mod jobs;
mod upload;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde_json::Value;
use turnstile_values::{RetryPolicy, RetryWaits};

pub(super) use self::jobs::{Job, JobMedia, query};
use super::BigQuerySettings;
use super::credentials::Tokens;
use super::error::{ApiError, ErrorClass, refused};
use crate::error::{TargetError, TargetSettingsError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest response that is read: a job's resource repeats its query, which may have a million bytes.
const MAX_RESPONSE_BYTES: usize = 16 << 20;
/// Longest wait between two attempts.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// A client of one project.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) settings: BigQuerySettings,
    tokens: Arc<Tokens>,
    client: Client,
}

/// One request, which can be sent repeatedly.
#[derive(Debug, Clone)]
struct ApiRequest<'a> {
    method: Method,
    url: String,
    kind: &'a str,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

/// A response whose status is no error.
struct ApiResponse {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Api {
    pub(super) fn new(settings: BigQuerySettings, tokens: Arc<Tokens>) -> Result<Self, TargetSettingsError> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(settings.request_time())
            .redirect(Policy::none())
            .build();
        let client = client.map_err(|error| {
            let hint = "check the certificates of this machine";
            TargetSettingsError::new("endpoint", "cannot create an HTTPS client", hint).caused_by(error)
        })?;
        Ok(Self { settings, tokens, client })
    }

    /// Sends one request below `/bigquery/v2/projects/PROJECT/` and retries transient failures for up to
    /// `retry_secs`. `what` names it in errors and logs.
    pub(super) async fn call(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, CallError> {
        let request = ApiRequest {
            method,
            url: self.url("", path),
            kind: "application/json",
            headers: Vec::new(),
            body: body.map(|body| Bytes::from(body.to_string())).unwrap_or_default(),
        };
        let answer = self.send_with_retry(what, &request).await?;
        Ok(json(what, &answer.body)?)
    }

    fn url(&self, before: &str, path: &str) -> String {
        let endpoint = self.settings.endpoint.trim_end_matches('/');
        format!("{endpoint}{before}/bigquery/v2/projects/{}/{path}", self.settings.project)
    }

    /// Sends a request and retries transient failures.
    async fn send_with_retry(&self, what: &str, request: &ApiRequest<'_>) -> Result<ApiResponse, CallError> {
        let mut backoff = Backoff::new(&self.settings);
        loop {
            match self.send_with_token(what, request).await {
                Err(CallError::Api(error)) if error.class == ErrorClass::Transient => backoff.wait(error).await?,
                other => return other,
            }
        }
    }

    /// Sends a request; once more with a new token if the first one is rejected.
    async fn send_with_token(&self, what: &str, request: &ApiRequest<'_>) -> Result<ApiResponse, CallError> {
        match self.send(what, request).await {
            Err(CallError::Api(error)) if error.class == ErrorClass::Unauthorized => {
                self.tokens.refresh()?;
                self.send(what, request).await
            }
            other => other,
        }
    }

    async fn send(&self, what: &str, request: &ApiRequest<'_>) -> Result<ApiResponse, CallError> {
        let mut sent = self.client.request(request.method.clone(), &request.url).header(CONTENT_TYPE, request.kind);
        for (name, value) in &request.headers {
            sent = sent.header(*name, value);
        }
        if let Some(token) = self.tokens.bearer().await? {
            sent = sent.header(AUTHORIZATION, secret(&token).map_err(|()| self.bad_token())?);
        }
        let answered = sent.body(request.body.clone()).send().await;
        let mut response = answered.map_err(|e| ApiError::connection(what, e))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| ApiError::connection(what, e))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_RESPONSE_BYTES {
                // A truncated body is not JSON and is refused as such.
                break;
            }
        }
        // 308 asks for the next part of an upload.
        if (200..300).contains(&status) || status == 308 {
            return Ok(ApiResponse { status, headers, body: body.into() });
        }
        Err(ApiError::from_response(what, status, &body).into())
    }

    fn bad_token(&self) -> TargetError {
        refused(&self.settings.name(), "the issued token is not valid in an HTTP header", "check the credentials")
    }
}

fn secret(token: &str) -> Result<HeaderValue, ()> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| ())?;
    value.set_sensitive(true);
    Ok(value)
}

fn json(what: &str, body: &[u8]) -> Result<Value, ApiError> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    let message = "the response is not JSON; is this BigQuery's address?";
    serde_json::from_slice(body).map_err(|_| ApiError::new(ErrorClass::Refused, "HTTP 200", message.into(), what))
}

/// Retries a request with exponential backoff, up to a deadline.
pub(super) struct Backoff {
    began: Instant,
    waits: RetryWaits,
}

impl Backoff {
    pub(super) fn new(settings: &BigQuerySettings) -> Self {
        let policy = RetryPolicy::new(Duration::from_millis(settings.retry_wait_ms), MAX_WAIT);
        let policy = policy.give_up_after(Duration::from_secs(settings.retry_secs));
        Self { began: Instant::now(), waits: policy.waits() }
    }

    /// Waits for the next attempt; returns `error` if the deadline has passed.
    pub(super) async fn wait(&mut self, error: ApiError) -> Result<(), ApiError> {
        let Some(wait) = self.waits.next_after(self.began.elapsed()) else { return Err(error) };
        tracing::warn!(what = %error.what, reason = %error.reason, wait_ms = wait.as_millis() as u64,
            "transient BigQuery error; the request is sent again");
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// Why a call failed: BigQuery's error, or that no token was available.
#[derive(Debug)]
pub(super) enum CallError {
    Api(ApiError),
    Target(TargetError),
}

impl CallError {
    /// Whether BigQuery answered with an error of this class.
    pub(super) fn is(&self, class: ErrorClass) -> bool {
        matches!(self, Self::Api(error) if error.class == class)
    }

    pub(super) fn into_error(self, target: &str) -> TargetError {
        match self {
            Self::Api(error) => error.into_error(target),
            Self::Target(error) => error,
        }
    }
}

impl From<ApiError> for CallError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<TargetError> for CallError {
    fn from(error: TargetError) -> Self {
        Self::Target(error)
    }
}
