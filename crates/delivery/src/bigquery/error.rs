//! BigQuery's errors, classified by what the caller can do.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use turnstile_values::human;

use crate::error::TargetError;

/// How many of a job's errors are shown: a file with a million wrong rows has a million.
const MAX_ERRORS_SHOWN: usize = 5;

/// Reasons that are transient. Source: BigQuery's "Error messages" table.
const TRANSIENT_REASONS: [&str; 10] = [
    "backendError",
    "internalError",
    "rateLimitExceeded",
    "jobRateLimitExceeded",
    "jobBackendError",
    "jobInternalError",
    "tableUnavailable",
    "resourceInUse",
    "timeout",
    "stopped",
];

/// What the caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// Retry in a moment.
    Transient,
    /// Retry much later: a daily quota is used up.
    Quota,
    /// A job or table of that name exists.
    Exists,
    /// It does not exist.
    NotFound,
    /// The token was rejected.
    Unauthorized,
    /// A person must change something.
    Refused,
}

/// An error response, or no response.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    pub(super) class: ErrorClass,
    /// BigQuery's reason, or `connection`.
    pub(super) reason: String,
    pub(super) message: String,
    /// The subject of the request: a job's id, a table.
    pub(super) what: String,
    /// Why no response came.
    pub(super) source: Option<Arc<reqwest::Error>>,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.what, self.message, self.reason)
    }
}

impl std::error::Error for ApiError {
    /// The innermost cause: what wraps it says nothing more.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().and_then(|error| human::innermost(error))
    }
}

impl ApiError {
    pub(super) fn new(class: ErrorClass, reason: impl Into<String>, message: String, what: impl Into<String>) -> Self {
        Self { class, reason: reason.into(), message, what: what.into(), source: None }
    }

    /// No response came.
    pub(super) fn connection(what: &str, error: reqwest::Error) -> Self {
        let message = if error.is_timeout() { "no response in time" } else { "no response" };
        let error = Some(Arc::new(error.without_url()));
        Self { source: error, ..Self::new(ErrorClass::Transient, "connection", message.into(), what) }
    }

    /// A response with an error status.
    pub(super) fn from_response(what: &str, status: u16, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let error = &body["error"];
        let first = &error["errors"][0];
        let reason = first["reason"].as_str().unwrap_or_default();
        let mut message = error["message"].as_str().unwrap_or("the response is not a BigQuery error").to_owned();
        if let Some(location) = first["location"].as_str() {
            message = format!("{message} at {location}");
        }
        let class = classify(status, reason);
        let reason = if reason.is_empty() { format!("HTTP {status}") } else { reason.to_owned() };
        Self::new(class, reason, message, what)
    }

    /// The error in the `status` of a finished job; `None` if it succeeded.
    pub(super) fn from_job(what: &str, status: &Value) -> Option<Self> {
        let result = status.get("errorResult").filter(|result| !result.is_null())?;
        let reason = result["reason"].as_str().unwrap_or("unknown");
        let mut messages = vec![describe_job_error(result)];
        for error in status["errors"].as_array().into_iter().flatten() {
            let text = describe_job_error(error);
            if !messages.contains(&text) {
                messages.push(text);
            }
        }
        let more = messages.len().saturating_sub(MAX_ERRORS_SHOWN);
        messages.truncate(MAX_ERRORS_SHOWN);
        if more > 0 {
            messages.push(format!("and {more} more"));
        }
        let message = messages.join("; ");
        // Two transactions conflicted: the cancelled one may be retried. The reason alone would say that the SQL is wrong.
        let conflict = message.contains("concurrent update") || message.contains("concurrent transaction");
        let class = if conflict { ErrorClass::Transient } else { classify(400, reason) };
        Some(Self::new(class, reason, message, what))
    }

    /// As an error of [`Target`](crate::Target).
    pub(super) fn into_error(self, target: &str) -> TargetError {
        match self.class {
            ErrorClass::Transient | ErrorClass::Quota => {
                TargetError::Unreachable { target: target.into(), source: Box::new(self) }
            }
            _ => TargetError::Refused {
                target: target.into(),
                reason: self.what.clone(),
                hint: self.hint(),
                source: Some(Box::new(self)),
            },
        }
    }

