//! Requests and responses of `spark.connect.SparkConnectService`.

use super::command::{Command, QueriesAnswer, QueryAnswer, StreamStarted};
use super::relation::RelationMessage;

/// `Plan`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Plan {
    #[prost(oneof = "PlanKind", tags = "1, 2")]
    pub(crate) kind: Option<PlanKind>,
}

/// `Plan.op_type`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum PlanKind {
    #[prost(message, tag = "1")]
    Root(RelationMessage),
    #[prost(message, tag = "2")]
    Command(Command),
}

/// `UserContext`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct UserContext {
    #[prost(string, tag = "1")]
    pub(crate) user_id: String,
}

/// `ExecutePlanRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ExecutePlanRequest {
    #[prost(string, tag = "1")]
    pub(crate) session_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) user_context: Option<UserContext>,
    #[prost(message, optional, tag = "3")]
    pub(crate) plan: Option<Plan>,
    #[prost(string, optional, tag = "4")]
    pub(crate) client_type: Option<String>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) request_options: Vec<RequestOption>,
    #[prost(string, optional, tag = "6")]
    pub(crate) operation_id: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub(crate) client_observed_server_side_session_id: Option<String>,
}

/// `ExecutePlanRequest.RequestOption`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RequestOption {
    #[prost(message, optional, tag = "1")]
    pub(crate) reattach_options: Option<ReattachOptions>,
}

/// `ReattachOptions`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReattachOptions {
    #[prost(bool, tag = "1")]
    pub(crate) reattachable: bool,
}

/// `ExecutePlanResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ExecutePlanResponse {
    #[prost(string, tag = "1")]
    pub(crate) session_id: String,
    #[prost(string, tag = "13")]
    pub(crate) response_id: String,
    #[prost(string, tag = "15")]
    pub(crate) server_side_session_id: String,
    #[prost(oneof = "ExecuteResult", tags = "2, 8, 9, 11, 14")]
    pub(crate) result: Option<ExecuteResult>,
}

/// `ExecutePlanResponse.response_type`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum ExecuteResult {
    #[prost(message, tag = "2")]
    Rows(ArrowRows),
    #[prost(message, tag = "8")]
    StreamStarted(StreamStarted),
    #[prost(message, tag = "9")]
    Query(QueryAnswer),
    #[prost(message, tag = "11")]
    Queries(QueriesAnswer),
    #[prost(message, tag = "14")]
    Complete(ResultComplete),
}

/// `ExecutePlanResponse.ArrowBatch`: rows of a table. Larger ones than the server's limit come in chunks only if the client
/// allows it, which this one does not.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ArrowRows {
    /// A stream of Arrow's IPC format, with its schema.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) data: Vec<u8>,
}

/// `ExecutePlanResponse.ResultComplete`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ResultComplete {}

/// `ReattachExecuteRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReattachExecuteRequest {
    #[prost(string, tag = "1")]
    pub(crate) session_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) user_context: Option<UserContext>,
    #[prost(string, tag = "3")]
    pub(crate) operation_id: String,
    #[prost(string, optional, tag = "4")]
    pub(crate) client_type: Option<String>,
    /// The responses after this one are wanted; all, if it is absent.
    #[prost(string, optional, tag = "5")]
    pub(crate) last_response_id: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(crate) client_observed_server_side_session_id: Option<String>,
}

/// `ReleaseExecuteRequest`, with `release_all`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReleaseExecuteRequest {
    #[prost(string, tag = "1")]
    pub(crate) session_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) user_context: Option<UserContext>,
    #[prost(string, tag = "3")]
    pub(crate) operation_id: String,
    #[prost(string, optional, tag = "4")]
    pub(crate) client_type: Option<String>,
    #[prost(message, optional, tag = "5")]
    pub(crate) release_all: Option<ReleaseAll>,
}

/// `ReleaseExecuteRequest.ReleaseAll`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReleaseAll {}

/// `ReleaseExecuteResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReleaseExecuteResponse {}

/// `ReleaseSessionRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReleaseSessionRequest {
    #[prost(string, tag = "1")]
    pub(crate) session_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) user_context: Option<UserContext>,
    #[prost(string, optional, tag = "3")]
    pub(crate) client_type: Option<String>,
}

/// `ReleaseSessionResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReleaseSessionResponse {}

/// `AnalyzePlanRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AnalyzePlanRequest {
    #[prost(string, tag = "1")]
    pub(crate) session_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) user_context: Option<UserContext>,
    #[prost(string, optional, tag = "3")]
    pub(crate) client_type: Option<String>,
    #[prost(string, optional, tag = "17")]
    pub(crate) client_observed_server_side_session_id: Option<String>,
    #[prost(oneof = "AnalyzeKind", tags = "5, 6, 10")]
    pub(crate) kind: Option<AnalyzeKind>,
}

