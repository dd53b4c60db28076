//! A session of a user with a server: its settings, its views, and what is executed in it.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use parking_lot::Mutex;
use turnstile_values::RetryPolicy;
use uuid::Uuid;

use super::calls::CLIENT;
use super::connection::Connection;
use super::failure::{self, CallFailure, OperationFate};
use super::messages::command::{Command, CommandKind, CreateView};
use super::messages::service::{
    AnalyzeKind, AnalyzePlanRequest, AnalyzePlanResponse, AnalyzeResult, ConfigKeys, ConfigKind, ConfigOperation,
    ConfigRequest, ConfigResponse, ConfigSet, ExecutePlanRequest, ExecutePlanResponse, ExecuteResult, Explain,
    FetchErrorDetailsRequest, KeyValue, Plan, PlanKind, ReattachExecuteRequest, ReattachOptions, ReleaseAll,
    ReleaseExecuteRequest, ReleaseExecuteResponse, ReleaseSessionRequest, ReleaseSessionResponse, RequestOption,
    SparkVersion, TreeString, UserContext,
};
use super::tables::Relation;
use crate::address::SparkAddress;
use crate::error::SparkError;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct SessionSettings {
    /// Until the connection stands and the server has answered for the first time.
    pub connect: Duration,
    /// Until a call is answered.
    pub call: Duration,
    /// How long the responses of a command that changes something are asked for again when the connection ends meanwhile;
    /// questions are given up after `connect`.
    pub reattach: Duration,
}

impl Default for SessionSettings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(5), call: seconds(120), reattach: seconds(60) }
    }
}

/// The first release whose protocol has all that is used here.
const OLDEST_MAJOR: u32 = 4;

/// What Spark would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Explanation {
    /// The physical plan.
    Simple,
    /// The physical plan, with details of each node.
    Formatted,
}

/// A session. It goes on when it is dropped, and so do its queries: [`Session::release`] ends both.
pub struct Session {
    connection: Connection,
    pub(super) settings: SessionSettings,
    id: Uuid,
    user: String,
    version: String,
    /// The server's number of the session: if it changes, the server was restarted.
    server_side: Mutex<Option<String>>,
}

impl Session {
    /// Connects, and begins a session or, if `remote` names one, returns to it.
    ///
    /// # Errors
    /// `Unreachable` or `Silent` within [`SessionSettings::connect`]; `Refused`; `Protocol` if the server is older than
    /// Spark 4.
    pub async fn open(remote: SparkAddress, settings: SessionSettings) -> Result<Self, SparkError> {
        let id = remote.session_id.unwrap_or_else(Uuid::new_v4);
        let user = remote.user_id.clone().unwrap_or_else(|| "turnstile".to_owned());
        let connection = Connection::new(remote, settings.connect)?;
        let mut session =
            Self { connection, settings, id, user, version: String::new(), server_side: Mutex::new(None) };
        let limit = settings.connect;
        let first = tokio::time::timeout(limit, session.analyze(AnalyzeKind::SparkVersion(SparkVersion {}), limit));
        session.version = match first.await {
            Ok(version) => version?,
            Err(_) => return Err(SparkError::Silent { server: session.server(), after: limit }),
        };
        let major = session.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_none_or(|major| major < OLDEST_MAJOR) {
            let message = format!("it is Spark {}, and Spark {OLDEST_MAJOR}.0 or later is needed", session.version);
            return Err(session.protocol(message));
        }
        Ok(session)
    }

    /// The session's number; a [`SparkAddress`] that names it returns to the session.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The server's release, such as `4.2.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// `sc://host:port`.
    pub fn server(&self) -> String {
        self.connection.remote.to_string()
    }

    /// Changes settings of the session.
    ///
    /// # Errors
    /// Those of the connection; `Spark` if a setting cannot be changed.
    pub async fn set<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(), SparkError> {
        let pair = |(key, value): (&str, &str)| KeyValue { key: key.to_owned(), value: Some(value.to_owned()) };
        let pairs = pairs.into_iter().map(pair).collect();
        self.config(ConfigKind::Set(ConfigSet { pairs })).await.map(drop)
    }

