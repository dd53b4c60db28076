//! Streaming queries: started, asked and stopped.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::messages::command as wire;
use super::messages::command::{CommandKind, QueriesRequest, QueryAnswerKind, QueryRequest};
use super::messages::service::ExecuteResult;
use super::session::Session;
use super::tables::Relation;
use crate::error::SparkError;

/// Where a query writes its rows: files in a folder, in append mode.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamSink {
    /// Spark's name of the file format, such as `parquet`.
    pub format: String,
    /// The folder, as the cluster reaches it.
    pub path: String,
    /// The folder of the query's checkpoint, as the cluster reaches it.
    pub checkpoint: String,
    /// Options of the format.
    pub options: BTreeMap<String, String>,
    /// When a batch begins.
    pub trigger: StreamTrigger,
    /// A name that no other running query of the session has.
    pub name: String,
}

/// When a batch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamTrigger {
    /// So long after the one before; a batch that takes longer is followed at once.
    Every(Duration),
    /// At once, as long as there is something that was there at the start; then the query ends.
    AvailableNow,
}

/// A started query. It runs until it is stopped or fails, whatever becomes of this value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QueryHandle {
    /// The same for every start from one checkpoint.
    pub id: String,
    /// Another one for every start.
    pub run_id: String,
}

/// A running query of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningQuery {
    /// Which.
    pub handle: QueryHandle,
    /// Its name, if it has one.
    pub name: Option<String>,
}

/// How a query is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryState {
    /// Whether it runs.
    pub active: bool,
    /// Whether it works on a batch right now.
    pub in_batch: bool,
    /// Spark's words.
    pub message: String,
}

impl Session {
    /// Starts a query from its checkpoint.
    ///
    /// # Errors
    /// Those of the connection; `Spark` if the query cannot be planned. A failure of the running query is reported by
    /// [`Session::query_failure`].
    pub async fn start(&self, table: Relation, sink: &StreamSink) -> Result<QueryHandle, SparkError> {
        let mut options = sink.options.clone();
        options.insert("checkpointLocation".to_owned(), sink.checkpoint.clone());
        let trigger = match sink.trigger {
            StreamTrigger::Every(interval) => {
                wire::Trigger::ProcessingTime(format!("{} milliseconds", interval.as_millis()))
            }
            StreamTrigger::AvailableNow => wire::Trigger::AvailableNow(true),
        };
        let start = wire::StartStream {
            input: Some(table.0),
            format: sink.format.clone(),
            options,
            partitioning_column_names: Vec::new(),
            trigger: Some(trigger),
            output_mode: "append".to_owned(),
            query_name: sink.name.clone(),
            path: Some(sink.path.clone()),
        };
        let results = self.execute(CommandKind::StartStream(start), self.settings.reattach).await?;
        let started = results.into_iter().find_map(|result| match result {
            ExecuteResult::StreamStarted(started) => started.query_id,
            _ => None,
        });
        started.map(QueryHandle::from).ok_or_else(|| self.protocol("a query was started without a number".into()))
    }

    /// The running queries of the session.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn active_queries(&self) -> Result<Vec<RunningQuery>, SparkError> {
        let request = Some(QueriesRequest::Active(true));
        let results =
            self.execute(CommandKind::Queries(wire::QueriesCommand { request }), self.settings.connect).await?;
        let active = results.into_iter().find_map(|result| match result {
            ExecuteResult::Queries(answer) => Some(answer.active.unwrap_or_default().active_queries),
            _ => None,
        });
        let named = |query: wire::ActiveQuery| Some(RunningQuery { handle: query.id?.into(), name: query.name });
        Ok(active.unwrap_or_default().into_iter().filter_map(named).collect())
    }

    /// How a query is.
    ///
    /// # Errors
    /// Those of the connection; `Spark` or `SessionLost` if the server does not know the query.
    pub async fn query_state(&self, query: &QueryHandle) -> Result<QueryState, SparkError> {
        match self.ask(query, QueryRequest::Status(true)).await? {
            Some(QueryAnswerKind::Status(status)) => Ok(QueryState {
                active: status.is_active,
                in_batch: status.is_trigger_active,
                message: status.status_message,
            }),
            _ => Err(self.protocol("a query has no status".into())),
        }
    }

    /// The progress of the newest batches, oldest first, each as Spark's JSON. Empty before the first one.
    ///
    /// # Errors
    /// As [`Session::query_state`].
    pub async fn recent_progress(&self, query: &QueryHandle) -> Result<Vec<String>, SparkError> {
        match self.ask(query, QueryRequest::RecentProgress(true)).await? {
            Some(QueryAnswerKind::RecentProgress(progress)) => Ok(progress.recent_progress_json),
            _ => Ok(Vec::new()),
        }
    }

    /// Why a query ended; `None` if it did not fail.
    ///
    /// # Errors
    /// As [`Session::query_state`].
    pub async fn query_failure(&self, query: &QueryHandle) -> Result<Option<SparkError>, SparkError> {
        let Some(QueryAnswerKind::Exception(exception)) = self.ask(query, QueryRequest::Exception(true)).await? else {
            return Ok(None);
        };
        let Some(message) = exception.exception_message else { return Ok(None) };
        let stack = exception.stack_trace.unwrap_or_default().lines().map(str::to_owned).collect();
        let class = exception.error_class.unwrap_or_else(|| "STREAM_FAILED".to_owned());
        Ok(Some(SparkError::Spark { class, sql_state: None, message, stack }))
    }

    /// Stops a query after the batch that it works on was given up; what it finished stays.
    ///
    /// # Errors
    /// As [`Session::query_state`].
    pub async fn stop(&self, query: &QueryHandle) -> Result<(), SparkError> {
        self.ask(query, QueryRequest::Stop(true)).await.map(drop)
    }

    async fn ask(&self, query: &QueryHandle, request: QueryRequest) -> Result<Option<QueryAnswerKind>, SparkError> {
        let query_id = Some(wire::QueryId { id: query.id.clone(), run_id: query.run_id.clone() });
        let command = wire::QueryCommand { query_id, request: Some(request) };
        let results = self.execute(CommandKind::Query(command), self.settings.connect).await?;
        Ok(results.into_iter().find_map(|result| match result {
            ExecuteResult::Query(answer) => answer.result,
            _ => None,
        }))
    }
}

impl From<wire::QueryId> for QueryHandle {
    fn from(wire::QueryId { id, run_id }: wire::QueryId) -> Self {
        Self { id, run_id }
    }
}