/// `AnalyzePlanRequest.analyze`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum AnalyzeKind {
    #[prost(message, tag = "5")]
    Explain(Explain),
    #[prost(message, tag = "6")]
    TreeString(TreeString),
    #[prost(message, tag = "10")]
    SparkVersion(SparkVersion),
}

/// `AnalyzePlanRequest.Explain`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Explain {
    #[prost(message, optional, tag = "1")]
    pub(crate) plan: Option<Plan>,
    /// `ExplainMode`: 1 is `SIMPLE`, 5 is `FORMATTED`.
    #[prost(int32, tag = "2")]
    pub(crate) explain_mode: i32,
}

/// `AnalyzePlanRequest.TreeString`: the schema as a tree.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TreeString {
    #[prost(message, optional, tag = "1")]
    pub(crate) plan: Option<Plan>,
}

/// `AnalyzePlanRequest.SparkVersion`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SparkVersion {}

/// `AnalyzePlanResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AnalyzePlanResponse {
    #[prost(string, tag = "15")]
    pub(crate) server_side_session_id: String,
    #[prost(oneof = "AnalyzeResult", tags = "3, 4, 8")]
    pub(crate) result: Option<AnalyzeResult>,
}

/// `AnalyzePlanResponse.result`. All three messages have one text, with tag 1.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum AnalyzeResult {
    #[prost(message, tag = "3")]
    Explain(AnalyzedText),
    #[prost(message, tag = "4")]
    TreeString(AnalyzedText),
    #[prost(message, tag = "8")]
    SparkVersion(AnalyzedText),
}

/// `AnalyzePlanResponse.Explain`, `.TreeString` and `.SparkVersion`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AnalyzedText {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

/// `ConfigRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ConfigRequest {
    #[prost(string, tag = "1")]
    pub(crate) session_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) user_context: Option<UserContext>,
    #[prost(message, optional, tag = "3")]
    pub(crate) operation: Option<ConfigOperation>,
    #[prost(string, optional, tag = "4")]
    pub(crate) client_type: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub(crate) client_observed_server_side_session_id: Option<String>,
}

/// `ConfigRequest.Operation`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ConfigOperation {
    #[prost(oneof = "ConfigKind", tags = "1, 4")]
    pub(crate) kind: Option<ConfigKind>,
}

/// `ConfigRequest.Operation.op_type`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum ConfigKind {
    #[prost(message, tag = "1")]
    Set(ConfigSet),
    #[prost(message, tag = "4")]
    GetOption(ConfigKeys),
}

/// `ConfigRequest.Set`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ConfigSet {
    #[prost(message, repeated, tag = "1")]
    pub(crate) pairs: Vec<KeyValue>,
}

/// `ConfigRequest.GetOption`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ConfigKeys {
    #[prost(string, repeated, tag = "1")]
    pub(crate) keys: Vec<String>,
}

/// `KeyValue`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, optional, tag = "2")]
    pub(crate) value: Option<String>,
}

/// `ConfigResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ConfigResponse {
    #[prost(message, repeated, tag = "2")]
    pub(crate) pairs: Vec<KeyValue>,
    #[prost(string, tag = "4")]
    pub(crate) server_side_session_id: String,
}

/// `FetchErrorDetailsRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FetchErrorDetailsRequest {
    #[prost(string, tag = "1")]
    pub(crate) session_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) user_context: Option<UserContext>,
    #[prost(string, tag = "3")]
    pub(crate) error_id: String,
    #[prost(string, optional, tag = "4")]
    pub(crate) client_type: Option<String>,
}

/// `FetchErrorDetailsResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FetchErrorDetailsResponse {
    #[prost(int32, optional, tag = "1")]
    pub(crate) root_error_idx: Option<i32>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) errors: Vec<ErrorDetails>,
}

/// `FetchErrorDetailsResponse.Error`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ErrorDetails {
    #[prost(string, repeated, tag = "1")]
    pub(crate) error_type_hierarchy: Vec<String>,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) stack_trace: Vec<StackTraceElement>,
    #[prost(int32, optional, tag = "4")]
    pub(crate) cause_idx: Option<i32>,
    #[prost(message, optional, tag = "5")]
    pub(crate) spark_throwable: Option<SparkThrowable>,
}

/// `FetchErrorDetailsResponse.StackTraceElement`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StackTraceElement {
    #[prost(string, tag = "1")]
    pub(crate) declaring_class: String,
    #[prost(string, tag = "2")]
    pub(crate) method_name: String,
    #[prost(string, optional, tag = "3")]
    pub(crate) file_name: Option<String>,
    #[prost(int32, tag = "4")]
    pub(crate) line_number: i32,
}

/// `FetchErrorDetailsResponse.SparkThrowable`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SparkThrowable {
    #[prost(string, optional, tag = "1")]
    pub(crate) error_class: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub(crate) sql_state: Option<String>,
}
