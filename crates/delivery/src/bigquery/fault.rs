//! What BigQuery answered when it did not do what it was asked, sorted by what the caller can do.

use std::fmt;

use serde_json::Value;

use crate::TargetError;

/// How many of a job's errors are told; a file with a million wrong rows has as many.
const ERRORS_TOLD: usize = 5;

/// Reasons that pass by themselves. Source: BigQuery's "Error messages" table.
const PASSING: [&str; 10] = [
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

/// What the caller can do about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// Send it again in a moment.
    Passing,
    /// Send it again much later: a quota of the day is used up.
    Quota,
    /// A job or table of that name exists.
    Exists,
    /// There is no such thing.
    NotFound,
    /// The token was not accepted.
    Unauthorized,
    /// A person must change something.
    Refused,
}

/// An answer that is not the one asked for, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) sort: Sort,
    /// BigQuery's word for it, or `connection`.
    pub(super) reason: String,
    pub(super) message: String,
    /// What was asked: a job's id, a table.
    pub(super) what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.what, self.message, self.reason)
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// No answer came.
    pub(super) fn connection(what: &str, error: &reqwest::Error) -> Self {
        let mut innermost: &dyn std::error::Error = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        let message = if error.is_timeout() { "no answer in time".to_owned() } else { innermost.to_string() };
        Self { sort: Sort::Passing, reason: "connection".into(), message, what: what.into() }
    }

    /// An answer whose status says that it is none.
    pub(super) fn answer(what: &str, status: u16, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let error = &body["error"];
        let first = &error["errors"][0];
        let reason = first["reason"].as_str().unwrap_or_default();
        let mut message = error["message"].as_str().unwrap_or("an answer that is no BigQuery error").to_owned();
        if let Some(location) = first["location"].as_str() {
            message = format!("{message} at {location}");
        }
        let sort = sort(status, reason);
        let reason = if reason.is_empty() { format!("HTTP {status}") } else { reason.to_owned() };
        Self { sort, reason, message, what: what.into() }
    }

    /// What a job that is done says in `status`; `None` when it went well.
    pub(super) fn job(what: &str, status: &Value) -> Option<Self> {
        let result = status.get("errorResult").filter(|result| !result.is_null())?;
        let reason = result["reason"].as_str().unwrap_or("unknown");
        let mut told = vec![told(result)];
        for error in status["errors"].as_array().into_iter().flatten() {
            let text = self::told(error);
            if !told.contains(&text) {
                told.push(text);
            }
        }
        let more = told.len().saturating_sub(ERRORS_TOLD);
        told.truncate(ERRORS_TOLD);
        if more > 0 {
            told.push(format!("and {more} more"));
        }
        let message = told.join("; ");
        // Two transactions met: one is cancelled and may begin again. The reason alone would say that the SQL is wrong.
        let conflict = message.contains("concurrent update") || message.contains("concurrent transaction");
        let sort = if conflict { Sort::Passing } else { sort(400, reason) };
        Some(Self { sort, reason: reason.into(), message, what: what.into() })
    }

    /// The same as the door's error.
    pub(super) fn into_error(self, target: &str) -> TargetError {
        match self.sort {
            Sort::Passing | Sort::Quota => TargetError::Unreachable { target: target.into(), source: Box::new(self) },
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
            "notFound" => "look at project, dataset and location in the settings, and whether a table was removed",
            "billingNotEnabled" => "enable billing for the project: the free sandbox has no DML",
            "authError" | "required" | "HTTP 401" => {
                "look at the credentials: the account, its key, this machine's clock"
            }
            _ if self.sort == Sort::Unauthorized => {
                "look at the credentials: the account, its key, this machine's clock"
            }
            _ => "see what BigQuery says of it above",
        };
        hint.to_owned()
    }
}

/// One error of a job with its place: a file with line, a query with line and column.
fn told(error: &Value) -> String {
    let message = error["message"].as_str().unwrap_or("no message");
    match error["location"].as_str().filter(|location| !location.is_empty()) {
        Some(location) => format!("{message} at {location}"),
        None => message.to_owned(),
    }
}

fn sort(status: u16, reason: &str) -> Sort {
    match (status, reason) {
        (_, "quotaExceeded") => Sort::Quota,
        (_, reason) if PASSING.contains(&reason) => Sort::Passing,
        (429 | 408 | 500.., _) => Sort::Passing,
        (409, _) => Sort::Exists,
        (404 | 410, _) | (_, "notFound") => Sort::NotFound,
        (401, _) => Sort::Unauthorized,
        _ => Sort::Refused,
    }
}

/// A refusal of our own, before BigQuery was asked.
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
    fn what_passes_is_told_from_what_stays() {
        let sorted = |status, reason| Fault::answer("x", status, &body(reason)).sort;
        assert_eq!(sorted(503, ""), Sort::Passing);
        assert_eq!(sorted(403, "rateLimitExceeded"), Sort::Passing);
        assert_eq!(sorted(400, "jobRateLimitExceeded"), Sort::Passing);
        assert_eq!(sorted(403, "quotaExceeded"), Sort::Quota);
        assert_eq!(sorted(409, "duplicate"), Sort::Exists);
        assert_eq!(sorted(404, "notFound"), Sort::NotFound);
        assert_eq!(sorted(401, "authError"), Sort::Unauthorized);
        assert_eq!(sorted(403, "accessDenied"), Sort::Refused);
        assert_eq!(sorted(400, "invalidQuery"), Sort::Refused);
    }

    #[test]
    fn an_answer_that_is_no_json_is_told_by_its_status() {
        let fault = Fault::answer("x", 502, b"<html>");
        assert_eq!((fault.sort, fault.reason.as_str()), (Sort::Passing, "HTTP 502"));
    }

    #[test]
    fn a_jobs_errors_are_told_once_each_with_their_places() {
        let one = json!({"reason": "invalid", "message": "bad int", "location": "gs://b/p.parquet"});
        let two = json!({"reason": "invalid", "message": "row 7", "location": "line 3"});
        let fault = Fault::job("load", &json!({"errorResult": one, "errors": [one, two]})).unwrap();
        assert_eq!(fault.to_string(), "load: bad int at gs://b/p.parquet; row 7 at line 3 (invalid)");
        assert_eq!(Fault::job("load", &json!({"state": "DONE"})), None);
    }

    #[test]
    fn a_transaction_that_met_another_may_begin_again() {
        let message = "Transaction is aborted due to concurrent update against table p:d.turnstile_position.";
        let status = json!({"errorResult": {"reason": "invalidQuery", "message": message}});
        assert_eq!(Fault::job("commit", &status).unwrap().sort, Sort::Passing);
    }
}
