//! From the status of a failed call to a [`SparkError`].

use std::error::Error;

use prost::Message;
use tonic::{Code, Status};

use super::messages::service::{ErrorDetails, FetchErrorDetailsResponse};
use super::messages::status::{ErrorInfo, RpcStatus};
use crate::address::SparkAddress;
use crate::error::SparkError;

/// The beginning of Spark's classes that say that a session or an operation is gone.
const LOST_HANDLE: &str = "INVALID_HANDLE.";
/// The server does not have an operation.
const NO_OPERATION: &str = "INVALID_HANDLE.OPERATION_NOT_FOUND";
/// The server has an operation already.
const SAME_OPERATION: [&str; 2] = ["INVALID_HANDLE.OPERATION_ALREADY_EXISTS", "INVALID_HANDLE.OPERATION_ABANDONED"];

/// A failed call.
pub(super) struct CallFailure {
    pub(super) error: SparkError,
    /// Spark's number of the failure, by which one can ask for more about it.
    pub(super) error_id: Option<String>,
    /// What became of the operation, if the call was about one.
    pub(super) operation: OperationFate,
}

/// Whether the server has an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OperationFate {
    /// The failure does not say.
    Unknown,
    /// It never came to the server, or was forgotten.
    Absent,
    /// It came before.
    Present,
}

impl From<SparkError> for CallFailure {
    fn from(error: SparkError) -> Self {
        Self { error, error_id: None, operation: OperationFate::Unknown }
    }
}

/// What a status means.
pub(super) fn of_status(remote: &SparkAddress, status: Status) -> CallFailure {
    let server = remote.to_string();
    if let Some(mut info) = error_info(&status) {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let error_id = filled(info.metadata.remove("errorId"));
        let class = filled(info.metadata.remove("errorClass")).unwrap_or(info.reason);
        let message = without_class(status.message());
        if class.starts_with(LOST_HANDLE) {
            let operation = match class.as_str() {
                NO_OPERATION => OperationFate::Absent,
                class if SAME_OPERATION.contains(&class) => OperationFate::Present,
                _ => OperationFate::Unknown,
            };
            let error = SparkError::SessionLost { server, message };
            return CallFailure { error, error_id: None, operation };
        }
        let sql_state = filled(info.metadata.remove("sqlState"));
        let error = SparkError::Spark { class, sql_state, message, stack: Vec::new() };
        return CallFailure { error, error_id, operation: OperationFate::Unknown };
    }
    let error = match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => {
            SparkError::Refused { server, message: status.message().to_owned() }
        }
        // What tonic makes of an error of the connection is `Unknown` with a source; a proxy says `Unavailable`.
        Code::Unavailable | Code::Cancelled => SparkError::Unreachable { server, why: reason(&status) },
        _ if status.source().is_some() => SparkError::Unreachable { server, why: reason(&status) },
        code => SparkError::Protocol { server, message: format!("{code:?}: {}", status.message()) },
    };
    error.into()
}

/// Adds what the server knows beyond the status: the whole message, the class, the stack.
pub(super) fn with_details(error: SparkError, details: FetchErrorDetailsResponse) -> SparkError {
    let SparkError::Spark { class, sql_state, message, .. } = error else { return error };
    let errors = details.errors;
    let root = details.root_error_idx.and_then(|at| errors.get(usize::try_from(at).ok()?));
    let throwable = root.and_then(|root| root.spark_throwable.as_ref());
    SparkError::Spark {
        class: throwable.and_then(|throwable| throwable.error_class.clone()).unwrap_or(class),
        sql_state: throwable.and_then(|throwable| throwable.sql_state.clone()).or(sql_state),
        message: root.map_or(message, |root| without_class(&root.message)),
        stack: stack(&errors, details.root_error_idx),
    }
}

/// Frames of the failure and of what caused it, in order.
fn stack(errors: &[ErrorDetails], root: Option<i32>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut next = root;
    // A chain that names each error once is no longer than all of them.
    for _ in 0..errors.len() {
        let Some(error) = next.and_then(|at| errors.get(usize::try_from(at).ok()?)) else { break };
        let class = error.error_type_hierarchy.first().map_or("", String::as_str);
        lines.push(format!("{class}: {}", error.message));
        lines.extend(error.stack_trace.iter().map(|frame| {
            let file = frame.file_name.as_deref().unwrap_or("unknown source");
            format!("  at {}.{}({file}:{})", frame.declaring_class, frame.method_name, frame.line_number)
        }));
        next = error.cause_idx;
    }
    lines
}

fn error_info(status: &Status) -> Option<ErrorInfo> {
    let rich = RpcStatus::decode(status.details()).ok()?;
    let any = rich.details.into_iter().find(|any| any.type_url.ends_with("google.rpc.ErrorInfo"))?;
    ErrorInfo::decode(any.value.as_slice()).ok()
}

/// The innermost cause says it best; the others only wrap it.
fn reason(status: &Status) -> turnstile_values::BoxError {
    let mut cause = status.source();
    while let Some(inner) = cause.and_then(Error::source) {
        cause = Some(inner);
    }
    cause.map_or_else(|| status.message().to_owned(), ToString::to_string).into()
}

/// The message without the class in brackets before it and the SQLSTATE after it, which are shown separately.
fn without_class(message: &str) -> String {
    let message = message.trim();
    // The class of a Java exception may come first.
    let (before, rest) = message.split_once('[').unwrap_or((message, ""));
    let is_java = before.strip_suffix(": ").is_some_and(|class| class.contains('.') && !class.contains(' '));
    let inner = rest.split_once("] ").filter(|_| before.is_empty() || is_java);
    let text = inner.map_or(message, |(_, text)| text);
    let Some(at) = text.find(SQLSTATE) else { return text.to_owned() };
    let rest = text.get(at + SQLSTATE.len() + 5..).unwrap_or_default();
    // After it may come the place in the query, and then the plan, which is no help.
    let place = rest.lines().next().unwrap_or_default().trim_end_matches(';').trim_end();
    format!("{}{place}", text[..at].trim_end())
}

/// Before the five characters of a SQLSTATE.
const SQLSTATE: &str = " SQLSTATE: ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_and_sqlstate_are_not_repeated() {
        let said = "[TABLE_OR_VIEW_NOT_FOUND] The table or view `x` cannot be found. SQLSTATE: 42P01";
        assert_eq!(without_class(said), "The table or view `x` cannot be found.");
        assert_eq!(without_class("org.apache.spark.SparkException: [A.B] it failed"), "it failed");
        assert_eq!(without_class("no [class] here"), "no [class] here");
        assert_eq!(without_class("plain"), "plain");
        let said = "[X] it cannot be found. SQLSTATE: 42P01; line 1 pos 14;\n'Project ['x]\n+- 'UnresolvedRelation";
        assert_eq!(without_class(said), "it cannot be found.; line 1 pos 14");
        assert_eq!(without_class("[X] cut off SQLSTATE: 4"), "cut off");
    }

    #[test]
    fn a_chain_of_causes_that_is_a_circle_ends() {
        let error = |cause| ErrorDetails { message: "m".into(), cause_idx: Some(cause), ..ErrorDetails::default() };
        assert_eq!(stack(&[error(1), error(0)], Some(0)).len(), 2);
    }
}
