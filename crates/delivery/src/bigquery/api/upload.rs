//! Bytes that travel with a load job: in one request when they are few, in parts when they are many.
//!
//! Source: Google's guide "Upload data" for the BigQuery API: multipart and resumable uploads.

use bytes::{BufMut, Bytes, BytesMut};
use reqwest::Method;
use serde_json::Value;

use super::{Answer, Api, CallError, Patience, Request, json};
use crate::bigquery::fault::{Fault, Sort};

/// Separates the parts of a multipart body. A Parquet file that holds it by chance would have to be made for it.
const BOUNDARY: &str = "turnstile-8f3b1c5e2d7a49b0a6c4e1f09d2b7c38";
const BYTES: &str = "application/octet-stream";
const JSON: &str = "application/json; charset=UTF-8";

impl Api {
    /// Begins a load job with its bytes, and returns the job's resource.
    pub(super) async fn upload(&self, what: &str, job: &Value, bytes: &Bytes) -> Result<Value, CallError> {
        let answer = if bytes.len() <= self.settings.multipart_bytes {
            self.whole(what, job, bytes).await?
        } else {
            self.in_parts(what, job, bytes).await?
        };
        Ok(json(what, &answer.body)?)
    }

    async fn whole(&self, what: &str, job: &Value, bytes: &Bytes) -> Result<Answer, CallError> {
        let mut body = BytesMut::with_capacity(bytes.len() + 4_096);
        body.put_slice(format!("--{BOUNDARY}\r\nContent-Type: {JSON}\r\n\r\n{job}\r\n").as_bytes());
        body.put_slice(format!("--{BOUNDARY}\r\nContent-Type: {BYTES}\r\n\r\n").as_bytes());
        body.put_slice(bytes);
        body.put_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let request = Request {
            method: Method::POST,
            url: self.url("/upload", "jobs?uploadType=multipart"),
            kind: &format!("multipart/related; boundary={BOUNDARY}"),
            headers: Vec::new(),
            body: body.freeze(),
        };
        self.persist(what, &request).await
    }

    /// Sends part after part; after a failure it asks how far the service has come and goes on from there.
    async fn in_parts(&self, what: &str, job: &Value, bytes: &Bytes) -> Result<Answer, CallError> {
        let session = self.open(what, job, bytes.len()).await?;
        let mut patience = Patience::new(&self.settings);
        let mut at = Some(0);
        loop {
            let sent = match at {
                Some(begin) => self.part(what, &session, bytes, begin).await,
                None => self.ask(what, &session, bytes.len()).await,
            };
            match sent {
                Ok(answer) if answer.status != 308 => return Ok(answer),
                Ok(answer) => {
                    let next = received(&answer);
                    // A service that takes nothing must not be fed for ever.
                    if at == Some(next) {
                        patience.wait(stuck(what, next)).await?;
                    } else if at.is_some() {
                        patience = Patience::new(&self.settings);
                    }
                    at = Some(next);
                }
                Err(CallError::Fault(fault)) if fault.sort == Sort::Passing => {
                    patience.wait(fault).await?;
                    at = None;
                }
                // The session is over: lost, or finished with an answer that did not arrive. The job's name tells which.
                Err(CallError::Fault(fault)) if fault.sort == Sort::NotFound => {
                    return Err(Fault { sort: Sort::Passing, ..fault }.into());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Announces the job and returns the address that its bytes go to.
    async fn open(&self, what: &str, job: &Value, length: usize) -> Result<String, CallError> {
        let request = Request {
            method: Method::POST,
            url: self.url("/upload", "jobs?uploadType=resumable"),
            kind: JSON,
            headers: vec![("X-Upload-Content-Type", BYTES.to_owned()), ("X-Upload-Content-Length", length.to_string())],
            body: job.to_string().into(),
        };
        let answer = self.persist(what, &request).await?;
        let session = answer.headers.get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
        // The token goes with every part: to the service that was configured, and to nobody whom an answer names.
        if origin(session).is_none() || origin(session) != origin(&self.settings.endpoint) {
            let message = "the upload's address is not at the endpoint".to_owned();
            return Err(Fault { sort: Sort::Refused, reason: "location".into(), message, what: what.into() }.into());
        }
        Ok(session.to_owned())
    }

    async fn part(&self, what: &str, session: &str, bytes: &Bytes, begin: usize) -> Result<Answer, CallError> {
        let begin = begin.min(bytes.len());
        let end = (begin + self.settings.upload_bytes).min(bytes.len());
        if begin == end {
            return self.ask(what, session, bytes.len()).await;
        }
        self.put(what, session, format!("bytes {begin}-{}/{}", end - 1, bytes.len()), bytes.slice(begin..end)).await
    }

    async fn ask(&self, what: &str, session: &str, length: usize) -> Result<Answer, CallError> {
        self.put(what, session, format!("bytes */{length}"), Bytes::new()).await
    }

    async fn put(&self, what: &str, session: &str, range: String, body: Bytes) -> Result<Answer, CallError> {
        let headers = vec![("Content-Range", range)];
        self.once(what, &Request { method: Method::PUT, url: session.into(), kind: BYTES, headers, body }).await
    }
}

/// The first byte that the service lacks. Without a range it has none.
fn received(answer: &Answer) -> usize {
    let range = answer.headers.get("range").and_then(|value| value.to_str().ok());
    let last = range.and_then(|range| range.rsplit('-').next()?.parse::<usize>().ok());
    last.map_or(0, |last| last + 1)
}

fn stuck(what: &str, at: usize) -> Fault {
    let message = format!("the upload does not get beyond byte {at}");
    Fault { sort: Sort::Passing, reason: "upload".into(), message, what: what.into() }
}

fn origin(url: &str) -> Option<(String, String, Option<u16>)> {
    let url = reqwest::Url::parse(url).ok()?;
    Some((url.scheme().to_owned(), url.host_str()?.to_owned(), url.port_or_known_default()))
}
