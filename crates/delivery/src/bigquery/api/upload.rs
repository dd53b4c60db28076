//! Uploads a load job with its bytes: small files in one request, large ones in chunks.
//!
//! Source: Google's guide "Upload data" for the BigQuery API: multipart and resumable uploads.

use bytes::{BufMut, Bytes, BytesMut};
use reqwest::Method;
use serde_json::Value;

use super::{Api, ApiRequest, ApiResponse, Backoff, CallError, json};
use crate::bigquery::error::{ApiError, ErrorClass};

/// Separates the parts of a multipart body. No Parquet file contains it by chance.
const BOUNDARY: &str = "turnstile-8f3b1c5e2d7a49b0a6c4e1f09d2b7c38";
const BYTES: &str = "application/octet-stream";
const JSON: &str = "application/json; charset=UTF-8";

impl Api {
    /// Starts a load job with its bytes, and returns the job's resource.
    pub(super) async fn upload(&self, what: &str, job: &Value, bytes: &Bytes) -> Result<Value, CallError> {
        let answer = if bytes.len() <= self.settings.multipart_bytes {
            self.upload_multipart(what, job, bytes).await?
        } else {
            self.upload_resumable(what, job, bytes).await?
        };
        Ok(json(what, &answer.body)?)
    }

    async fn upload_multipart(&self, what: &str, job: &Value, bytes: &Bytes) -> Result<ApiResponse, CallError> {
        let mut body = BytesMut::with_capacity(bytes.len() + 4_096);
        body.put_slice(format!("--{BOUNDARY}\r\nContent-Type: {JSON}\r\n\r\n{job}\r\n").as_bytes());
        body.put_slice(format!("--{BOUNDARY}\r\nContent-Type: {BYTES}\r\n\r\n").as_bytes());
        body.put_slice(bytes);
        body.put_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let request = ApiRequest {
            method: Method::POST,
            url: self.url("/upload", "jobs?uploadType=multipart"),
            kind: &format!("multipart/related; boundary={BOUNDARY}"),
            headers: Vec::new(),
            body: body.freeze(),
        };
        self.send_with_retry(what, &request).await
    }

    /// Sends chunk after chunk; after a failure it asks how far the upload has come and resumes there.
    async fn upload_resumable(&self, what: &str, job: &Value, bytes: &Bytes) -> Result<ApiResponse, CallError> {
        let session = self.open_session(what, job, bytes.len()).await?;
        let mut backoff = Backoff::new(&self.settings);
        let mut at = Some(0);
        loop {
            let sent = match at {
                Some(begin) => self.send_chunk(what, &session, bytes, begin).await,
                None => self.query_progress(what, &session, bytes.len()).await,
            };
            match sent {
                Ok(answer) if answer.status != 308 => return Ok(answer),
                Ok(answer) => {
                    let next = next_byte(&answer);
                    // A service that accepts nothing must not be retried for ever.
                    if at == Some(next) {
                        backoff.wait(stalled_error(what, next)).await?;
                    } else if at.is_some() {
                        backoff = Backoff::new(&self.settings);
                    }
                    at = Some(next);
                }
                Err(CallError::Api(error)) if error.class == ErrorClass::Transient => {
                    backoff.wait(error).await?;
                    at = None;
                }
                // The session is gone: lost, or finished with a response that did not arrive. The job's name tells which.
                Err(CallError::Api(error)) if error.class == ErrorClass::NotFound => {
                    return Err(ApiError { class: ErrorClass::Transient, ..error }.into());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Announces the job and returns the address for its bytes.
    async fn open_session(&self, what: &str, job: &Value, length: usize) -> Result<String, CallError> {
        let request = ApiRequest {
            method: Method::POST,
            url: self.url("/upload", "jobs?uploadType=resumable"),
            kind: JSON,
            headers: vec![("X-Upload-Content-Type", BYTES.to_owned()), ("X-Upload-Content-Length", length.to_string())],
            body: job.to_string().into(),
        };
        let answer = self.send_with_retry(what, &request).await?;
        let session = answer.headers.get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
        // The token goes with every chunk: only to the configured service, never to another host that a response names.
        if origin(session).is_none() || origin(session) != origin(&self.settings.endpoint) {
            let message = "the upload's address is not at the endpoint".to_owned();
            return Err(ApiError::new(ErrorClass::Refused, "location", message, what).into());
        }
        Ok(session.to_owned())
    }

    async fn send_chunk(
        &self,
        what: &str,
        session: &str,
        bytes: &Bytes,
        begin: usize,
    ) -> Result<ApiResponse, CallError> {
        let begin = begin.min(bytes.len());
        let end = (begin + self.settings.upload_bytes).min(bytes.len());
        if begin == end {
            return self.query_progress(what, session, bytes.len()).await;
        }
        self.put(what, session, format!("bytes {begin}-{}/{}", end - 1, bytes.len()), bytes.slice(begin..end)).await
    }

    async fn query_progress(&self, what: &str, session: &str, length: usize) -> Result<ApiResponse, CallError> {
        self.put(what, session, format!("bytes */{length}"), Bytes::new()).await
    }

    async fn put(&self, what: &str, session: &str, range: String, body: Bytes) -> Result<ApiResponse, CallError> {
        let headers = vec![("Content-Range", range)];
        self.send_with_token(what, &ApiRequest { method: Method::PUT, url: session.into(), kind: BYTES, headers, body })
            .await
    }
}

/// The first byte that the service does not have. Without a range it has none.
fn next_byte(answer: &ApiResponse) -> usize {
    let range = answer.headers.get("range").and_then(|value| value.to_str().ok());
    let last = range.and_then(|range| range.rsplit('-').next()?.parse::<usize>().ok());
    last.map_or(0, |last| last + 1)
}

fn stalled_error(what: &str, at: usize) -> ApiError {
    let message = format!("the upload is stalled at byte {at}");
    ApiError::new(ErrorClass::Transient, "upload", message, what)
}

fn origin(url: &str) -> Option<(String, String, Option<u16>)> {
    let url = reqwest::Url::parse(url).ok()?;
    Some((url.scheme().to_owned(), url.host_str()?.to_owned(), url.port_or_known_default()))
}
