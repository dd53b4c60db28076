//! `spark.connect.Command`: what a server is asked to do.

use std::collections::BTreeMap;

use super::relation::RelationMessage;

/// `Command`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Command {
    #[prost(oneof = "CommandKind", tags = "3, 6, 7, 9")]
    pub(crate) kind: Option<CommandKind>,
}

/// `Command.command_type`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum CommandKind {
    #[prost(message, tag = "3")]
    CreateView(CreateView),
    #[prost(message, tag = "6")]
    StartStream(StartStream),
    #[prost(message, tag = "7")]
    Query(QueryCommand),
    #[prost(message, tag = "9")]
    Queries(QueriesCommand),
}

/// `CreateDataFrameViewCommand`: a view of the session.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CreateView {
    #[prost(message, optional, tag = "1")]
    pub(crate) input: Option<RelationMessage>,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(bool, tag = "4")]
    pub(crate) replace: bool,
}

/// `WriteStreamOperationStart`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StartStream {
    #[prost(message, optional, tag = "1")]
    pub(crate) input: Option<RelationMessage>,
    #[prost(string, tag = "2")]
    pub(crate) format: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(crate) options: BTreeMap<String, String>,
    #[prost(string, repeated, tag = "4")]
    pub(crate) partitioning_column_names: Vec<String>,
    #[prost(oneof = "Trigger", tags = "5, 6")]
    pub(crate) trigger: Option<Trigger>,
    #[prost(string, tag = "9")]
    pub(crate) output_mode: String,
    #[prost(string, tag = "10")]
    pub(crate) query_name: String,
    #[prost(string, optional, tag = "11")]
    pub(crate) path: Option<String>,
}

/// `WriteStreamOperationStart.trigger`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Trigger {
    /// An interval such as `1 seconds`.
    #[prost(string, tag = "5")]
    ProcessingTime(String),
    /// What is there now, and then the query ends.
    #[prost(bool, tag = "6")]
    AvailableNow(bool),
}

/// `StreamingQueryInstanceId`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub(crate) struct QueryId {
    /// The same for every start from one checkpoint.
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    /// Another one for every start.
    #[prost(string, tag = "2")]
    pub(crate) run_id: String,
}

/// `WriteStreamOperationStartResult`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StreamStarted {
    #[prost(message, optional, tag = "1")]
    pub(crate) query_id: Option<QueryId>,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
}

/// `StreamingQueryCommand`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct QueryCommand {
    #[prost(message, optional, tag = "1")]
    pub(crate) query_id: Option<QueryId>,
    #[prost(oneof = "QueryRequest", tags = "2, 3, 4, 5, 8")]
    pub(crate) request: Option<QueryRequest>,
}

/// `StreamingQueryCommand.command`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum QueryRequest {
    #[prost(bool, tag = "2")]
    Status(bool),
    #[prost(bool, tag = "3")]
    LastProgress(bool),
    #[prost(bool, tag = "4")]
    RecentProgress(bool),
    #[prost(bool, tag = "5")]
    Stop(bool),
    #[prost(bool, tag = "8")]
    Exception(bool),
}

/// `StreamingQueryCommandResult`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct QueryAnswer {
    #[prost(message, optional, tag = "1")]
    pub(crate) query_id: Option<QueryId>,
    #[prost(oneof = "QueryAnswerKind", tags = "2, 3, 5")]
    pub(crate) result: Option<QueryAnswerKind>,
}

/// `StreamingQueryCommandResult.result_type`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum QueryAnswerKind {
    #[prost(message, tag = "2")]
    Status(QueryStatus),
    #[prost(message, tag = "3")]
    RecentProgress(RecentProgress),
    #[prost(message, tag = "5")]
    Exception(QueryException),
}

/// `StreamingQueryCommandResult.StatusResult`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct QueryStatus {
    #[prost(string, tag = "1")]
    pub(crate) status_message: String,
    #[prost(bool, tag = "2")]
    pub(crate) is_data_available: bool,
    #[prost(bool, tag = "3")]
    pub(crate) is_trigger_active: bool,
    #[prost(bool, tag = "4")]
    pub(crate) is_active: bool,
}

/// `StreamingQueryCommandResult.RecentProgressResult`: also the answer to `LastProgress`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RecentProgress {
    #[prost(string, repeated, tag = "5")]
    pub(crate) recent_progress_json: Vec<String>,
}

/// `StreamingQueryCommandResult.ExceptionResult`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct QueryException {
    #[prost(string, optional, tag = "1")]
    pub(crate) exception_message: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(crate) error_class: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(crate) stack_trace: Option<String>,
}

/// `StreamingQueryManagerCommand`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct QueriesCommand {
    #[prost(oneof = "QueriesRequest", tags = "1")]
    pub(crate) request: Option<QueriesRequest>,
}

/// `StreamingQueryManagerCommand.command`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum QueriesRequest {
    #[prost(bool, tag = "1")]
    Active(bool),
}

/// `StreamingQueryManagerCommandResult`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct QueriesAnswer {
    #[prost(message, optional, tag = "1")]
    pub(crate) active: Option<ActiveQueries>,
}

/// `StreamingQueryManagerCommandResult.ActiveResult`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ActiveQueries {
    #[prost(message, repeated, tag = "1")]
    pub(crate) active_queries: Vec<ActiveQuery>,
}

/// `StreamingQueryManagerCommandResult.StreamingQueryInstance`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ActiveQuery {
    #[prost(message, optional, tag = "1")]
    pub(crate) id: Option<QueryId>,
    #[prost(string, optional, tag = "2")]
    pub(crate) name: Option<String>,
}