    fn hint(&self) -> String {
        let hint = match self.reason.as_str() {
            "accessDenied" => "give the account the roles that docs/warehouse-bigquery.md lists",
            "notFound" => "check project, dataset and location in the settings, and whether a table was removed",
            "billingNotEnabled" => "enable billing for the project: the free sandbox has no DML",
            "authError" | "required" | "HTTP 401" => {
                "check the credentials: the account, its key, this machine's clock"
            }
            _ if self.class == ErrorClass::Unauthorized => {
                "check the credentials: the account, its key, this machine's clock"
            }
            _ => "see BigQuery's message above",
        };
        hint.to_owned()
    }
}

/// One error of a job with its location: a file with line, a query with line and column.
fn describe_job_error(error: &Value) -> String {
    let message = error["message"].as_str().unwrap_or("no message");
    match error["location"].as_str().filter(|location| !location.is_empty()) {
        Some(location) => format!("{message} at {location}"),
        None => message.to_owned(),
    }
}

fn classify(status: u16, reason: &str) -> ErrorClass {
    match (status, reason) {
        (_, "quotaExceeded") => ErrorClass::Quota,
        (_, reason) if TRANSIENT_REASONS.contains(&reason) => ErrorClass::Transient,
        (429 | 408 | 500.., _) => ErrorClass::Transient,
        (409, _) => ErrorClass::Exists,
        (404 | 410, _) | (_, "notFound") => ErrorClass::NotFound,
        (401, _) => ErrorClass::Unauthorized,
        _ => ErrorClass::Refused,
    }
}

/// A refusal by turnstile itself, before a request is sent.
pub(super) fn refused(target: &str, reason: impl Into<String>, hint: impl Into<String>) -> TargetError {
    TargetError::Refused { target: target.into(), reason: reason.into(), hint: hint.into(), source: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(reason: &str) -> Vec<u8> {
        json!({"error": {"code": 0, "message": "m", "errors": [{"reason": reason, "location": "q"}]}})
            .to_string()
            .into()
    }

    #[test]
    fn transient_errors_are_distinguished_from_permanent_ones() {
        let class_of = |status, reason| ApiError::from_response("x", status, &body(reason)).class;
        assert_eq!(class_of(503, ""), ErrorClass::Transient);
        assert_eq!(class_of(403, "rateLimitExceeded"), ErrorClass::Transient);
        assert_eq!(class_of(400, "jobRateLimitExceeded"), ErrorClass::Transient);
        assert_eq!(class_of(403, "quotaExceeded"), ErrorClass::Quota);
        assert_eq!(class_of(409, "duplicate"), ErrorClass::Exists);
        assert_eq!(class_of(404, "notFound"), ErrorClass::NotFound);
        assert_eq!(class_of(401, "authError"), ErrorClass::Unauthorized);
        assert_eq!(class_of(403, "accessDenied"), ErrorClass::Refused);
        assert_eq!(class_of(400, "invalidQuery"), ErrorClass::Refused);
    }

    #[test]
    fn a_response_that_is_not_json_is_classified_by_its_status() {
        let error = ApiError::from_response("x", 502, b"<html>");
        assert_eq!((error.class, error.reason.as_str()), (ErrorClass::Transient, "HTTP 502"));
    }

    #[test]
    fn a_jobs_errors_are_shown_once_each_with_their_locations() {
        let one = json!({"reason": "invalid", "message": "bad int", "location": "gs://b/p.parquet"});
        let two = json!({"reason": "invalid", "message": "row 7", "location": "line 3"});
        let error = ApiError::from_job("load", &json!({"errorResult": one, "errors": [one, two]})).unwrap();
        assert_eq!(error.to_string(), "load: bad int at gs://b/p.parquet; row 7 at line 3 (invalid)");
        assert!(ApiError::from_job("load", &json!({"state": "DONE"})).is_none());
    }

    #[test]
    fn a_transaction_conflict_is_transient() {
        let message = "Transaction is aborted due to concurrent update against table p:d.turnstile_position.";
        let status = json!({"errorResult": {"reason": "invalidQuery", "message": message}});
        assert_eq!(ApiError::from_job("commit", &status).unwrap().class, ErrorClass::Transient);
    }
}
