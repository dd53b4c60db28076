//! BigQuery's REST API, version 2: requests, their repetition, jobs, uploads.
//!
//! In: a path and a JSON body. Out: the JSON of the answer, or a sorted [`Fault`].
//! Refuses to know what a table or a delivery is. Start at [`Api::call`].

mod jobs;
mod upload;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde_json::Value;

pub(super) use self::jobs::{Feed, Job, query};
use super::BigQuerySettings;
use super::credentials::Tokens;
use super::fault::{Fault, Sort, refused};
use crate::TargetError;

const CONNECT: Duration = Duration::from_secs(10);
/// Longest answer that is read: a job's resource repeats its query, which may have a million bytes.
const ANSWER_BYTES: usize = 16 << 20;
/// Longest wait before a request is sent again.
const WAIT: Duration = Duration::from_secs(10);

/// A client of one project.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) settings: BigQuerySettings,
    tokens: Arc<Tokens>,
    client: Client,
}

/// One request, to be sent as often as it takes.
#[derive(Debug, Clone)]
struct Request<'a> {
    method: Method,
    url: String,
    kind: &'a str,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

/// An answer with a status that is not an error's.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Api {
    pub(super) fn new(settings: BigQuerySettings, tokens: Arc<Tokens>) -> Result<Self, TargetError> {
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(settings.request_time())
            .redirect(Policy::none())
            .build();
        let client =
            client.map_err(|e| refused(&settings.name(), format!("no client can be made: {e}"), "see above"))?;
        Ok(Self { settings, tokens, client })
    }

    /// Sends one request below `/bigquery/v2/projects/PROJECT/` and repeats it while it fails for the moment, up to
    /// `retry_secs`. `what` names it in errors and logs.
    pub(super) async fn call(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, CallError> {
        let request = Request {
            method,
            url: self.url("", path),
            kind: "application/json",
            headers: Vec::new(),
            body: body.map(|body| Bytes::from(body.to_string())).unwrap_or_default(),
        };
        let answer = self.persist(what, &request).await?;
        Ok(json(what, &answer.body)?)
    }

    fn url(&self, before: &str, path: &str) -> String {
        let endpoint = self.settings.endpoint.trim_end_matches('/');
        format!("{endpoint}{before}/bigquery/v2/projects/{}/{path}", self.settings.project)
    }

    /// Sends a request again while it fails for the moment.
    async fn persist(&self, what: &str, request: &Request<'_>) -> Result<Answer, CallError> {
        let mut patience = Patience::new(&self.settings);
        loop {
            match self.once(what, request).await {
                Err(CallError::Fault(fault)) if fault.sort == Sort::Passing => patience.wait(fault).await?,
                other => return other,
            }
        }
    }

    /// Sends a request; once more with a new token when the first one is not accepted.
    async fn once(&self, what: &str, request: &Request<'_>) -> Result<Answer, CallError> {
        match self.send(what, request).await {
            Err(CallError::Fault(fault)) if fault.sort == Sort::Unauthorized => {
                self.tokens.forget()?;
                self.send(what, request).await
            }
            other => other,
        }
    }

    async fn send(&self, what: &str, request: &Request<'_>) -> Result<Answer, CallError> {
        let mut sent = self.client.request(request.method.clone(), &request.url).header(CONTENT_TYPE, request.kind);
        for (name, value) in &request.headers {
            sent = sent.header(*name, value);
        }
        if let Some(token) = self.tokens.bearer().await? {
            sent = sent.header(AUTHORIZATION, secret(&token).map_err(|()| self.bad_token())?);
        }
        let answered = sent.body(request.body.clone()).send().await;
        let mut response = answered.map_err(|e| Fault::connection(what, &e.without_url()))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| Fault::connection(what, &e.without_url()))? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES {
                // What is cut off is no JSON, and refused as such.
                break;
            }
        }
        // 308 asks for the next part of an upload.
        if (200..300).contains(&status) || status == 308 {
            return Ok(Answer { status, headers, body: body.into() });
        }
        Err(Fault::answer(what, status, &body).into())
    }

    fn bad_token(&self) -> TargetError {
        refused(&self.settings.name(), "the token that was issued is no header's text", "look at the credentials")
    }
}

fn secret(token: &str) -> Result<HeaderValue, ()> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| ())?;
    value.set_sensitive(true);
    Ok(value)
}

fn json(what: &str, body: &[u8]) -> Result<Value, Fault> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|_| Fault {
        sort: Sort::Refused,
        reason: "HTTP 200".into(),
        message: "the answer is no JSON: is this BigQuery's address?".into(),
        what: what.into(),
    })
}

/// How long a request is repeated, each time after twice the wait.
pub(super) struct Patience {
    until: Instant,
    wait: Duration,
}

impl Patience {
    pub(super) fn new(settings: &BigQuerySettings) -> Self {
        let until = Instant::now() + Duration::from_secs(settings.retry_secs);
        Self { until, wait: Duration::from_millis(settings.retry_wait_ms) }
    }

    /// Waits for the next try; gives `fault` back when there is to be none.
    pub(super) async fn wait(&mut self, fault: Fault) -> Result<(), Fault> {
        if Instant::now() + self.wait > self.until {
            return Err(fault);
        }
        tracing::warn!(what = %fault.what, reason = %fault.reason, wait_ms = self.wait.as_millis() as u64,
            "BigQuery cannot now; the request is sent again");
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(WAIT);
        Ok(())
    }
}

/// Why a call gave nothing: BigQuery's answer, or that no token could be had to ask it.
#[derive(Debug)]
pub(super) enum CallError {
    Fault(Fault),
    Own(TargetError),
}

impl CallError {
    /// The fault, when BigQuery answered with this sort of one.
    pub(super) fn is(&self, sort: Sort) -> bool {
        matches!(self, Self::Fault(fault) if fault.sort == sort)
    }

    pub(super) fn into_error(self, target: &str) -> TargetError {
        match self {
            Self::Fault(fault) => fault.into_error(target),
            Self::Own(error) => error,
        }
    }
}

impl From<Fault> for CallError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<TargetError> for CallError {
    fn from(error: TargetError) -> Self {
        Self::Own(error)
    }
}