    /// A setting of the session; `None` if it is not set.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn get(&self, key: &str) -> Result<Option<String>, SparkError> {
        let answer = self.config(ConfigKind::GetOption(ConfigKeys { keys: vec![key.to_owned()] })).await?;
        Ok(answer.pairs.into_iter().find(|pair| pair.key == key).and_then(|pair| pair.value))
    }

    async fn config(&self, kind: ConfigKind) -> Result<ConfigResponse, SparkError> {
        let request = ConfigRequest {
            session_id: self.id.to_string(),
            user_context: self.user_context(),
            operation: Some(ConfigOperation { kind: Some(kind) }),
            client_type: Some(CLIENT.to_owned()),
            client_observed_server_side_session_id: self.server_side.lock().clone(),
        };
        let call = self.connection.unary("/spark.connect.SparkConnectService/Config", request, self.settings.call);
        let answer: ConfigResponse = self.explained(call.await).await?;
        self.observe(&answer.server_side_session_id);
        Ok(answer)
    }

    /// The columns of a table, as a tree.
    ///
    /// # Errors
    /// Those of the connection; `Spark` if the table cannot be planned.
    pub async fn schema(&self, table: &Relation) -> Result<String, SparkError> {
        let kind = AnalyzeKind::TreeString(TreeString { plan: Some(table.plan()) });
        self.analyze(kind, self.settings.call).await
    }

    /// How Spark would compute a table.
    ///
    /// # Errors
    /// As [`Session::schema`].
    pub async fn explain(&self, table: &Relation, how: Explanation) -> Result<String, SparkError> {
        let explain_mode = match how {
            Explanation::Simple => 1,
            Explanation::Formatted => 5,
        };
        self.analyze(AnalyzeKind::Explain(Explain { plan: Some(table.plan()), explain_mode }), self.settings.call).await
    }

    async fn analyze(&self, kind: AnalyzeKind, limit: Duration) -> Result<String, SparkError> {
        let request = AnalyzePlanRequest {
            session_id: self.id.to_string(),
            user_context: self.user_context(),
            client_type: Some(CLIENT.to_owned()),
            client_observed_server_side_session_id: self.server_side.lock().clone(),
            kind: Some(kind),
        };
        let call = self.connection.unary("/spark.connect.SparkConnectService/AnalyzePlan", request, limit);
        let answer: AnalyzePlanResponse = self.explained(call.await).await?;
        self.observe(&answer.server_side_session_id);
        match answer.result {
            Some(
                AnalyzeResult::Explain(text) | AnalyzeResult::TreeString(text) | AnalyzeResult::SparkVersion(text),
            ) => Ok(text.text),
            None => Err(self.protocol("a plan was analyzed without a result".into())),
        }
    }

    /// Gives a table a name for later queries of this session; replaces a view of that name.
    ///
    /// # Errors
    /// As [`Session::schema`].
    pub async fn create_view(&self, name: &str, table: Relation) -> Result<(), SparkError> {
        let view = CreateView { input: Some(table.0), name: name.to_owned(), replace: true };
        self.execute(CommandKind::CreateView(view), self.settings.reattach).await.map(drop)
    }

    /// The rows of a table, in batches, which may take `limit` bytes.
    ///
    /// # Errors
    /// As [`Session::schema`]; `Spark` if the table cannot be computed; `Protocol` if its rows cannot be read; `TooLarge`.
    pub async fn collect(&self, table: &Relation, limit: u64) -> Result<Vec<RecordBatch>, SparkError> {
        let results = self.execute_plan(PlanKind::Root(table.0.clone()), self.settings.reattach, limit).await?;
        let mut batches = Vec::new();
        for result in results {
            let ExecuteResult::Rows(rows) = result else { continue };
            let unreadable = |error: arrow::error::ArrowError| self.protocol(format!("rows of a table: {error}"));
            for batch in StreamReader::try_new(rows.data.as_slice(), None).map_err(unreadable)? {
                batches.push(batch.map_err(unreadable)?);
            }
        }
        Ok(batches)
    }

    /// Executes a command, and returns what it returned.
    ///
    /// If the connection ends meanwhile, the responses are asked for again, for as long as `patience`: the command itself is
    /// executed once.
    pub(super) async fn execute(
        &self,
        command: CommandKind,
        patience: Duration,
    ) -> Result<Vec<ExecuteResult>, SparkError> {
        // A command has no rows.
        self.execute_plan(PlanKind::Command(Command { kind: Some(command) }), patience, 0).await
    }

    /// Executes a plan whose rows may take `limit` bytes.
    async fn execute_plan(
        &self,
        plan: PlanKind,
        patience: Duration,
        limit: u64,
    ) -> Result<Vec<ExecuteResult>, SparkError> {
        let operation = Uuid::new_v4().to_string();
        let mut execution = Execution {
            operation: &operation,
            last_response: None,
            asked: false,
            results: Vec::new(),
            room: limit,
            limit,
        };
        let mut waits =
            RetryPolicy::new(Duration::from_millis(100), Duration::from_secs(5)).give_up_after(patience).waits();
        let mut failed_at: Option<Instant> = None;
        loop {
            let failure = match self.advance(&mut execution, &plan).await {
                Ok(true) => break,
                // The server ends a stream of responses after a while, for the client to ask again.
                Ok(false) => {
                    failed_at = None;
                    waits.reset();
                    continue;
                }
                Err(failure) => failure,
            };
            let again = match failure.operation {
                // The command was lost on its way: the server has it only once, whatever arrives late.
                OperationFate::Absent if execution.last_response.is_none() => {
                    execution.asked = false;
                    true
                }
                OperationFate::Present => true,
                _ => execution.asked && failure.error.is_of_the_connection(),
            };
            let elapsed = failed_at.get_or_insert_with(Instant::now).elapsed();
            match waits.next_after(elapsed).filter(|_| again) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => {
                    let error = self.detailed(failure).await;
                    if matches!(error, SparkError::TooLarge { .. }) {
                        self.release_operation(operation).await;
                    }
                    return Err(error);
                }
            }
        }
        let results = execution.results;
        self.release_operation(operation).await;
        Ok(results)
    }

    /// Reads responses until there are no more; true: the command is complete.
    async fn advance(&self, execution: &mut Execution<'_>, plan: &PlanKind) -> Result<bool, CallFailure> {
        let mut responses = if execution.asked {
            let request = ReattachExecuteRequest {
                session_id: self.id.to_string(),
                user_context: self.user_context(),
                operation_id: execution.operation.to_owned(),
                client_type: Some(CLIENT.to_owned()),
                last_response_id: execution.last_response.clone(),
                client_observed_server_side_session_id: self.server_side.lock().clone(),
            };
            let method = "/spark.connect.SparkConnectService/ReattachExecute";
            self.connection.streaming(method, request, self.settings.call).await?
        } else {
            let request = ExecutePlanRequest {
                session_id: self.id.to_string(),
                user_context: self.user_context(),
                plan: Some(Plan { kind: Some(plan.clone()) }),
                client_type: Some(CLIENT.to_owned()),
                request_options: vec![RequestOption { reattach_options: Some(ReattachOptions { reattachable: true }) }],
                operation_id: Some(execution.operation.to_owned()),
                client_observed_server_side_session_id: self.server_side.lock().clone(),
            };
            let method = "/spark.connect.SparkConnectService/ExecutePlan";
            // From here on the server may have it.
            self.connection.channel().await?;
            execution.asked = true;
            self.connection.streaming(method, request, self.settings.call).await?
        };
        loop {
            let response: Option<ExecutePlanResponse> =
                self.connection.within(self.settings.call, responses.message()).await?;
            let Some(response) = response else { return Ok(false) };
            self.observe(&response.server_side_session_id);
            if !response.response_id.is_empty() {
                execution.last_response = Some(response.response_id);
            }
            match response.result {
                Some(ExecuteResult::Complete(_)) => return Ok(true),
                Some(result) => {
                    if let ExecuteResult::Rows(rows) = &result {
                        let too_large = SparkError::TooLarge { limit: execution.limit };
                        execution.room = execution.room.checked_sub(rows.data.len() as u64).ok_or(too_large)?;
                    }
                    execution.results.push(result);
                }
                // Progress and other things that are not asked for here.
                None => {}
            }
        }
    }

    /// Lets the server forget the responses; it would do so by itself, later.
    async fn release_operation(&self, operation_id: String) {
        let request = ReleaseExecuteRequest {
            session_id: self.id.to_string(),
            user_context: self.user_context(),
            operation_id,
            client_type: Some(CLIENT.to_owned()),
            release_all: Some(ReleaseAll {}),
        };
        let method = "/spark.connect.SparkConnectService/ReleaseExecute";
        let released = self.connection.unary::<_, ReleaseExecuteResponse>(method, request, self.settings.connect).await;
        if let Err(CallFailure { error, .. }) = released {
            tracing::debug!(%error, "the responses of a finished command were not released");
        }
    }

    /// Ends the session and its queries.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn release(self) -> Result<(), SparkError> {
        let request = ReleaseSessionRequest {
            session_id: self.id.to_string(),
            user_context: self.user_context(),
            client_type: Some(CLIENT.to_owned()),
        };
        let method = "/spark.connect.SparkConnectService/ReleaseSession";
        let released = self.connection.unary::<_, ReleaseSessionResponse>(method, request, self.settings.call).await;
        released.map(drop).map_err(|failure| failure.error)
    }

    fn user_context(&self) -> Option<UserContext> {
        Some(UserContext { user_id: self.user.clone() })
    }

    fn observe(&self, server_side: &str) {
        if !server_side.is_empty() {
            *self.server_side.lock() = Some(server_side.to_owned());
        }
    }

    async fn explained<T>(&self, answer: Result<T, CallFailure>) -> Result<T, SparkError> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(failure) => Err(self.detailed(failure).await),
        }
    }

    /// The failure with what the server knows about it; without that if it does not say.
    async fn detailed(&self, failure: CallFailure) -> SparkError {
        let CallFailure { error, error_id: Some(error_id), .. } = failure else { return failure.error };
        let request = FetchErrorDetailsRequest {
            session_id: self.id.to_string(),
            user_context: self.user_context(),
            error_id,
            client_type: Some(CLIENT.to_owned()),
        };
        let method = "/spark.connect.SparkConnectService/FetchErrorDetails";
        match self.connection.unary(method, request, self.settings.connect).await {
            Ok(details) => failure::with_details(error, details),
            Err(_) => error,
        }
    }

    pub(super) fn protocol(&self, message: String) -> SparkError {
        SparkError::Protocol { server: self.server(), message }
    }
}

/// A command while its responses come.
struct Execution<'a> {
    operation: &'a str,
    last_response: Option<String>,
    /// The command was sent; whether it arrived is not known before the first response.
    asked: bool,
    results: Vec<ExecuteResult>,
    /// Bytes that rows may still take, and of how many.
    room: u64,
    limit: u64,
}
